"""The shell: what was answered before."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import commands.run.answers
import commands.run.attention
import commands.run.evaluate
import commands.run.export
import commands.run.gradcam
import config
from attention_processor import AttentionProcessor
from cli import main
from records.capture import Capture
from tests.commands.kit import AGAIN, PROMPT, TOKENS, arrays, names


def test_the_same_question_answers_at_once(
    run: Callable[..., int],
    out: Path,
    answers: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run() == 0
    first, told = arrays(out), capsys.readouterr()
    assert AGAIN not in told.err

    def no_model(name: str) -> None:
        raise AssertionError("the model was loaded")

    with monkeypatch.context() as patched:
        patched.setattr(commands.run.answers, "load_model", no_model)
        assert run("--generation", "checkpoint") == 0  # which config.py says as well
        assert run("--layers", "0,-1", "--colormap", "jet") == 0  # recorded with all the others
    again = capsys.readouterr()
    assert again.err.splitlines().count(AGAIN) == 2
    assert again.out.splitlines() == told.out.splitlines() * 2
    assert len(answers) == 1
    third = arrays(out)
    assert third["layers"].tolist() == [0, 2]
    np.testing.assert_array_equal(first["token_ids"], third["token_ids"])
    assert run("--no-cache") == 0
    np.testing.assert_array_equal(first["maps"], arrays(out)["maps"])
    assert len(answers) == 2


def test_other_questions_are_asked(
    run: Callable[..., int], answers: list[str], own_cache: Path, checkpoint: Path
) -> None:
    for given in (["--layers", "1"], [], ["--temperature", "0.5"], ["--max-new-tokens", "3"]):
        assert run("--tokens", "0", *given) == 0
    assert run("--tokens", "0", prompt="What else?") == 0
    assert len(answers) == 5
    assert len(list(own_cache.iterdir())) == 5
    assert run("--tokens", "0", "--layers", "1") == 0
    os.utime(checkpoint / "model.safetensors")  # trained on: another model
    assert run("--tokens", "0") == 0
    assert len(answers) == 6


def test_an_answer_with_fewer_heads_is_another(
    run: Callable[..., int], out: Path, answers: list[str], reference: Capture
) -> None:
    assert run("--tokens", "0") == 0
    whole = arrays(out)
    assert run("--tokens", "0", "--keep", "head-mean") == 0
    mean = arrays(out)
    np.testing.assert_allclose(mean["maps"], whole["maps"], atol=1e-3 * float(whole["maps"].max()))
    assert run("--tokens", "0", "--keep", "2:1,0:3", "--layers", "2") == 0
    expected = AttentionProcessor(reference).get_attention_heatmap_for_token(0, [2], [1])
    np.testing.assert_array_equal(arrays(out)["maps"][0], expected)
    assert arrays(out)["pairs"].tolist() == [[2, 1]]
    assert len(answers) == 4  # the reference is one of them
    for given in (["--keep", "all"], ["--keep", "head-mean"], ["--keep", "0:3,2:1"]):
        assert run("--tokens", "0", *given) == 0
    assert arrays(out)["pairs"].tolist() == [[0, 3], [2, 1]]
    assert len(answers) == 4


def test_without_cache_nothing_is_kept(run: Callable[..., int], own_cache: Path) -> None:
    assert run("--no-cache", "--tokens", "0") == 0
    assert list(own_cache.iterdir()) == []


def test_a_damaged_answer_is_asked_again(
    run: Callable[..., int], answers: list[str], own_cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert run("--tokens", "0") == 0
    entry = next(own_cache.iterdir())
    (entry / "capture.safetensors").write_bytes(b"cut")
    assert run("--tokens", "0") == 0
    assert len(answers) == 2
    assert [message[:16] for message in caplog.messages] == ["the kept answer "]
    assert run("--tokens", "0") == 0
    assert len(answers) == 2


def test_an_answer_that_cannot_be_kept_is_given_all_the_same(
    run: Callable[..., int],
    tmp_path: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    monkeypatch.setattr(config, "CACHE_DIR", str(blocked))
    assert run("--tokens", "0") == 0
    assert "note: the answer could not be kept: " in capsys.readouterr().err
    assert "token_000.png" in names(out)


def test_gradcam_explains_the_answer_that_is_kept(
    run: Callable[..., int],
    picture: Path,
    checkpoint: Path,
    tmp_path: Path,
    answers: list[str],
    own_cache: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [str(picture), "--prompt", PROMPT, "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
    drawn = ["--mode", "single", "--num-samples", "1", "--target", "1-2"]

    def maps(name: str, *arguments: str) -> np.ndarray:
        folder = tmp_path / name
        assert main(["gradcam", *given, *drawn, "--output", str(folder), *arguments]) == 0
        return arrays(folder)["maps"]

    asked = maps("asked")
    assert list(own_cache.iterdir()) == []  # one layer of attention is no answer to keep
    assert run("--tokens", "0") == 0
    before = len(answers)
    capsys.readouterr()
    np.testing.assert_array_equal(maps("kept"), asked)
    assert len(answers) == before
    assert AGAIN in capsys.readouterr().err
    np.testing.assert_array_equal(maps("fresh", "--no-cache"), asked)
    assert len(answers) == before + 1
