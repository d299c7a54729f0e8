"""The page's callbacks: generate, and what is kept."""

import hashlib
import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import config
import records.pictures as pictures_room
from page.answering import Inquiry
from page.model_room import ModelRoom
from page.site import Page
from records.capture import Capture
from records.store import Store
from records.token_maps import TokenMaps
from tests.page.callbacks.kit import asked, form, no_model
from tests.page.kit import NEW, expect_maps, expect_packed, memory_full
from tests.page.telling import Outputs, changes, notice, refused, request, viewed
from tests.records.kit import map_check
from tests.serving import PROMPT, uploads

pytestmark = pytest.mark.timeout(120)


def said(page: Page, outputs: Outputs) -> dict[str, Any]:
    """What is said of how an answer came."""
    facts: dict[str, Any] = viewed(page, outputs)["value"]["facts"]
    return facts


def expect_unanswered(page: Page, outputs: Outputs, line: str) -> None:
    """Expect the reason, Ask instead of Stop, and nothing else: what was there before stays."""
    assert outputs.keys() == {page.explorer.viewer, page.generate, page.stop}
    assert viewed(page, outputs) == {"progress": {"phase": "back"}, "work": None, "notice": notice(line)}
    assert changes(outputs[page.generate])["visible"] is True
    assert (changes(outputs[page.stop])["visible"], changes(outputs[page.stop])["interactive"]) == (
        False,
        False,
    )


def test_the_same_greedy_question_answers_at_once(
    page: Page, pictures: list[dict[str, str]], capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    assert said(page, first)["notes"] == []
    assert first[page.recent.mine] == [entry.id for entry in page.store.recent()]
    with no_model(page, monkeypatch):
        again = asked(page, form(pictures[0]), first[page.recent.mine])[-1]
        other = asked(page, form(pictures[0]), None, "you")[-1]
        assert said(page, again)["notes"] == [f"this answer is kept from before, by {capture.model_name}"]
        for shown in (again, other):
            seen = viewed(page, shown)["value"]
            assert seen["answer"]["text"] == capture.text
            expect_maps(seen, capture)
        assert again[page.recent.mine] == first[page.recent.mine]  # not listed twice
        for question in (
            form(pictures[0], reuse=False),
            form(pictures[0], tokens=NEW - 1),
            form(pictures[0], temperature=0.5, generation="own"),
            form(pictures[0], generation="greedy"),
            form(pictures[0], given="A given answer."),
            form(pictures[1]),
        ):
            _, line = refused(page.on_generate(request(), *question, None))
            assert line.startswith("Something went wrong")
    assert page.store.recent()[0].tokens == NEW


def test_values_of_ones_own_count_where_they_are_chosen(page: Page, pictures: list[dict[str, str]]) -> None:
    """The menu keeps them while another way is chosen, and does not show them."""
    used = []
    for generation in ("checkpoint", "greedy", "own"):
        shown = asked(page, form(pictures[0], temperature=1.5, generation=generation, reuse=False))[-1]
        used.append(page.sessions.run("me", shown[page.run_id]).capture.settings)
    assert [settings["generation"] for settings in used] == ["checkpoint", "greedy", "own"]
    assert [settings["temperature"] for settings in used] == [1e-6, 0, 1.5]  # the first is published


def test_a_given_answer_is_explained(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = "It was written elsewhere."
    shown = asked(page, form(pictures[0], given=given))[-1]
    run = page.sessions.run("me", shown[page.run_id])
    assert (run.capture.text, run.capture.settings["generation"]) == (given, "given")
    expect_maps(viewed(page, shown)["value"], run.capture)
    assert said(page, shown)["notes"] == ["this answer was given, not written by the model"]
    with no_model(page, monkeypatch):  # it is kept like any other
        again = asked(page, form(pictures[0], given=given))[-1]
        assert viewed(page, again)["value"]["answer"]["text"] == given


@pytest.mark.parametrize(
    ("given", "line"),
    [
        ("  ", "The answer to explain is empty."),
        (7, "The answer to explain is empty."),
        ("x" * 20_001, "The answer has 20,001 characters; at most 20,000 are allowed."),
        ("a <|image_pad|>", "The answer may not contain the control token <|image_pad|>."),
    ],
)
def test_a_given_answer_that_cannot_be_read_is_refused(
    page: Page, pictures: list[dict[str, str]], mine: str, given: Any, line: str
) -> None:
    outputs, reason = refused(page.on_generate(request(), *form(pictures[0], given=given), None))
    assert reason == line
    expect_unanswered(page, outputs[-1], line)
    assert page.sessions.run("me", mine).capture.token_ids


@pytest.mark.parametrize(
    ("chosen", "prompt", "line"),
    [
        (None, PROMPT, "Choose a picture first."),
        ({"example": 99}, PROMPT, "Choose a picture first."),
        ({"path": "/etc/passwd"}, PROMPT, "This picture is no longer here: choose it again."),
        (0, "  ", "Type a question first."),
        (0, None, "Type a question first."),
        (0, "x" * 5000, "The question has 5,000 characters; at most 4,000 are allowed."),
    ],
)
def test_a_refused_question_leaves_the_answer_that_is_there(
    page: Page,
    pictures: list[dict[str, str]],
    mine: str,
    chosen: Any,
    prompt: Any,
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    question = form(pictures[0] if chosen == 0 else chosen)
    question[1] = prompt
    with no_model(page, monkeypatch):
        (only,), reason = refused(page.on_generate(request(), *question, None))
    assert reason == line
    expect_unanswered(page, only, line)
    assert page.sessions.run("me", mine).capture.token_ids


def test_a_question_that_fails_leaves_the_answer_that_is_there(
    page: Page, pictures: list[dict[str, str]], mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise ValueError("the picture\nis odd")

    monkeypatch.setattr(page.room, "work", broken)
    outputs, reason = refused(page.on_generate(request(), *form(pictures[0]), None))
    assert reason == "the picture is odd"
    expect_unanswered(page, outputs[-1], reason)
    assert page.sessions.run("me", mine).capture.token_ids
    assert len(page.jobs) == 0


def test_memory_that_runs_out_in_the_middle_of_an_answer_leaves_the_one_that_is_there(
    page: Page, pictures: list[dict[str, str]], mine: str, capture: Capture
) -> None:
    with memory_full(page.room, at=3):
        outputs, reason = refused(page.on_generate(request(), *form(pictures[0]), None))
    assert reason == "There is not enough memory. A smaller picture or fewer new tokens need less."
    expect_unanswered(page, outputs[-1], reason)
    assert page.sessions.run("me", mine).capture.token_ids
    assert (len(page.jobs), page.room.busy, page.store.recent()) == (0, False, [])
    assert viewed(page, asked(page, form(pictures[0]))[-1])["value"]["answer"]["text"] == capture.text


def test_a_reused_answer_whose_kept_maps_are_partial_begins_with_attention(
    page: Page, pictures: list[dict[str, str]], capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "METHOD", "tam")
    asked(page, form(pictures[0]))
    run = next(iter(page.sessions._runs.values()))
    values = np.random.default_rng(1).random((NEW, 5, 8), np.float32)
    for tokens, method in (((1, 2), "attention"), ((0, 3, 4, 5), "tam")):
        page.answering.remember(run, maps=TokenMaps("tam", tokens, values[list(tokens)]))
        seen = viewed(page, asked(page, form(pictures[0]))[-1])["value"]
        assert seen["method"]["id"] == method
        assert seen["answer"]["have"] is None
    expect_packed(seen["answer"]["maps"], values)
    assert seen["answer"]["text"] == capture.text


def test_an_answer_opens_with_the_word_that_was_tested_last(
    page: Page, pictures: list[dict[str, str]]
) -> None:
    asked(page, form(pictures[0]))
    run = next(iter(page.sessions._runs.values()))
    for tokens in ((0,), (2, 3)):
        page.answering.remember(run, check=map_check(*tokens, patches=40))
    seen = viewed(page, asked(page, form(pictures[0]))[-1])["value"]
    assert seen["pick"] == "2-3"
    assert [check["tokens"] for check in seen["checks"]] == [[0], [2, 3]]


def test_what_is_said_of_an_answer(page: Page, pictures: list[dict[str, str]], capture: Capture) -> None:
    *_, last = asked(page, form(pictures[0], reuse=False))
    facts = said(page, last)
    assert (facts["source"], facts["stopped"], facts["notes"]) == (pictures[0], capture.stopped, [])
    assert facts["seconds"] > 0
    assert changes(last[page.generate])["visible"] is True
    assert changes(last[page.stop])["visible"] is False


def test_without_the_store_the_model_answers_again_and_the_list_has_it_once(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    work = page.room.work

    def counted(*arguments: Any) -> Any:
        calls.append("work")
        return work(*arguments)

    monkeypatch.setattr(page.room, "work", counted)
    for count in (1, 2):
        last = asked(page, form(pictures[0], reuse=False))[-1]
        assert said(page, last)["notes"] == []
        assert len(calls) == count
    assert len(page.store.recent()) == 1


@pytest.mark.parametrize("reuse", [True, False])
def test_on_the_way_to_one_answer_the_picture_is_decoded_once_and_hashed_once(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch, reuse: bool
) -> None:
    calls: list[str] = []
    decoded, sha256 = pictures_room._decoded, hashlib.sha256

    def decoding(file: Any) -> Image.Image:
        calls.append("decoded")
        return decoded(file)

    def hashing(data: bytes) -> Any:
        calls.append("hashed")
        return sha256(data)

    monkeypatch.setattr(pictures_room, "_decoded", decoding)
    monkeypatch.setattr(pictures_room, "hashlib", SimpleNamespace(sha256=hashing))
    last = asked(page, form(pictures[0], reuse=reuse))[-1]
    assert viewed(page, last)["value"]["answer"]["text"]
    assert len(page.store.recent()) == 1
    assert calls == ["decoded", "hashed"]


def test_a_full_disk_does_not_lose_the_answer(
    page: Page,
    pictures: list[dict[str, str]],
    capture: Capture,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(page.store, "save", full)
    with caplog.at_level(logging.WARNING):
        last = asked(page, form(pictures[0]), ["0" * 32])[-1]
    assert viewed(page, last)["value"]["answer"]["text"] == capture.text
    assert page.recent.mine not in last  # the browser's list stays as it is
    (line,) = caplog.messages
    assert line.startswith("the answer could not be kept in ")
    assert "\n" not in line


def test_another_models_answer_is_never_kept_under_the_first_ones_question(
    folders: tuple[Path, Path], pictures: list[dict[str, str]], tmp_path: Path
) -> None:
    room = ModelRoom()
    first = room.load(str(folders[0]))
    page = Page(room, str(folders[0]), store=Store(tmp_path / "cache"))
    key = Inquiry.of(pictures[0], PROMPT, NEW, None, None, 0).key(first)
    assert key is not None
    work = room.work

    def changed_meanwhile(*arguments: Any) -> Any:
        room.load(str(folders[1]))
        return work(*arguments)

    room.work = changed_meanwhile  # type: ignore[assignment]
    last = asked(page, form(pictures[0]))[-1]
    shown = viewed(page, last)["value"]
    assert shown["settings"]["model"] == str(folders[1])
    assert page.store.find(key) is None
    assert [entry.model for entry in page.store.recent()] == [str(folders[1])]  # listed, but answers nothing
    room.work = work  # type: ignore[method-assign]
    room.load(str(folders[0]))
    assert said(page, asked(page, form(pictures[0]))[-1])["notes"] == []
    kept = page.store.find(key)
    assert kept is not None
    assert kept.capture.model_name == str(folders[0])


def test_values_of_twelve_bits_are_spread_and_said(page: Page) -> None:
    file = uploads() / "scan.png"
    Image.fromarray(np.linspace(0, 4095, 112 * 168).astype(np.uint16).reshape(112, 168)).save(file)
    last = asked(page, form({"path": str(file)}))[-1]
    line = "Its values run from 0 to 4,095: they are spread over all shades from black to white."
    assert said(page, last)["notes"] == [line]


def test_a_place_in_line_is_shown_and_an_answer_stopped_there_is_none(
    page: Page, pictures: list[dict[str, str]]
) -> None:
    question = form(pictures[0])
    with page.room.queue.turn():
        told = page.on_generate(request(), *question, None)
        progress = (viewed(page, one).get("progress") or {} for one in told)
        waiting = next(one for one in progress if one.get("ahead"))
        assert (waiting["phase"], waiting["ahead"]) == ("waiting", 1)
        page.on_stop(request("you"))  # somebody else's Stop ends nothing
        assert next(told) is not None
        page.on_stop(request())
        last = list(told)[-1]
    expect_unanswered(page, last, "Stopped before the answer began.")
    assert not page.room.busy
    assert page.store.recent() == []


def test_a_full_line_is_one_line_of_text(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 0)
    full = "Too many people wait for the model. Try again in a minute."
    with page.room.queue.turn():
        shown, line = refused(page.on_generate(request(), *form(pictures[0]), None))
    assert line == full
    expect_unanswered(page, shown[-1], full)
    assert not page.jobs.stop("me")
