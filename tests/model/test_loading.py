"""Checkpoints: what was saved comes back."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import Qwen2_5_VLProcessor
from transformers.utils import logging as transformers_logging

import config
from model import (
    ModelError,
    encode,
    families,
    hub,
    load_model,
)
from model.families import ImageOnlyProcessor, image_only
from tests.model.kit import (
    PROMPT,
    copied,
    greedy,
    noise,
    refuse_to_load,
)
from tests.numerics import assert_same
from tests.tiny import save_tiny, tiny_model


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
        assert folder != saved  # what was mended of it
        return image_only(Qwen2_5_VLProcessor).from_pretrained(folder, **settings)

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
