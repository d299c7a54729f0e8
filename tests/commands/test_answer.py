"""The shell: answers that were written elsewhere."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commands.run.answers
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from cli import main
from records.pictures import open_image
from tests.commands.kit import PROMPT, arrays, names

GIVEN = "Two 鿂 birds."


@pytest.fixture
def call(
    picture: Path, out: Path, checkpoint: Path, loaded: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., int]:
    """Run a command in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)
    question = [str(picture), "--prompt", PROMPT, "--model", str(checkpoint), "--output", str(out)]
    return lambda command, *arguments: main([command, *question, *arguments])


def test_a_given_answer_is_explained(
    call: Callable[..., int],
    picture: Path,
    out: Path,
    tmp_path: Path,
    loaded: tuple[Any, Any],
    answers: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "answer.txt"
    file.write_text(GIVEN + "\n", encoding="utf-8")
    capture = AttentionExtractor(*loaded).read(open_image(picture), PROMPT, GIVEN)
    for given in (GIVEN, f"@{file}"):
        assert call("attention", "--answer", given) == 0
        assert capsys.readouterr().out == GIVEN + "\n"
        made = arrays(out)
        assert made["token_ids"].tolist() == list(capture.token_ids)
        expected = [
            AttentionProcessor(capture).get_attention_heatmap_for_token(token)
            for token in range(len(capture.token_ids))
        ]
        np.testing.assert_allclose(made["maps"], expected, rtol=0, atol=1e-6)
    assert answers == []  # none was generated


@pytest.mark.parametrize(
    ("command", "arguments", "ending"),
    [
        ("export", ["--format", "html"], ".html"),
        ("gradcam", ["--num-samples", "1", "--target", "0"], ".txt"),
        ("check", ["--target", "birds", "--patches", "1", "--repeats", "1"], ".json"),
    ],
)
def test_every_command_takes_a_given_answer(
    call: Callable[..., int], out: Path, answers: list[str], command: str, arguments: list[str], ending: str
) -> None:
    assert call(command, "--answer", GIVEN, *arguments) == 0
    assert any(name.endswith(ending) for name in names(out))
    assert answers == []


def test_thoughts_can_be_left_out(
    call: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    thought = "Hm.</think> "
    assert call("attention", "--answer", thought + GIVEN, "--tokens", "answer") == 0
    of_words = {name for name in names(out) if name.startswith("word_")}
    assert of_words == {f"word_{number:03}.png" for number in range(3, 7)}  # after "Hm", "." and the mark
    assert call("attention", "--answer", "Hm</think>", "--tokens", "answer") == 2
    assert "error: the answer ended in its thoughts" in capsys.readouterr().err.lower()


def test_a_checkpoint_without_thinking_is_not_asked_to_think(
    call: Callable[..., int], out: Path, answers: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--answer", GIVEN]):
        assert call("attention", "--thinking", *more) == 2
        assert "error: This checkpoint's chat template has no thinking" in capsys.readouterr().err
    assert not out.exists()
    assert call("attention", "--no-thinking", "--answer", GIVEN) == 0


@pytest.mark.parametrize(
    ("answer", "line"),
    [
        ("a <|image_pad|> b", "error: The answer may not contain the control token <|image_pad|>."),
        ("@nowhere.txt", "error: argument --answer: nowhere.txt cannot be read: No such file or directory"),
    ],
)
def test_an_answer_that_cannot_be_read_is_refused(
    call: Callable[..., int], out: Path, answer: str, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call("attention", "--answer", answer) == 2
    assert capsys.readouterr().err.startswith(line)
    assert not out.exists()


def test_boxes_of_an_answer_are_printed_and_written(
    call: Callable[..., int], out: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The picture of 168 × 112 pixels is seen as it is: 6 × 4 visual tokens of 28 pixels."""
    said = 'Here: {"bbox_2d": [28, 0, 84, 56], "label": "cat"} {"point_2d": [5, 6]} {"bbox_2d": [1]}'
    assert call("attention", "--answer", said, "--tokens", "words") == 0
    told = capsys.readouterr()
    text, box, point = told.out.splitlines()
    assert text == said
    assert re.fullmatch(
        r"box 1 \[28, 0, 84, 56\]: cat · [\d.]+ % of the map inside \(chance 16\.7 %\), "
        r"IoU \d\.\d\d with the cells at least half as hot as the hottest",
        box,
    )
    assert re.fullmatch(r"point 2 \[5, 6\] · [\d.]+ % of the map inside \(chance 4\.17 %\)", point)
    assert "note: 1 box could not be read" in told.err
    written = json.loads((out / "boxes.json").read_text("utf-8"))
    assert written == [{"bbox_2d": [28, 0, 84, 56], "label": "cat"}, {"point_2d": [5, 6]}]
    assert call("attention", "--answer", "No box.") == 0
    assert not (out / "boxes.json").exists()
