"""The shell: check."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attention_extractor import AttentionExtractor
from commands.run.check import tokens_meant
from commands.terminal import UsageError, printable
from evaluation.removal import check_map
from evaluation.without_picture import without_image
from methods import token_maps
from records.capture import Capture
from records.pictures import open_image
from tests.commands import conftest
from tests.commands.kit import (
    AGAIN,
    CHECK_REFUSALS,
    left_behind,
    names,
    pixels,
)


def test_a_check_writes_and_says_what_the_same_calls_in_python_do(
    check: Callable[..., int],
    out: Path,
    picture: Path,
    loaded: tuple[Any, Any],
    reference: Capture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = ["--target", "2-3", "--method", "rollout", "--layers", "1-2", "--patches", "2,5"]
    assert check(*arguments, "--repeats", "3", "--seed", "4") == 0
    told = capsys.readouterr()
    assert names(out) == {"map.png", "curve.png", "curve.csv", "words.md", "check.json", "answer.txt"}
    image = open_image(picture)
    given: dict[str, Any] = {"model": loaded[0], "processor": loaded[1], "image": image, "capture": reference}
    found = token_maps("rollout", **given, tokens=(2, 3), layers=[1, 2])
    expected = check_map(
        tokens=(2, 3), heat=found.token_map((2, 3)), patches=[2, 5], repeats=3, seed=4, **given
    )
    known = json.loads((out / "check.json").read_text("utf-8"))
    assert known["map"] == expected.as_dict()
    assert (known["method"], known["settings"]["layers"]) == ("rollout", [1, 2])
    assert (out / "curve.csv").read_text() == expected.csv_text()
    on_picture = without_image(**given)
    assert known["with_and_without_picture"] == on_picture.as_dict()
    assert (out / "words.md").read_text("utf-8") == on_picture.table() + "\n"
    said = told.out.splitlines()
    assert {printable(expected.sentence(count)) for count in (2, 5)} <= set(said)
    assert printable(on_picture.sentence((2, 3), expected.text)) in said
    assert pixels(out / "map.png").std() > 0


def test_a_target_can_be_a_word_that_the_answer_says_once() -> None:
    words = ["The", "red", "cup", ",", "the", "blue"]
    capture = Capture.__new__(Capture)  # a stand-in whose tokens are its words
    starts = [sum(len(word) + 1 for word in words[:place]) for place in range(len(words))]
    spans = tuple((start, start + len(word)) for start, word in zip(starts, words, strict=True))
    for name, value in {
        "text": " ".join(words),
        "tokens": tuple(words),
        "token_spans": spans,
        "token_ids": tuple(range(6)),
    }.items():
        object.__setattr__(capture, name, value)
    assert tokens_meant("CUP", capture) == (2,)
    assert tokens_meant("word:5", capture) == (5,)
    assert tokens_meant("1-2,5", capture) == (1, 2, 5)
    with pytest.raises(UsageError, match="says 'the' 2 times; name one: word:0 or word:4"):
        tokens_meant("the", capture)
    with pytest.raises(UsageError, match="does not say 'contrast:a/b'; its words are 0 The, 1 red"):
        tokens_meant("contrast:a/b", capture)


@pytest.mark.parametrize(("arguments", "message"), CHECK_REFUSALS, ids=lambda value: str(value)[:40])
def test_a_check_that_cannot_be_made_is_one_line_and_leaves_nothing(
    check: Callable[..., int],
    tmp_path: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = left_behind(tmp_path)
    assert check(*arguments) == 2
    line = capsys.readouterr().err.splitlines()[-1].split("\r")[-1]
    assert line.startswith("error: ")
    assert message in line
    assert left_behind(tmp_path) == before


def test_a_check_takes_the_answer_that_is_kept(
    check: Callable[..., int],
    run: Callable[..., int],
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("--tokens", "0") == 0
    real: Any = conftest.main
    monkeypatch.setattr(AttentionExtractor, "generate", None)
    arguments = ["--target", "1", "--model", str(checkpoint), "--repeats", "1", "--patches", "1"]
    without_no_cache = [*arguments]
    monkeypatch.setattr(conftest, "main", lambda argv: real([one for one in argv if one != "--no-cache"]))
    assert check(*without_no_cache) == 0
    assert AGAIN in capsys.readouterr().err
