"""The shell: questions that are asked after the answer."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import commands.run.answers
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from cli import main
from methods import token_maps
from records.capture import Capture
from records.pictures import open_image
from records.store import Store
from records.turns import Turn
from records.videos import open_video
from tests.clips import write_clip
from tests.commands.kit import AGAIN, PROMPT, TOKENS, arrays, names

THEN, LAST = "And what else?", "Why?"
WRITTEN = {"answer.txt", "maps.npz", "original.png", "overview.png"}


@pytest.fixture
def by_hand(loaded: tuple[Any, Any], picture: Path) -> list[Capture]:
    """The same three questions, each asked in Python after the answer before."""
    extractor = AttentionExtractor(*loaded)
    turns = [extractor.generate(open_image(picture), PROMPT, max_new_tokens=TOKENS)]
    for prompt in (THEN, LAST):
        turns.append(extractor.generate([], prompt, max_new_tokens=TOKENS, history=turns[-1:]))
    return turns


def test_each_question_is_asked_after_the_answer_before(
    run: Callable[..., int], out: Path, by_hand: list[Capture], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--tokens", "1,4", "--layers", "0,2", "--then", THEN, "--then", LAST) == 0
    told, drawn = capsys.readouterr(), {"token_001.png", "token_004.png"}
    said = [f"> {one.prompt}\n{one.text}\n" for one in by_hand]
    assert told.out == "\n".join(said)
    assert names(out) == WRITTEN | drawn | {"turn_2", "turn_3"}
    for folder, capture in zip((out, out / "turn_2", out / "turn_3"), by_hand, strict=True):
        assert names(folder) - {"turn_2", "turn_3"} == WRITTEN | drawn
        assert (folder / "answer.txt").read_text("utf-8") == capture.text + "\n"
        made, processor = arrays(folder), AttentionProcessor(capture)
        for index, token in enumerate((1, 4)):
            expected = processor.get_attention_heatmap_for_token(token, [0, 2])
            np.testing.assert_allclose(made["maps"][index], expected, rtol=1e-5)
        assert str(made["prompt"]) == capture.prompt
    alone = AttentionProcessor(by_hand[0]).get_attention_heatmap_for_token(1, [0, 2])
    assert np.abs(arrays(out / "turn_2")["maps"][0] - alone).max() > 1e-5  # another question's
    assert told.err.splitlines()[-1] == f"Wrote {3 * (len(WRITTEN) + 2)} files to {out}"


def test_each_turn_is_kept_with_the_one_before_and_answers_at_once(
    run: Callable[..., int],
    share: Callable[..., int],
    out: Path,
    answers: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--then", THEN, "--then", LAST]
    assert run("--tokens", "0", *given) == 0
    assert answers == [PROMPT, THEN, LAST]
    kept = {entry.prompt: Store().open(entry.id) for entry in Store().recent()}
    assert "parent" not in kept[PROMPT].capture.settings
    assert kept[THEN].capture.settings["parent"] == kept[PROMPT].id
    assert kept[LAST].capture.settings["parent"] == kept[THEN].id
    first = kept[PROMPT].capture
    assert kept[THEN].capture.history == (Turn(PROMPT, ("image",), first.token_ids, first.text),)
    capsys.readouterr()
    assert share("--format", "npz", *given) == 0
    assert capsys.readouterr().err.splitlines().count(AGAIN) == 3
    assert len(answers) == 3
    assert run("--tokens", "0", "--then", LAST) == 0
    assert answers[3:] == [LAST]  # the same words after another answer are another question


def test_without_a_cache_nothing_is_kept_and_no_parent_is_written(
    share: Callable[..., int], out: Path
) -> None:
    assert share("--format", "npz", "--no-cache", "--then", THEN) == 0
    assert Store().recent() == []
    (made,) = (out / "turn_2").iterdir()
    with np.load(made) as file:
        assert "parent" not in json.loads(str(file["settings"]))["generation"]


def test_export_has_a_folder_for_each_later_answer(
    share: Callable[..., int], out: Path, by_hand: list[Capture], capsys: pytest.CaptureFixture[str]
) -> None:
    assert share("--format", "npz,png", "--tokens", "2", "--then", THEN) == 0
    files = sorted(file.relative_to(out).as_posix() for file in out.rglob("*.*"))
    assert [file.partition("/")[0] for file in files[2:]] == ["turn_2", "turn_2"]
    assert capsys.readouterr().err.splitlines()[-1] == f"Wrote {', '.join(files)} to {out}"
    for folder, capture in zip((out, out / "turn_2"), by_hand, strict=False):
        with np.load(next(folder.glob("*.npz"))) as made:
            expected = capture.attention[2].float().mean((0, 1)).numpy()
            np.testing.assert_allclose(made["maps"][0].reshape(-1), expected, rtol=1e-5)


def test_a_method_that_reads_again_reads_the_conversation(
    run: Callable[..., int], out: Path, by_hand: list[Capture], loaded: tuple[Any, Any]
) -> None:
    assert run("--method", "tam", "--tokens", "3", "--then", THEN) == 0
    model, processor = loaded
    given: Any = {"model": model, "processor": processor}
    for folder, capture in zip((out, out / "turn_2"), by_hand, strict=False):
        found = token_maps("tam", capture, image=list(capture.pictures), **given)
        np.testing.assert_allclose(arrays(folder)["maps"][0], found.token_map(3), rtol=1e-4, atol=1e-6)


def test_a_clip_is_shown_in_every_turn(
    checkpoint: Path, loaded: Any, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", 20, size=(56, 84))
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)
    given = ["--model", str(checkpoint), "--max-new-tokens", "2", "--format", "npz", "--output", str(out)]
    assert main(["export", str(clip), "--prompt", "What moves?", "--then", "Where?", *given]) == 0
    extractor = AttentionExtractor(*loaded)
    first = extractor.generate(open_video(clip), "What moves?", max_new_tokens=2)
    second = extractor.generate([], "Where?", max_new_tokens=2, history=[first])
    for folder, capture in ((out, first), (out / "turn_2", second)):
        with np.load(next(folder.glob("*.npz"))) as made:
            assert made["maps_1"].shape == (2, *capture.visuals[0].grid)
            expected = capture.attention.float().mean((1, 2)).numpy()
            np.testing.assert_allclose(made["maps_1"].reshape(2, -1), expected, rtol=1e-4, atol=1e-7)


def test_an_empty_answer_ends_the_conversation(
    run: Callable[..., int],
    out: Path,
    by_hand: list[Capture],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    second = by_hand[1]
    nothing = replace(
        second,
        token_ids=(),
        tokens=(),
        text="",
        token_spans=(),
        attention=second.attention[:0],
        text_attention=second.text_attention[:0, :, :-TOKENS],
        shares=second.shares[:0],
        logprobs=second.logprobs[:0],
    )
    left = iter([by_hand[0], nothing])
    monkeypatch.setattr(AttentionExtractor, "generate", lambda *_, **__: next(left))
    assert run("--tokens", "1", "--then", THEN, "--then", LAST) == 0
    line = "The answer of turn 2 is empty: nothing of it is drawn, and nothing asked after it."
    assert line in capsys.readouterr().err.splitlines()
    assert names(out) == WRITTEN | {"token_001.png"}


def test_what_an_earlier_run_wrote_of_later_turns_goes_with_it(run: Callable[..., int], out: Path) -> None:
    assert run("--tokens", "1", "--then", THEN, "--then", LAST) == 0
    (out / "turn_3" / "mine.txt").write_text("kept")
    assert run("--tokens", "1") == 0
    assert names(out) == WRITTEN | {"token_001.png", "turn_3"}
    assert names(out / "turn_3") == {"mine.txt"}


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--then", " "], "argument --then: the prompt is empty"),
        (["--then", "x" * 5000], "argument --then: 5,000 characters; at most 4,000 are allowed"),
        (["--then", "And <image>?"], "error: --then says <image> and brings none: say in words which of"),
    ],
)
@pytest.mark.parametrize("command", ["run", "share"])
def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    command: str,
    given: list[str],
    line: str,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    request: pytest.FixtureRequest,
) -> None:
    call = request.getfixturevalue(command)
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: pytest.fail("it was loaded"))
    assert call(*given) == 2
    assert line in capsys.readouterr().err.splitlines()[-1]
    assert names(out) == set()


def test_a_closer_look_is_at_one_answer(run: Callable[..., int], capsys: pytest.CaptureFixture[str]) -> None:
    for part in (["--closer"], ["--crop", "0,0,56,56"]):
        assert run("--then", THEN, *part) == 2
        line = "error: --closer and --crop look closer at one answer: leave out --then"
        assert capsys.readouterr().err.splitlines()[-1] == line


def test_a_token_that_a_later_answer_lacks_is_told_with_its_turn(
    run: Callable[..., int], out: Path, by_hand: list[Capture], monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    first, second = by_hand[:2]
    shorter = replace(
        second,
        token_ids=second.token_ids[:2],
        tokens=second.tokens[:2],
        token_spans=second.token_spans[:2],
        attention=second.attention[:2],
        text_attention=second.text_attention[:2, :, : 2 - TOKENS],
        shares=second.shares[:2],
        logprobs=second.logprobs[:2],
    )
    left = iter([first, shorter])
    monkeypatch.setattr(AttentionExtractor, "generate", lambda *_, **__: next(left))
    assert run("--tokens", "4", "--then", THEN) == 2
    line = "error: turn 2: there is no token 4: the answer has 2 tokens, 0 to 1"
    assert capsys.readouterr().err.splitlines()[-1] == line
    assert names(out) == set()


def test_nothing_is_asked_after_a_given_answer(picture: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for command in ("attention", "export"):
        given = [command, str(picture), "--prompt", PROMPT, "--answer", "A boat.", "--then", THEN]
        assert main(given) == 2
        line = "error: --then does not belong to --answer, which asks the model nothing\n"
        assert capsys.readouterr().err == line


def test_a_kept_answer_by_its_id_is_not_asked_on(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "last", "--then", THEN]) == 2
    assert "--then belongs to a picture file with --prompt" in capsys.readouterr().err
