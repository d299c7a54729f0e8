"""The shell: refusals."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import cli
import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
import model as model_room
from attention_extractor import AttentionExtractor
from internals.hooks import hooked
from records.capture import Capture
from tests.commands.kit import REFUSALS, TOKENS, in_a_shell, left_behind, names


@pytest.mark.parametrize(("arguments", "message"), REFUSALS, ids=lambda value: str(value)[:40])
def test_a_refusal_is_one_line_and_leaves_nothing(
    run: Callable[..., int],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert run(*arguments) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    line = told.err.split("\r")[-1]  # what stays on the screen: a progress bar before it was wiped away
    assert line.startswith("error: ")
    assert message in line
    assert left_behind(tmp_path) == before


def test_in_a_shell_a_refusal_is_exit_code_2_and_a_single_line(
    checkpoint: Path, picture: Path, out: Path, tmp_path: Path
) -> None:
    given = (str(picture), "--prompt", "What?", "--model", str(checkpoint), "--output", str(out))
    before = left_behind(tmp_path)
    cases = [
        ((*given, "--layers", "99"), "", "there is no layer 99: the model has 3 layers, 0 to 2"),
        (given, "config.HEATMAP_ALPHA = 2", "HEATMAP_ALPHA must be a number from 0 to 1; it is 2"),
        ((), "", "the following arguments are required: IMAGE, --prompt"),
    ]
    for arguments, code, message in cases:
        done = in_a_shell("attention", *arguments, code=code)
        assert done.returncode == 2, done.stderr
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr
        assert done.stderr.startswith("error: ")
        assert message.lower() in done.stderr.lower()
    assert left_behind(tmp_path) == before


def test_files_and_folders_that_do_not_do_are_refused_in_a_single_line(
    checkpoint: Path, picture: Path, out: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """As in a shell, but in this process, which has loaded torch already."""
    broken = tmp_path / "broken.png"
    broken.write_bytes(picture.read_bytes()[:60])
    text = tmp_path / "text.txt"
    text.write_text("no picture")
    none = tmp_path / "none.png"
    given = ("--prompt", "What?", "--model", str(checkpoint), "--output", str(out))
    before = left_behind(tmp_path)
    cases = [
        ((str(picture), *given, "--model", str(tmp_path / "none")), "there is no"),
        ((str(none), *given), f"{none}: There is no such picture file."),
        ((str(broken), *given), "The picture file is damaged or incomplete."),
        ((str(text), *given), "The file is not a picture in a format that is read"),
        ((str(picture), *given, "--output", str(text)), f"cannot write into {text}: {text} is a file"),
    ]
    for arguments, message in cases:
        assert cli.main(["attention", *arguments]) == 2
        told = capfd.readouterr()
        assert told.out == ""
        assert told.err.count("\n") == 1, told.err
        assert told.err.startswith("error: ")
        assert message.lower() in told.err.lower()
    assert left_behind(tmp_path) == before


def test_a_token_beyond_the_answer_is_refused_once_the_answer_is_known(
    run: Callable[..., int], tmp_path: Path, reference: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    before = left_behind(tmp_path)
    assert run("--tokens", "2-50") == 2
    told = capsys.readouterr()
    assert told.out == reference.text + "\n"
    assert told.err.endswith(
        f"error: there is no token 50: the answer has {TOKENS} tokens, 0 to {TOKENS - 1}\n"
    )
    assert left_behind(tmp_path) == before


def test_an_empty_answer_is_refused(
    run: Callable[..., int],
    tmp_path: Path,
    reference: Capture,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    nothing = replace(
        reference,
        token_ids=(),
        tokens=(),
        text="",
        token_spans=(),
        attention=reference.attention[:0],
        text_attention=reference.text_attention[:0, :, :-TOKENS],
        shares=reference.shares[:0],
        logprobs=reference.logprobs[:0],
    )
    monkeypatch.setattr(AttentionExtractor, "generate", lambda *_, **__: nothing)
    before = left_behind(tmp_path)
    assert run() == 2
    assert capsys.readouterr().err.endswith(
        "error: the model gave an empty answer: there is nothing to draw\n"
    )
    assert left_behind(tmp_path) == before


def test_a_full_disk_leaves_the_earlier_files_as_they_were(
    run: Callable[..., int], out: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--tokens", "0-1") == 0
    before = {name: (out / name).read_bytes() for name in names(out)}

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    assert run("--tokens", "0-3", "--colormap", "jet") == 2
    line = (
        "error: the disk is full: free some of it, or choose another folder; what was there before is as it"
    )
    assert capsys.readouterr().err.endswith(f"{line} was\n")
    assert {name: (out / name).read_bytes() for name in names(out)} == before


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (model_room.ModelError("no such checkpoint"), 2, "error: no such checkpoint"),
        (
            torch.cuda.OutOfMemoryError("CUDA\nout of memory"),
            2,
            "error: there is not enough memory; a smaller",
        ),
        (MemoryError(), 2, "error: there is not enough memory; a smaller"),
        (KeyError("head"), 1, "error: unexpected KeyError: 'head' (--debug shows where)"),
        (ValueError("two\nlines"), 2, "error: two lines"),
    ],
)
def test_errors_from_below_are_one_line(
    run: Callable[..., int],
    tmp_path: Path,
    error: Exception,
    code: int,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(name: str) -> None:
        raise error

    monkeypatch.setattr(commands.run.answers, "load_model", fail)
    before = left_behind(tmp_path)
    assert run() == code
    told = capsys.readouterr().err
    assert told.startswith(line)
    assert told.count("\n") == 1
    assert left_behind(tmp_path) == before
    with pytest.raises(type(error)):
        run("--debug")


@pytest.mark.parametrize("passes", [1, 4])
def test_memory_that_runs_out_in_the_middle_of_an_answer_is_one_line(
    run: Callable[..., int],
    tmp_path: Path,
    loaded: tuple[Any, Any],
    passes: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    seen: list[int] = []

    def full(index: int, module: Any, args: Any, output: torch.Tensor) -> None:
        seen.append(index)
        if len(seen) == passes:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has")

    with hooked([loaded[0].model.language_model.norm], full):
        assert run() == 2
    assert len(seen) == passes
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith(
        "error: there is not enough memory; a smaller picture, fewer --layers or --max-new"
    )
    assert left_behind(tmp_path) == before
    assert run() == 0
