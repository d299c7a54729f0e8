"""What several tests here share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration

from model import (
    ModelError,
    encode,
    load_model,
    placement,
)
from tests.numerics import assert_same

ROOT = Path(__file__).parent.parent.parent
PROMPT = "What is at the top left?"


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


TEXTS = [
    "Describe this image.",
    "A red circle at the top left and a blue star; it's 3.14 m²!",
    "画像を説明してください。左上に何がありますか？",
    "이 그림을 설명해 주세요.",
    "👩‍🚀🚀 and 🦊🏳️‍🌈, then ẞtraße, naïve café",
    "e\u0301 is é after NFC; \ufb01 stays",
    "  two spaces\n\n\nand\ttabs \r\n",
    "صف هذه الصورة من فضلك",
]
PROMPTS = [
    *TEXTS,
    "s",
    "assistant",
    "user\nassistant\n",
    "vision_end|> <|image_pad",
    "You are a helpful assistant.",
    "{{ 7 * 7 }} {% raw %} }}",
    "\ue000",
    "a\ue000b\ue000",
    " ",
    "the the the the",
    "\u1112\u1161\u11ab\u1100\u116e\u11a8",  # six letters that NFC joins into two
    "🦊" * 50,
    "x" * 4000,
]


def greedy(model: Any, processor: Any) -> tuple[list[int], torch.Tensor]:
    """Return the answer's token ids and the logits of the prompt."""
    inputs = encode(model, processor, noise(140, 196), PROMPT).inputs
    with torch.no_grad():
        logits = model(**inputs).logits
        ids = model.generate(**inputs, max_new_tokens=8, do_sample=False, temperature=None)[0]
    return ids.tolist(), logits


def copied(source: Path, target: Path) -> Path:
    """Return a copy of a model folder, to be broken."""
    folder = target / "broken"
    folder.mkdir()
    for file in source.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


def said(name: str | Path, **settings: Any) -> str:
    """Return the one line with which loading fails, and check that it is one."""
    with pytest.raises(ModelError) as error:
        load_model(name, **settings)
    message = str(error.value)
    assert "\n" not in message
    assert len(message.replace(str(name), "")) < 300
    assert "Traceback" not in message
    assert message.replace(str(name), "NAME").count("/tmp") == 0
    return message.replace(str(name), "NAME")


def rewrite(file: str, **changes: Any) -> Callable[[Path], None]:
    """Return a fault: a JSON file with these entries changed, those that are None left out."""

    def fault(folder: Path) -> None:
        content = {**json.loads((folder / file).read_text()), **changes}
        (folder / file).write_text(
            json.dumps({key: value for key, value in content.items() if value is not None})
        )

    return fault


def write(file: str, content: bytes) -> Callable[[Path], None]:
    def fault(folder: Path) -> None:
        (folder / file).write_bytes(content)

    return fault


def remove(file: str) -> Callable[[Path], None]:
    def fault(folder: Path) -> None:
        (folder / file).unlink()

    return fault


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(3)}, folder / "pytorch_model.bin")


def cut_short(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def without_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})


def with_a_shard_missing(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00003.safetensors")
    index = {"weight_map": {"a": "model-00001-of-00003.safetensors", "b": "model-00002-of-00003.safetensors"}}
    index["weight_map"]["c"] = "model-00003-of-00003.safetensors"
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))


def with_an_empty_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")


AGAIN = "copy it again from where the checkpoint came from"
KNOWN = "Qwen2-VL, Qwen2.5-VL, Qwen3-VL, Qwen3-VL MoE, Qwen3.5 or Qwen3.5 MoE"
NO_QWEN = f"NAME is no {KNOWN} model: its config.json"
NOT_ALL_KEYS = (
    "which cannot be recorded exactly; choose a model whose words can look at everything before them."
)
FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (
        remove("config.json"),
        "NAME is no model folder: it has no config.json; choose the folder that holds it, the weights and",
    ),
    (
        rewrite("config.json", model_type="llava"),
        f'{NO_QWEN} says model_type "llava"; choose a checkpoint of that kind.',
    ),
    (
        rewrite("config.json", model_type="qwen4_exp"),
        f"NAME cannot be used: its attention keeps only the keys that an indexer selects, {NOT_ALL_KEYS}",
    ),
    (
        rewrite("config.json", text_config={"indexer_n_heads": 4}),
        f"NAME cannot be used: its attention keeps only the keys that an indexer selects, {NOT_ALL_KEYS}",
    ),
    (
        rewrite("config.json", text_config={"layer_types": ["full_attention", "sliding_attention"]}),
        f"NAME cannot be used: it uses sliding-window attention, {NOT_ALL_KEYS}",
    ),
    (
        rewrite(
            "config.json",
            text_config={"use_sliding_window": True, "max_window_layers": 1, "num_hidden_layers": 2},
        ),
        f"NAME cannot be used: it uses sliding-window attention, {NOT_ALL_KEYS}",
    ),
    (rewrite("config.json", model_type=None), f"{NO_QWEN} says nothing of a model_type"),
    (rewrite("config.json", model_type="x\n" * 99), f'{NO_QWEN} says model_type "x x '),
    (write("config.json", b"{"), f"NAME: config.json cannot be read as JSON; {AGAIN}."),
    (write("config.json", b"\xff\xfe"), f"NAME: config.json cannot be read as JSON; {AGAIN}."),
    (write("config.json", b"[]"), f"NAME: config.json holds no settings; {AGAIN}."),
    (
        rewrite("generation_config.json", num_beams=4),
        "NAME: The checkpoint's generation_config.json asks for beam sample (num_beams 4), which cannot be "
        'recorded: set GENERATION = "greedy" in config.py, or mend that file.',
    ),
    (rewrite("generation_config.json", temperature=-1.0), "NAME: `temperature` (=-1.0) has to be a strictly"),
    (remove("model.safetensors"), f"NAME has no weights: model.safetensors is missing; {AGAIN}."),
    (pickled, "NAME has only pickled weights (pytorch_model.bin), which can run any code when loaded; "),
    (cut_short, f"NAME: model.safetensors is damaged or not complete; {AGAIN}."),
    (write("model.safetensors", b""), f"NAME: model.safetensors is damaged or not complete; {AGAIN}."),
    (write("model.safetensors", bytes(500)), f"NAME: model.safetensors is damaged or not complete; {AGAIN}."),
    (
        write("model.safetensors", b"\xff" * 500),
        f"NAME: model.safetensors is damaged or not complete; {AGAIN}.",
    ),
    (
        write("model.safetensors", b"version https://git-lfs"),
        "NAME: model.safetensors is a Git LFS pointer; ",
    ),
    (
        without_a_tensor,
        "NAME is not complete: its files lack 1 weights, model.language_model.layers.1.mlp.up_proj",
    ),
    (
        with_a_shard_missing,
        "NAME is not complete: model-00002-of-00003.safetensors is missing (2 of 3 files); fetch what is",
    ),
    (with_an_empty_index, f"NAME: model.safetensors.index.json lists no weights; {AGAIN}."),
    (rewrite("config.json", text_config={"hidden_size": 32}), "NAME cannot be loaded: "),
    (
        remove("tokenizer.json"),
        "NAME has no tokenizer: tokenizer.json is missing; copy it, with tokenizer_config.json, from the",
    ),
    (write("tokenizer.json", b"{"), "NAME cannot be loaded: "),
    (
        write("processor_config.json", b"nothing"),
        f"NAME: processor_config.json cannot be read as JSON; {AGAIN}.",
    ),
    (write("tokenizer_config.json", b"[1]"), f"NAME: tokenizer_config.json holds no settings; {AGAIN}."),
    (write("chat_template.jinja", b"\xff"), f"NAME: chat_template.jinja cannot be read as text; {AGAIN}."),
]


def refuse_to_load(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Load with a library that fails in this way."""

    def from_pretrained(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Qwen2_5_VLForConditionalGeneration, "from_pretrained", from_pretrained)
    load_model(folder)


def with_cuda(monkeypatch: pytest.MonkeyPatch, devices: int = 2, flash: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(placement, "_flash_attention_imports", lambda: flash)


LOAD_EACH = """
import json, sys
from model import load_model
for name in sys.argv[1:]:
    try:
        said = "loaded " + load_model(name)[0].name_or_path
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(json.dumps(said))
"""


def load_elsewhere(endpoint: str, cache: Path, *names: str, **env: str) -> list[str]:
    """Load the names in another process with this hub and cache; return what is said of each."""
    settings = {
        key: value for key, value in os.environ.items() if not key.startswith(("HF_", "TRANSFORMERS_"))
    }
    settings |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_PROGRESS_BARS": "1", **env}
    done = subprocess.run(
        [sys.executable, "-c", LOAD_EACH, *names],
        cwd=ROOT,
        env=settings,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def assert_rows_are_eager(model: Any, processor: Any, capture: Any) -> None:
    """Compare a capture of `noise(140, 196)` and PROMPT with `output_attentions` of the same model, eager."""
    encoded = encode(model, processor, noise(140, 196), PROMPT)
    inputs = dict(encoded.inputs)
    answer = torch.tensor([capture.token_ids])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
    for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        inputs[name] = torch.nn.functional.pad(inputs[name], (0, answer.shape[1]), value=value)
    before = model.config._attn_implementation
    model.set_attn_implementation("eager")
    try:
        with torch.no_grad():
            attentions = model(**inputs, output_attentions=True).attentions
    finally:
        model.set_attn_implementation(before)
    rows = torch.arange(answer.shape[1]) + encoded.prompt_length - 1
    for index, layer in enumerate(capture.layers):
        expected = attentions[layer][0][:, rows][:, :, encoded.image_positions].transpose(0, 1)
        assert_same(capture.attention[:, index], expected)
