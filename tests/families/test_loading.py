"""Every family: folders that load, and what is known of a folder without its weights."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import commands.run.answers
import config
from attention_extractor import AttentionExtractor
from cli import main
from methods import METHODS
from model import (
    FAMILIES,
    Checkpoint,
    answer_key,
    attention_layers,
    checkpoint,
    encode,
    family_of,
    load_model,
)
from tests.families.kit import GRID, HYBRIDS, PROMPT, answer, attended, picture
from tests.numerics import assert_same
from tests.tiny_families import HEADS, LAYERS, tiny_family

pytestmark = pytest.mark.numeric

OLD = ["qwen2_vl", "qwen2_5_vl"]  # published in an older layout too
THINKS = "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% endif %}"


def saved(kind: str, folder: Path) -> Path:
    model, processor = tiny_family(kind)
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def logits(model: Any, processor: Any, kind: str) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = model(**encode(model, processor, picture(kind), PROMPT).inputs).logits
    return found


def test_a_saved_folder_loads(family: tuple[Any, Any], kind: str, tmp_path: Path) -> None:
    folder = saved(kind, tmp_path / "m")
    model, processor = load_model(folder, device="cpu", dtype="float32")
    assert type(model) is type(family[0])
    assert family_of(model) is FAMILIES[kind]
    named = json.loads((folder / "processor_config.json").read_text())["processor_class"]
    assert named == type(processor).__name__ == FAMILIES[kind].processor.__name__
    assert_same(logits(model, processor, kind), logits(*family, kind))
    found = checkpoint(str(folder))
    assert isinstance(found, Checkpoint)
    assert (found.layer_count, found.attention_layers) == (LAYERS, attended(kind))
    assert attention_layers(model) == attended(kind)
    asked: dict[str, Any] = {"image": "0" * 64, "prompt": PROMPT}
    assert answer_key(found, **asked) == answer_key(found, layers=attended(kind), **asked)
    assert answer_key(found, **asked) != answer_key(found, layers=[3], **asked)


@pytest.mark.parametrize("kind", HYBRIDS)
def test_layers_with_attention_are_known_where_config_json_lists_none(kind: str, tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    for text, expected in (
        ({"num_hidden_layers": 9}, (3, 7)),
        ({"num_hidden_layers": 5, "full_attention_interval": 2}, (1, 3)),
        ({"num_hidden_layers": 3, "layer_types": ["full_attention", "linear_attention"] * 2}, (0, 2)),
    ):
        (folder / "config.json").write_text(json.dumps({"model_type": kind, "text_config": text}))
        found = checkpoint(str(folder))
        assert found is not None
        assert found.attention_layers == expected


@pytest.mark.parametrize("kind", OLD)
def test_the_flat_layout_with_old_names_loads(kind: str, tmp_path: Path) -> None:
    """As published: the decoder's settings at the top, weights named `visual.…` and `model.layers.…`."""
    folder = saved(kind, tmp_path / "m")
    settings = json.loads((folder / "config.json").read_text())
    text, vision = settings.pop("text_config"), settings.pop("vision_config")
    rotary = text.pop("rope_parameters")
    flat = {**text, **settings, "vision_config": {**vision, "in_chans": 3}}
    flat |= {"rope_theta": rotary["rope_theta"]}
    flat |= {"rope_scaling": {"type": "mrope", "mrope_section": rotary["mrope_section"]}}
    flat |= {"use_sliding_window": False, "sliding_window": 32_768, "max_window_layers": 3}
    for name in ("layer_types", "dtype"):
        flat.pop(name, None)
    (folder / "config.json").write_text(json.dumps(flat))
    renamed = {
        name.replace("model.visual.", "visual.").replace("model.language_model.", "model."): weight
        for name, weight in load_file(folder / "model.safetensors").items()
    }
    assert {name.split(".")[0] for name in renamed} == {"visual", "model", "lm_head"}
    save_file(renamed, folder / "model.safetensors", {"format": "pt"})
    of_images = json.loads((folder / "processor_config.json").read_text())
    named = {"processor_class": FAMILIES[kind].processor.__name__}
    (folder / "preprocessor_config.json").write_text(json.dumps(of_images["image_processor"] | named))
    (folder / "processor_config.json").unlink()
    model, processor = load_model(folder, device="cpu", dtype="float32")
    assert_same(logits(model, processor, kind), logits(*tiny_family(kind), kind))
    found = checkpoint(str(folder))
    assert found is not None
    assert found.attention_layers == tuple(range(LAYERS))


def test_the_template_is_told_what_it_asks_for(kind: str) -> None:
    model, processor = tiny_family(kind)
    asks = copy.copy(processor)
    asks.chat_template = processor.chat_template + THINKS
    plain, told = (encode(model, one, picture(kind), PROMPT).input_ids for one in (processor, asks))
    assert processor.tokenizer.decode(told[len(plain) :]) == "<think>\n\n</think>\n\n"
    thinks = encode(model, asks, picture(kind), PROMPT, thinking=True).input_ids
    assert thinks.tolist() == plain.tolist()


@pytest.mark.parametrize("kind", ["qwen3_5"])
def test_the_shell_takes_layers_with_attention_and_names_them(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: tiny_family(kind))
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    picture(kind).save(tmp_path / "picture.png")
    model = saved(kind, tmp_path / "m")

    def ask(*more: str) -> tuple[int, str]:
        given = ["attention", str(tmp_path / "picture.png"), "--prompt", PROMPT, "--model", str(model)]
        shutil.rmtree(tmp_path / "out", ignore_errors=True)
        code = main([*given, "--max-new-tokens", "3", "--output", str(tmp_path / "out"), *more])
        return code, capsys.readouterr().err

    code, said = ask("--layers", "0-3")
    assert code != 0
    assert "layer 0 of this model has no attention; choose from those that have: 1, 3" in said
    assert ask()[0] == 0
    code, said = ask("--layers", "-1")
    assert code == 0
    assert "taken from the cache" in said
    with np.load(tmp_path / "out" / "maps.npz", allow_pickle=False) as arrays:
        assert arrays["layers"].tolist() == [3]
    assert ask("--method", "gated-attention")[0] == 0
    code, said = ask("--method", "rollout")
    assert code != 0
    assert METHODS["rollout"].refusal(answer(kind)) in said


def test_a_wider_picture_has_more_columns(kind: str) -> None:
    """A grid is counted in the family's own cells, whatever the picture's size."""
    (h, w), image = GRID, picture(kind)
    larger = image.resize((image.width * 2, image.height), Image.Resampling.NEAREST)
    assert encode(*tiny_family(kind), larger, PROMPT).grid == (h, 2 * w)
    capture = AttentionExtractor(*tiny_family(kind)).generate(larger, PROMPT, max_new_tokens=1)
    assert capture.attention.shape[1:] == (len(attended(kind)), HEADS, h * 2 * w)
