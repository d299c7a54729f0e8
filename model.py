"""Loading a Qwen2.5-VL checkpoint, and turning an image and a prompt into what it reads.

Goes in: a name, or an image and a prompt. Comes out: `(model, processor)`, or an `Encoded`. Knows nothing of
attention capture, maps or pages.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import Qwen2_5_VLForConditionalGeneration, Qwen2_5_VLProcessor
from transformers.processing_utils import ProcessorMixin

import config
from utils import ImageError, check_image_size, image_hash, rgb

DEMO = "demo"
DEMO_FOLDER = Path(__file__).parent / "demo" / "model"


class ModelError(RuntimeError):
    """A checkpoint cannot be used; the message is one clear line."""


class PromptError(ValueError):
    """A prompt cannot be used; the message is one clear line."""


class ImageOnlyProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without its video half, which insists on torchvision."""

    def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None) -> None:
        """Take the same parts as the full processor but the video processor."""
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


# A saved folder names its processor's class. It must name the published one, or AutoProcessor could not load it.
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


def decoder_layers(model: nn.Module) -> nn.ModuleList:
    """Return the decoder layers of the language model, first to last."""
    return model.model.language_model.layers


def model_layer_count(model: nn.Module) -> int:
    """Return the number of decoder layers."""
    return len(decoder_layers(model))


def encode(model: nn.Module, processor: ProcessorMixin, image: Image.Image, prompt: str) -> Encoded:
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
    inputs = {name: value.to(model.device) for name, value in batch.items()}
    ids = inputs["input_ids"][0]
    grid = _grid(inputs["image_grid_thw"], processor.image_processor.merge_size)
    h, w = grid
    start = len(before) + (h * w - 1) * len(processor.image_token)  # one image token was written, h * w are read
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
    if isinstance(image, Sequence):
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
            f"The prompt has {len(prompt):,} characters; at most {config.MAX_PROMPT_CHARACTERS:,} are allowed."
        )
    try:
        prompt.encode()
    except UnicodeEncodeError:
        raise PromptError("The prompt has half a character in it (a lone surrogate).") from None
    control = tokenizer.added_tokens_decoder
    for token_id in tokenizer(prompt, add_special_tokens=False)["input_ids"]:
        if token_id in control:
            raise PromptError(f"The prompt may not contain the control token {control[token_id].content}.")


def _template(processor: ProcessorMixin, prompt: str) -> tuple[str, str]:
    """Return the chat template's text before and after the prompt, with one image before it."""
    before, after = _rendered(processor, _MARK).split(_MARK)
    if _rendered(processor, prompt) != before + prompt + after:
        raise PromptError("The checkpoint's chat template changes the prompt; leave out spaces around it.")
    return before, after


_MARK = "\ue000"  # private use: no template writes it


def _rendered(processor: ProcessorMixin, prompt: str) -> str:
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    return processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)


def _grid(image_grid_thw: Tensor, merge_size: int) -> tuple[int, int]:
    """Return (h, w) in merged patches, from (image, 3) in patches: frames, rows, columns."""
    if image_grid_thw.shape != (1, 3) or int(image_grid_thw[0, 0]) != 1:
        raise ValueError(f"expected the grid of one image and one frame; got {image_grid_thw.tolist()}")
    _, rows, cols = image_grid_thw[0].tolist()
    return rows // merge_size, cols // merge_size


def load_model(
    name: str | Path,
    *,
    device: str | None = None,
    dtype: str | None = None,
    attention_backend: str | None = None,
) -> tuple[Qwen2_5_VLForConditionalGeneration, ProcessorMixin]:
    """Return the model, in eval mode, and its processor."""
    folder = DEMO_FOLDER if str(name) == DEMO else Path(name)
    processor = ImageOnlyProcessor.from_pretrained(folder, trust_remote_code=False)
    model = Qwen2_5_VLForConditionalGeneration.from_pretrained(
        folder, dtype=torch.float32, use_safetensors=True, trust_remote_code=False
    )
    model.name_or_path = str(name)
    return model.eval(), processor
