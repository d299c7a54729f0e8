"""Checkpoints: nothing of a checkpoint's own is run."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import Qwen2_5_VLForConditionalGeneration

from model import (
    ModelError,
    load_model,
    loading,
    placement,
)
from model.families import ImageOnlyProcessor
from tests.model.kit import FAULTS, copied, greedy, refuse_to_load, rewrite, said
from tests.numerics import assert_same

# --- Loading: what is refused, one line each ---


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


# --- Loading: nothing of a checkpoint's own is run ---


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
    assert isinstance(processor, ImageOnlyProcessor)
    assert not trace.exists()


def test_pickled_weights_beside_safetensors_are_not_read(saved: Path, tmp_path: Path) -> None:
    folder = copied(saved, tmp_path)
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nabort\n(tR.")
    model, processor = load_model(folder)
    assert_same(greedy(model, processor)[1], greedy(*load_model(saved))[1])
