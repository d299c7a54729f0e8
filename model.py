"""Loading a Qwen2.5-VL checkpoint, and turning an image and a prompt into what it reads.

Goes in: a name, or an image and a prompt. Comes out: `(model, processor)`, or an `Encoded`. Knows nothing of
attention capture, maps or pages.
"""

import importlib
import json
import math
import re
import struct
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchvision_guard import TORCHVISION

import psutil
import torch
from huggingface_hub import HfApi, get_session, hf_hub_download, hf_hub_url, snapshot_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    IncompleteSnapshotError,
    RepositoryNotFoundError,
)
from PIL import Image
from torch import Tensor, nn
from transformers import AutoProcessor, Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
from transformers.processing_utils import ProcessorMixin
from transformers.utils import is_flash_attn_2_available
from transformers.utils import logging as transformers_logging

import config
from utils import ImageError, check_image_size, image_hash, one_line, rgb

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent / "demo" / "model"
MODEL_TYPE = "qwen2_5_vl"
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
BACKENDS = ("sdpa", "flash_attention_2", "eager")
EXAMPLE_ID = "Qwen/Qwen2.5-VL-3B-Instruct"
HUB_SECONDS = 5.0
MARK = "\ue000"  # stands for the prompt in the chat template; for private use, so that no template writes it
HUB_FILES = ["*.json", "*.jinja", "*.txt", "*.safetensors"]


class ModelError(RuntimeError):
    """A checkpoint cannot be used; the message is one clear line."""


class PromptError(ValueError):
    """A prompt cannot be used; the message is one clear line."""


class ImageOnlyProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without its video half, which insists on torchvision."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        """Take the same parts as the full processor but the video processor."""
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


# A saved folder names its processor's class. It must name the published one, or AutoProcessor could not load
# it.
ImageOnlyProcessor.__name__ = Qwen2_5_VLProcessor.__name__


@dataclass(frozen=True, eq=False)
class Encoded:
    """One image and one prompt as the model reads them. Sizes are (h, w)."""

    inputs: dict[str, Tensor]  # every tensor that the processor returned, on the model's device
    grid: tuple[int, int]  # (h, w) in merged patches; patch = row * w + col
    image_positions: Tensor  # (patch,) position of each visual token in the sequence
    prompt_positions: Tensor  # (prompt token,) positions of the person's text, template left out
    image_size: tuple[int, int]  # (h, w) of the picture given, in its own pixels
    image_hash: str

    @property
    def input_ids(self) -> Tensor:
        """Token ids of the sequence (S,)."""
        return self.inputs["input_ids"][0]

    @property
    def prompt_length(self) -> int:
        """Number of tokens before the answer, S."""
        return len(self.input_ids)

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        h, w = self.grid
        if len(self.image_positions) != h * w:
            raise ValueError(
                f"the prompt has {len(self.image_positions)} image tokens; grid {h}x{w} needs {h * w}"
            )
        if len(self.prompt_positions) == 0:
            raise ValueError("expected at least one prompt token; got none")
        if int(self.prompt_positions[0]) <= int(self.image_positions[-1]):
            raise ValueError("expected the prompt after the image; got it before")


def decoder_layers(model: Qwen2_5_VLForConditionalGeneration) -> nn.ModuleList:
    """Return the decoder layers of the language model, first to last."""
    return model.model.language_model.layers


def model_layer_count(model: Qwen2_5_VLForConditionalGeneration) -> int:
    """Return the number of decoder layers."""
    return len(decoder_layers(model))


def model_device(model: Qwen2_5_VLForConditionalGeneration) -> torch.device:
    """Return the device that takes the inputs.

    Parts that accelerate keeps elsewhere until they are needed report "meta", and so may `model.device`.
    """
    devices = (weight.device for weight in model.parameters() if weight.device.type != "meta")
    return next(devices, torch.device("cpu"))


def encode(
    model: Qwen2_5_VLForConditionalGeneration, processor: ProcessorMixin, image: Image.Image, prompt: str
) -> Encoded:
    """Return the image and the prompt as the model reads them, in the checkpoint's own chat template.

    Raises:
        ImageError: for no image, several, or one outside the bounds of `config`.
        PromptError: for an empty or over-long prompt, or one with control tokens in it.
    """
    picture = _one_picture(image)
    _check_prompt(processor.tokenizer, prompt)
    before, after = _template(processor, prompt)
    batch = processor(
        text=[before + prompt + after], images=[picture], return_tensors="pt", return_offsets_mapping=True
    )
    offsets = batch.pop("offset_mapping")[0]  # (token, 2): where its characters start and end
    device = model_device(model)
    inputs = {name: value.to(device) for name, value in batch.items()}
    ids = inputs["input_ids"][0]
    _check_length(len(ids), model)
    grid = _grid(inputs["image_grid_thw"], processor.image_processor.merge_size)
    h, w = grid
    # Offsets count in the text as it was read, where h * w image tokens stand for the one that was written.
    start = len(before) + (h * w - 1) * len(processor.image_token)
    in_prompt = (offsets[:, 0] < start + len(prompt)) & (offsets[:, 1] > start)
    return Encoded(
        inputs=inputs,
        grid=grid,
        image_positions=(ids == model.config.image_token_id).nonzero()[:, 0],
        prompt_positions=in_prompt.nonzero()[:, 0].to(ids.device),
        image_size=(picture.height, picture.width),
        image_hash=image_hash(picture),
    )


def _one_picture(image: Image.Image) -> Image.Image:
    """Return the image in RGB, or raise for anything but one picture of a usable size."""
    if isinstance(image, (list, tuple)):
        raise ImageError(f"One image is needed; got a list of {len(image)}.")
    if not isinstance(image, Image.Image):
        raise ImageError(f"One image is needed; got {'none' if image is None else type(image).__name__}.")
    check_image_size(image.size)
    return rgb(image)


def _check_prompt(tokenizer: Any, prompt: str) -> None:
    """Raise PromptError unless the prompt is plain text of a sensible length."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise PromptError("The prompt is empty.")
    if len(prompt) > config.MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"The prompt has {len(prompt):,} characters; "
            f"at most {config.MAX_PROMPT_CHARACTERS:,} are allowed."
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise PromptError("The prompt has half a character in it (a lone surrogate).") from None
    control = tokenizer.added_tokens_decoder
    for token_id in tokenizer(prompt, add_special_tokens=False)["input_ids"]:
        if token_id in control:
            raise PromptError(f"The prompt may not contain the control token {control[token_id].content}.")


def _check_length(tokens: int, model: Qwen2_5_VLForConditionalGeneration) -> None:
    limit = model.config.text_config.max_position_embeddings
    if tokens >= limit:
        raise PromptError(
            f"The picture and the prompt are {tokens:,} tokens, and the model reads fewer than {limit:,}; "
            "lower MAX_PIXELS or shorten the prompt."
        )


def _template(processor: ProcessorMixin, prompt: str) -> tuple[str, str]:
    """Return the chat template's text before and after the prompt, with one image before it."""
    before, after = _rendered(processor, MARK).split(MARK)
    if _rendered(processor, prompt) != before + prompt + after:
        raise PromptError("The checkpoint's chat template changes the prompt; leave out spaces around it.")
    return before, after


def _rendered(processor: ProcessorMixin, prompt: str) -> str:
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    return processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)


def _grid(image_grid_thw: Tensor, merge_size: int) -> tuple[int, int]:
    """Return (h, w) in merged patches, from (image, 3) in patches: frames, rows, columns."""
    if image_grid_thw.shape != (1, 3) or int(image_grid_thw[0, 0]) != 1:
        raise ValueError(f"expected the grid of one image and one frame; got {image_grid_thw.tolist()}")
    _, rows, cols = image_grid_thw[0].tolist()
    return rows // merge_size, cols // merge_size


# --- Loading ------------------------------------------------------------------------------------------------


def load_model(
    name: str | Path = "",
    *,
    device: str | None = None,
    dtype: str | None = None,
    attention_backend: str | None = None,
) -> tuple[Qwen2_5_VLForConditionalGeneration, ProcessorMixin]:
    """Return the model, in eval mode, and its processor.

    `name` is "demo" (the bundled model), a local folder, or a hub id; empty means `config.MODEL_NAME`. The
    others default to `config.DEVICE`, `DTYPE` and `ATTENTION_BACKEND`, where "auto" is CUDA with bfloat16 and
    flash_attention_2 as far as they are there, else the CPU with float32 and sdpa. Only safetensors are read,
    and no code that comes with a checkpoint is run.

    Raises:
        ModelError: one line that says what is wrong and what to do.
    """
    name = str(name) or config.MODEL_NAME
    settings = Placement.choose(
        device or config.DEVICE, dtype or config.DTYPE, attention_backend or config.ATTENTION_BACKEND
    )
    folder = _folder(name, settings)
    _check_folder(folder, name)
    _check_memory(name, _float_count(_weight_files(folder, name), name) * settings.dtype.itemsize, settings)
    with _quiet(), _one_line_errors(name, folder):
        processor = _load_processor(folder)
        model = _load_weights(folder, name, settings)
    _narrow_pixels(processor.image_processor)
    model.name_or_path = name
    return model.eval(), processor


@dataclass(frozen=True)
class Placement:
    """Where and how a model runs."""

    device: str  # "cpu", "mps", "cuda" (all of them) or "cuda:1"
    dtype: torch.dtype
    attention_backend: str

    @classmethod
    def choose(cls, device: str, dtype: str, attention_backend: str) -> "Placement":
        """Return a placement this computer can offer, with every "auto" decided; else raise ModelError."""
        device = _device(device)
        number_type = _dtype(dtype, device)
        return cls(device, number_type, _backend(attention_backend, device, number_type))


def _device(wanted: str) -> str:
    cuda = torch.cuda.is_available()
    if wanted == "auto":
        return "cuda" if cuda else "cpu"
    if not re.fullmatch(r"cpu|mps|cuda(:\d+)?", wanted):
        raise ModelError(f'There is no device "{wanted}"; choose auto, cpu, cuda, cuda:0, cuda:1, … or mps.')
    if wanted.startswith("cuda") and not cuda:
        raise ModelError(
            f'The device "{wanted}" was asked for, but torch finds no CUDA device on this computer.'
        )
    if wanted.startswith("cuda:") and int(wanted[5:]) >= torch.cuda.device_count():
        raise ModelError(
            f'The device "{wanted}" was asked for, but there are {torch.cuda.device_count()} CUDA devices.'
        )
    if wanted == "mps" and not torch.backends.mps.is_available():
        raise ModelError('The device "mps" was asked for, but torch finds no such device on this computer.')
    return wanted


def _dtype(wanted: str, device: str) -> torch.dtype:
    if wanted == "auto":
        return torch.bfloat16 if device.startswith("cuda") else torch.float32
    if wanted not in DTYPES:
        raise ModelError(f'There is no dtype "{wanted}"; choose auto, {", ".join(DTYPES)}.')
    return DTYPES[wanted]


def _backend(wanted: str, device: str, dtype: torch.dtype) -> str:
    flash = _flash_attention_imports()
    fits = device.startswith("cuda") and dtype in (torch.bfloat16, torch.float16)
    if wanted == "auto":
        return "flash_attention_2" if flash and fits else "sdpa"
    if wanted not in BACKENDS:
        raise ModelError(f'There is no attention backend "{wanted}"; choose auto, {", ".join(BACKENDS)}.')
    if wanted == "flash_attention_2" and not flash:
        raise ModelError(
            "flash_attention_2 was asked for, but flash-attn is not installed or does not import."
        )
    if wanted == "flash_attention_2" and not fits:
        raise ModelError("flash_attention_2 works on CUDA in bfloat16 or float16 only.")
    return wanted


def _flash_attention_imports() -> bool:
    if not is_flash_attn_2_available():
        return False
    try:
        importlib.import_module("flash_attn")
    except Exception:  # a build for another torch raises OSError or RuntimeError
        return False
    return True


# --- Where the files are ---


def _folder(name: str, settings: Placement) -> Path:
    """Return the local folder of a checkpoint, fetched first if the name is a hub id."""
    if name == DEMO:
        if not (DEMO_FOLDER / "config.json").is_file():
            raise ModelError(
                "The bundled model is missing from demo/model; train it with: python -m demo.train"
            )
        return DEMO_FOLDER
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{name} is a file; a model is a folder with config.json and weights in it.")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        raise ModelError(
            f'There is no folder {name}; a model is "demo", a folder, or a hub id such as {EXAMPLE_ID}.'
        )
    return _hub_folder(name, settings)


def _hub_folder(name: str, settings: Placement) -> Path:
    """Return the folder in the hub's cache, filled; without a network, as it was filled before."""
    if not _hub_answers(name):
        return _fetched_before(name)
    try:
        _check_config(Path(hf_hub_download(name, "config.json", etag_timeout=HUB_SECONDS)), name)
        files = {
            file.rfilename: file.size or 0
            for file in HfApi().model_info(name, files_metadata=True).siblings or ()
        }
        weights = {
            file: size for file, size in files.items() if file.endswith(".safetensors") and "/" not in file
        }
        if not weights:
            raise _no_weights(name, files)
        # Published checkpoints hold two bytes a number.
        _check_memory(name, sum(weights.values()) * settings.dtype.itemsize // 2, settings)
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, etag_timeout=HUB_SECONDS))
    except GatedRepoError:
        raise ModelError(f"{name} asks for a login on the hub; run: hf auth login") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"There is no folder and no model on the hub named {name}.") from None
    except EntryNotFoundError:
        raise ModelError(f"{name} is no Qwen2.5-VL model: it has no config.json.") from None
    except ModelError:
        raise
    except Exception as error:  # the hub's client raises its own, httpx's and the operating system's
        raise ModelError(f"{name} could not be downloaded: {one_line(error, 150)}") from error


def _fetched_before(name: str) -> Path:
    """Return the folder in the hub's cache, if all of it is there."""
    try:
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
        _check_folder(folder, name)
    except (OSError, ValueError, ModelError) as error:
        partly = isinstance(error, (IncompleteSnapshotError, ModelError))
        raise ModelError(
            f"{name} is no folder here, was {'only in part' if partly else 'not'} downloaded before, "
            "and the hub cannot be reached; check the network or give a local folder."
        ) from error
    return folder


def _hub_answers(name: str) -> bool:
    """Return whether the hub answers within a few seconds.

    Its own client retries for half a minute and more when there is no network, and a name look-up that hangs
    heeds no time limit; hence one question of our own, in a thread that is not waited for.
    """
    answered = threading.Event()

    def ask() -> None:
        with suppress(Exception):  # no network, a proxy, or offline mode: all mean no
            get_session().head(hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)
            answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    return answered.is_set()


# --- What the files say, before anything big is read ---


def _check_folder(folder: Path, name: str) -> None:
    """Raise ModelError unless the folder holds a whole Qwen2.5-VL checkpoint."""
    _check_config(folder / "config.json", name)
    _weight_files(folder, name)
    has = {file.name for file in folder.iterdir()}
    if not ("tokenizer.json" in has or {"vocab.json", "merges.txt"} <= has):
        raise ModelError(f"{name} has no tokenizer: tokenizer.json is missing.")
    if not has & {"preprocessor_config.json", "processor_config.json"}:
        raise ModelError(f"{name} has no image processor: preprocessor_config.json is missing.")


def _check_config(path: Path, name: str) -> None:
    """Raise ModelError unless the config names the one model type that the other rooms know."""
    if not path.is_file():
        raise ModelError(f"{name} is no model folder: it has no config.json.")
    found = _json(path, name).get("model_type")
    if found != MODEL_TYPE:
        said = "says nothing of a model_type" if found is None else f'says model_type "{one_line(found, 60)}"'
        raise ModelError(f'{name} is no Qwen2.5-VL model: its config.json {said}, not "{MODEL_TYPE}".')


def _weight_files(folder: Path, name: str) -> list[Path]:
    """Return the safetensors files that hold the weights, each of them present."""
    if (folder / "model.safetensors").is_file():
        return [folder / "model.safetensors"]
    index = folder / "model.safetensors.index.json"
    if not index.is_file():
        raise _no_weights(name, [file.name for file in folder.iterdir()])
    shards = _json(index, name).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{name}: {index.name} lists no weights.")
    files = [folder / Path(str(shard)).name for shard in sorted(set(map(str, shards.values())))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelError(
            f"{name} is not complete: {missing[0]} is missing ({len(missing)} of {len(files)} files)."
        )
    return files


def _no_weights(name: str, files: Iterable[str]) -> ModelError:
    pickled = sorted(file for file in files if file.endswith((".bin", ".pt", ".pth", ".ckpt")))
    if pickled:
        return ModelError(
            f"{name} has only pickled weights ({pickled[0]}), which can run any code when loaded; "
            "a checkpoint in safetensors is needed."
        )
    return ModelError(f"{name} has no weights: model.safetensors is missing.")


def _json(path: Path, name: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise ModelError(f"{name}: {path.name} cannot be read as JSON.") from None
    if not isinstance(content, dict):
        raise ModelError(f"{name}: {path.name} holds no settings.")
    return content


def _float_count(files: Iterable[Path], name: str) -> int:
    """Return how many numbers the weights are, from the files' headers; raise for a file cut short."""
    return sum(_numbers_in(file, name) for file in files)


def _numbers_in(file: Path, name: str) -> int:
    """Return how many numbers a safetensors file holds. Its header is 8 bytes of length, then JSON."""
    try:
        with file.open("rb") as stream:
            start = stream.read(8)
            if start == b"version ":
                raise ModelError(
                    f"{name}: {file.name} is a Git LFS pointer; fetch the file itself with: git lfs pull"
                )
            (length,) = struct.unpack("<Q", start)
            if length > file.stat().st_size:
                raise ValueError("the header is longer than the file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        end = max(tensor["data_offsets"][1] for tensor in header.values())
        if file.stat().st_size < 8 + length + end:
            raise ValueError("the file ends before its last tensor")
        return sum(math.prod(tensor["shape"]) for tensor in header.values())
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error):
        raise ModelError(f"{name}: {file.name} is damaged or not complete.") from None


def _check_memory(name: str, needed: int, settings: Placement) -> None:
    """Raise ModelError if weights of so many bytes, and a tenth more to work in, do not fit."""
    needed = int(needed * 1.1)
    free = free_memory(settings.device)
    if needed <= free:
        return
    kind = str(settings.dtype).removeprefix("torch.")
    half = f', or set DTYPE to "bfloat16" ({_gigabytes(needed // 2)})' if settings.dtype.itemsize == 4 else ""
    raise ModelError(
        f"There is not enough memory for {name}: it needs about {_gigabytes(needed)} in {kind}, and "
        f"{_gigabytes(free)} are free on {settings.device}; "
        f"close other programs{half}, or choose a smaller model."
    )


def free_memory(device: str) -> int:
    """Return free bytes: of one CUDA device, or for "cuda" of all and the main memory."""
    if device.startswith("cuda:"):
        return int(torch.cuda.mem_get_info(device)[0])
    main = min([psutil.virtual_memory().available, *_container_memory()])
    if device == "cuda":
        main += sum(int(torch.cuda.mem_get_info(index)[0]) for index in range(torch.cuda.device_count()))
    return main


def _container_memory() -> list[int]:
    """Return the bytes that a container's limit leaves, if any: the system's own figure ignores it."""
    with suppress(OSError, ValueError):
        limit, used = (
            int(Path("/sys/fs/cgroup", file).read_text()) for file in ("memory.max", "memory.current")
        )
        return [max(0, limit - used)]
    return []


def _gigabytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"


# --- Reading them ---


def _load_processor(folder: Path) -> ProcessorMixin:
    processor_class = AutoProcessor if TORCHVISION else ImageOnlyProcessor
    processor = processor_class.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    processor.chat_template = processor.chat_template or processor.tokenizer.chat_template
    if not processor.chat_template:
        raise ValueError("it has no chat template")
    return processor


def _load_weights(folder: Path, name: str, settings: Placement) -> Qwen2_5_VLForConditionalGeneration:
    model, info = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder,
        dtype=settings.dtype,
        attn_implementation=settings.attention_backend,
        device_map=_device_map(settings.device),
        use_safetensors=True,
        trust_remote_code=False,
        local_files_only=True,
        output_loading_info=True,
    )
    if info["missing_keys"]:  # they would have been filled with random numbers
        missing = sorted(info["missing_keys"])
        raise ModelError(
            f"{name} is not complete: its files lack {len(missing)} weights, {missing[0]} among them."
        )
    return model


def _device_map(device: str) -> str | dict[str, str] | None:
    """Return accelerate's placement: over all devices for "cuda", on the one named, or none on the CPU."""
    if device == "cpu":
        return None
    return "auto" if device == "cuda" else {"": device}


def _narrow_pixels(image_processor: Any) -> None:
    """Apply `config.MIN_PIXELS` and `MAX_PIXELS`, which narrow a checkpoint's own bounds only."""
    lowest, highest = image_processor.size["shortest_edge"], image_processor.size["longest_edge"]
    highest = min(highest, config.MAX_PIXELS or highest)
    lowest = min(max(lowest, config.MIN_PIXELS or lowest), highest)
    image_processor.size = type(image_processor.size)(shortest_edge=lowest, longest_edge=highest)


@contextmanager
def _one_line_errors(name: str, folder: Path) -> Iterator[None]:
    """Turn whatever transformers and torch raise while loading into one ModelError."""
    try:
        yield
    except ModelError:
        raise
    except (torch.OutOfMemoryError, MemoryError):
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        raise ModelError(
            f"There is not enough memory to load {name}; close other programs or choose a smaller model."
        ) from None
    except Exception as error:  # dozens of kinds, with server paths and many lines in their texts
        reason = one_line(str(error).replace(str(folder), "the folder"), 200)
        raise ModelError(f"{name} cannot be loaded: {reason}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers from writing bars and warnings between the lines of ours."""
    level, bars = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bars:
            transformers_logging.enable_progress_bar()
