"""The shell: export."""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
from attention_processor import AttentionProcessor
from cli import main
from commands.terminal import counter
from records.capture import Capture
from tests.commands.kit import PROMPT, left_behind, names, written


def test_export_writes_each_format(
    share: Callable[..., int], out: Path, reference: Capture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert share("--format", "png,zip,gif,mp4,pdf,npz", "--layers", "1-2", "--heads", "0,3") == 0
    told = capsys.readouterr()
    assert told.out == reference.text + "\n"
    assert written(out) == {".png", ".zip", ".gif", ".mp4", ".pdf", ".npz"}
    assert told.err.splitlines()[-1] == f"Wrote {', '.join(sorted(names(out)))} to {out}"
    processor = AttentionProcessor(reference)
    with np.load(next(out.glob("*.npz"))) as made:
        for index, word in enumerate(processor.words()):
            expected = processor.get_attention_heatmap_for_token(word.tokens, [1, 2], [0, 3])
            np.testing.assert_array_equal(made["word_maps"][index], expected)


def test_export_of_chosen_tokens_and_of_the_prompt(share: Callable[..., int], out: Path) -> None:
    assert share("--tokens", "2-4", "--prompt-words", "--format", "png") == 0
    assert written(out) == {"-tokens-002-004.png", "-prompt.png"}


def test_a_kept_answer_is_exported_without_a_model(
    share: Callable[..., int],
    out: Path,
    picture: Path,
    own_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert share("--format", "png") == 0
    first = next(out.glob("*.png")).read_bytes()
    picture.unlink()

    def no_model(name: str) -> None:
        raise AssertionError("the model was loaded")

    monkeypatch.setattr(commands.run.answers, "load_model", no_model)
    assert main(["export", "--recent"]) == 0
    listed = capsys.readouterr().out.splitlines()[-1]
    entry_id = next(own_cache.iterdir()).name
    assert listed.startswith(f"{entry_id[:8]}  2")
    assert PROMPT in listed
    for name in ("last", entry_id, entry_id[:8]):
        next(out.glob("*.png")).unlink()
        assert main(["export", name, "--output", str(out)]) == 0
        assert next(out.glob("*.png")).read_bytes() == first


def test_a_list_of_nothing_is_empty(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "--recent"]) == 0
    assert capsys.readouterr().out == ""


def test_export_leaves_other_files(share: Callable[..., int], run: Callable[..., int], out: Path) -> None:
    assert run("--tokens", "0-1") == 0
    before = names(out)
    assert share("--format", "png") == 0
    assert before < names(out)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a picture file with --prompt, or an id of --recent, or last"),
        (["last"], "no kept answers are named last: see --recent"),
        (["abcd1234"], "no kept answers are named abcd1234: see --recent"),
        (["../cache"], "'../cache' is neither an id of --recent nor last"),
        (["last", "--model", "demo"], "--model belongs to a picture file with --prompt"),
        (["last", "--recent"], "--recent lists what is kept; it takes no picture, prompt or id"),
        (["last", "--format", "bmp"], "'bmp' is not one of png, zip, gif, mp4, pdf, html, npz or all"),
    ],
)
def test_an_export_that_cannot_be_is_one_line(
    out: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", *arguments, "--output", str(out)]) == 2
    told = capsys.readouterr()
    assert (told.out, told.err.count("\n")) == ("", 1)
    assert told.err.startswith("error: ")
    assert message in told.err
    assert not out.exists()


def test_a_picture_file_alone_is_told_what_is_missing(
    picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(picture)]) == 2
    assert capsys.readouterr().err.endswith("nor last; for a picture file, add --prompt\n")


def test_a_layer_that_was_not_kept_is_refused(
    share: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert share("--layers", "1") == 0
    capsys.readouterr()
    assert main(["export", "last", "--layers", "0,1", "--output", str(out)]) == 2
    assert "layer 0 was not recorded for this answer; recorded: 1" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["zip", "gif", "mp4", "pdf"])
def test_ctrl_c_during_an_export_leaves_nothing_new(
    share: Callable[..., int],
    out: Path,
    kind: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert share("--format", "npz") == 0
    before = names(out)
    plain: Any = counter

    def interrupting(progress: Any) -> Callable[[int, int], None]:
        count = plain(progress)

        def step(done: int, total: int) -> None:
            count(done, total)
            if done == 2:
                os.kill(os.getpid(), signal.SIGINT)

        return step

    monkeypatch.setattr(commands.run.export, "counter", interrupting)
    assert share("--format", f"png,{kind}") == 130
    assert capsys.readouterr().err.endswith("Stopped: nothing was written.\n")
    assert names(out) == before
    assert all(not name.startswith(".") for name in left_behind(out.parent))
