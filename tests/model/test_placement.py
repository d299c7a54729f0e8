"""Checkpoints: devices this computer may not have."""

import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from model import (
    ModelError,
    Placement,
    encode,
    load_model,
    loading,
    model_device,
    placement,
)
from tests.model.kit import PROMPT, greedy, noise, said, with_cuda
from tests.numerics import assert_same
from tests.tiny import tiny_model


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
