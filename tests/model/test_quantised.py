"""Checkpoints: weights in fewer bits, saved so or put into them while loading."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from safetensors.torch import load_file

import config
from attention_extractor import AttentionExtractor
from model import Placement, load_model, loading_notes, placement
from model.checkpoint import Stored
from model.quantisation import Quantised, needed_bytes, own_distance
from model.readiness import check_ready
from tests.model.kit import PROMPT, assert_rows_are_eager, greedy, noise, said
from tests.published import published

CONFIG = "config.json"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return published(tmp_path_factory.mktemp("plain") / "plain")


@pytest.fixture(scope="module")
def saved_4bit(plain: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as people save it after loading with load_in_4bit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "QUANTIZATION", "4bit")
        model, processor = load_model(plain)
    folder = tmp_path_factory.mktemp("saved") / "4bit"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


def packed(model: Any) -> set[str]:
    return {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}


@pytest.mark.numeric
def test_4_bits_on_the_fly_are_what_they_stand_for(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Logits are those of the plain model with each packed weight as it is unpacked again."""
    model, processor = load_model(plain)
    monkeypatch.setattr(config, "QUANTIZATION", "4bit")
    small, same = load_model(plain)
    assert loading_notes(small) == (
        "its weights are quantised: 4-bit, bitsandbytes, put into it while loading",
    )
    assert len(packed(small)) == 2 * 7 + 2 * 5 + 2
    with torch.no_grad():
        for name in packed(small):
            module: Any = small.get_submodule(name)
            unpacked = dequantize_4bit(module.weight.data, module.weight.quant_state)
            model.get_submodule(name).weight.copy_(unpacked)
    found, expected = greedy(small, same), greedy(model, processor)
    assert found[0] == expected[0]
    torch.testing.assert_close(found[1], expected[1], rtol=1e-3, atol=1e-3)


@pytest.mark.numeric
def test_a_saved_4_bit_checkpoint_gives_the_same_answer_and_exact_rows(
    plain: Path, saved_4bit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = load_model(saved_4bit)
    assert loading_notes(model) == ("its weights are quantised: 4-bit, bitsandbytes, as they were saved",)
    monkeypatch.setattr(config, "QUANTIZATION", "4bit")
    assert greedy(model, processor)[0] == greedy(*load_model(plain))[0]
    capture = AttentionExtractor(model, processor, float16=False).generate(
        noise(140, 196), PROMPT, max_new_tokens=5
    )
    assert_rows_are_eager(model, processor, capture)
    assert load_model(saved_4bit)[0].name_or_path == str(saved_4bit)  # asked for what it is already


def test_8_bits_come_with_their_distance_from_themselves(
    plain: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(config, "QUANTIZATION", "8bit")
    model, processor = load_model(plain)
    held, caveat = loading_notes(model)
    assert held == "its weights are quantised: 8-bit, bitsandbytes, put into it while loading"
    said_distance = float(caveat.partition("differ by up to ")[2].partition(" ")[0])
    assert 1e-5 < said_distance < 0.5
    assert len(greedy(model, processor)[0]) > 100
    assert capfd.readouterr() == ("", "")


def test_a_distance_is_rounding_where_passes_do_not_mix_rows(plain: Path) -> None:
    model, processor = load_model(plain)
    before = model.generation_config
    assert own_distance(model, check_ready(model, processor, "it")) < 1e-5
    assert model.generation_config is before


def test_bytes_are_the_files_own(saved_4bit: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = sum(tensor.nbytes for tensor in load_file(saved_4bit / "model.safetensors").values())
    monkeypatch.setattr(placement, "_container_memory", list)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(stored * 1.11)))
    load_model(saved_4bit)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=int(stored * 1.09)))
    assert said(saved_4bit).endswith(
        f"it needs about {stored * 1.1e-6:.1f} MB in its quantised form, and {stored * 1.09e-6:.1f} MB are "
        "free on cpu; close other programs, or choose a smaller model."
    )


def test_needed_bytes() -> None:
    """4 bits with a scale for each 64, or 8 bits, for linear layers alone; else the number type's."""
    tensors = {
        "model.layers.0.mlp.up_proj.weight": Stored((8, 64), 1024),
        "model.embed_tokens.weight": Stored((10, 64), 1280),
        "lm_head.weight": Stored((10, 64), 1280),
        "model.norm.weight": Stored((64,), 128),
    }
    here = Placement("cpu", torch.float32, "sdpa")
    gpu = Placement("cuda", torch.bfloat16, "sdpa")
    others = 640 + 640 + 64
    assert needed_bytes(tensors, Quantised(), here) == 4 * (512 + others)
    assert needed_bytes(tensors, Quantised("bitsandbytes", "4bit", True), here) == 512 * 4.5 / 8 + 4 * others
    assert needed_bytes(tensors, Quantised("bitsandbytes", "8bit", True), gpu) == 512 + 2 * others
    assert needed_bytes(tensors, Quantised("awq"), gpu) == 1024 + 1280 + 1280 + 128
    assert needed_bytes(tensors, Quantised("fp8"), gpu) == 1024 + 1280 + 1280 + 128
    assert needed_bytes(tensors, Quantised("fp8"), here) == 4 * (512 + others)


INSTALL = "that needs the package {0}, which is not installed or does not import: pip install {0}"
WAYS = "bitsandbytes, AWQ, GPTQ, FP8, FP8 (FBGEMM), compressed-tensors"


@pytest.mark.parametrize(
    ("method", "missing", "line"),
    [
        ({"quant_method": "awq"}, "gptqmodel", f"is quantised (AWQ); {INSTALL.format('gptqmodel')}"),
        ({"quant_method": "gptq"}, "gptqmodel", f"is quantised (GPTQ); {INSTALL.format('gptqmodel')}"),
        (
            {"quant_method": "compressed-tensors"},
            "compressed_tensors",
            f"is quantised (compressed-tensors); {INSTALL.format('compressed-tensors')}",
        ),
        (
            {"load_in_4bit": True},
            "bitsandbytes",
            f"is quantised (bitsandbytes); {INSTALL.format('bitsandbytes')}",
        ),
        (
            {"quant_method": "fbgemm_fp8"},
            "fbgemm_gpu",
            "is quantised (FP8 (FBGEMM)), which needs CUDA; choose another checkpoint.",
        ),
        (
            {"quant_method": "aqlm"},
            "aqlm",
            f'is quantised in a way that is not taken ("aqlm"); choose a checkpoint in full precision, or '
            f"one of {WAYS}.",
        ),
    ],
)
def test_what_a_checkpoint_needs_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: dict[str, Any], missing: str, line: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)
    assert (
        said(published(tmp_path / "m", changes={CONFIG: {"quantization_config": method}})) == f"NAME {line}"
    )


def test_without_bitsandbytes_the_setting_says_so(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setattr(config, "QUANTIZATION", "8bit")
    asked = 'QUANTIZATION = "8bit" in config.py asks for it'
    assert said(plain) == f"{asked}; {INSTALL.format('bitsandbytes')}"


def test_what_is_quantised_is_not_quantised_in_another_way(
    saved_4bit: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert json.loads((saved_4bit / CONFIG).read_text())["quantization_config"]["load_in_4bit"] is True
    monkeypatch.setattr(config, "QUANTIZATION", "8bit")
    assert said(saved_4bit) == (
        'NAME is quantised already (bitsandbytes), and QUANTIZATION = "8bit" in config.py asks for '
        "another way; set QUANTIZATION = None, or choose the checkpoint in full precision."
    )
