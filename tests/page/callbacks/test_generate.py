"""The page's callbacks: generate, and what is kept."""

import hashlib
import logging
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import config
import records.pictures as pictures_room
from page.answering import Inquiry
from page.model_room import ModelRoom
from page.selection import ATTENTION
from page.site import Page
from records.capture import Capture
from records.store import Store
from tests.page.callbacks.kit import (
    ALL,
    NEW,
    Outputs,
    asked,
    changes,
    expect_maps,
    form,
    no_model,
    request,
)
from tests.serving import HEADS, LAYERS, PROMPT

pytestmark = pytest.mark.timeout(120)


def test_the_same_greedy_question_answers_at_once(
    page: Page, pictures: list[dict[str, str]], capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = asked(page, form(pictures[0]))[-1]
    assert "note" in first[page.answer_state]
    assert first[page.answer_state]["note"] == ""
    assert first[page.recent.mine] == [entry.id for entry in page.store.recent()]
    with no_model(page, monkeypatch):
        again = asked(page, form(pictures[0]), first[page.recent.mine])[-1]
        other = list(asked(page, form(pictures[0]), None, [1, 1, 0, 3, "max"], "you"))[-1]
        assert again[page.answer_state]["note"] == f"kept from before, by {capture.model_name}"
        seen = changes(again[page.explorer.viewer])["value"]
        assert seen["answer"]["text"] == capture.text
        expect_maps(seen, capture)
        expect_maps(changes(other[page.explorer.viewer])["value"], capture, (1,), None, "max")
        assert again[page.recent.mine] == first[page.recent.mine]  # not listed twice
        for question in (
            form(pictures[0], reuse=False),
            form(pictures[0], tokens=NEW - 1),
            form(pictures[0], temperature=0.5),
            form(pictures[1]),
        ):
            with pytest.raises(gr.Error, match="Something went wrong"):
                asked(page, question)
    assert page.store.recent()[0].tokens == NEW


@pytest.mark.parametrize(
    ("ranges", "line"),
    [
        ([2, 1, 0, 3, "mean"], "The range of layers runs backwards: from 2 to 1."),
        ([0, 2, 3, 0, "mean"], "The range of heads runs backwards: from 3 to 0."),
        ([9, 5, 0, 3, "mean"], "The range of layers runs backwards: from 9 to 5."),  # of a larger model
    ],
)
def test_sliders_that_run_backwards_are_refused_and_no_answer_is_lost_for_them(
    page: Page,
    pictures: list[dict[str, str]],
    mine: str,
    ranges: list[Any],
    line: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(gr.Error, match=f"^'?{re.escape(line)}"):
        page.explorer.on_maps(request(), mine, *ranges, ATTENTION, False)
    told = page.on_generate(request(), *form(pictures[0]), None, (LAYERS, HEADS), *ranges)
    with no_model(page, monkeypatch):
        assert next(told)[page.problem] == line
        with pytest.raises(gr.Error, match=re.escape(line)):
            next(told)


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
        assert last[page.answer_state]["note"] == ""
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
    assert changes(last[page.explorer.viewer])["value"]["answer"]["text"]
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
    assert changes(last[page.explorer.viewer])["value"]["answer"]["text"] == capture.text
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
    key = Inquiry.of(pictures[0], PROMPT, NEW, 0, 1, 0).key(first)
    assert key is not None
    work = room.work

    def changed_meanwhile(*arguments: Any) -> Any:
        room.load(str(folders[1]))
        return work(*arguments)

    room.work = changed_meanwhile  # type: ignore[assignment]
    last = asked(page, form(pictures[0]))[-1]
    shown = changes(last[page.explorer.viewer])["value"]
    assert shown["settings"]["model"] == str(folders[1])
    assert page.store.find(key) is None
    assert [entry.model for entry in page.store.recent()] == [str(folders[1])]  # listed, but answers nothing
    room.work = work  # type: ignore[method-assign]
    room.load(str(folders[0]))
    assert asked(page, form(pictures[0]))[-1][page.answer_state]["note"] == ""
    kept = page.store.find(key)
    assert kept is not None
    assert kept.capture.model_name == str(folders[0])


def test_values_of_twelve_bits_are_spread_and_said(page: Page, tmp_path: Path) -> None:
    file = tmp_path / "scan.png"
    Image.fromarray(np.linspace(0, 4095, 112 * 168).astype(np.uint16).reshape(112, 168)).save(file)
    last = asked(page, form({"path": str(file)}))[-1]
    said = "Its values run from 0 to 4,095: they are spread over all shades from black to white."
    assert last[page.answer_state]["note"] == said


def test_a_place_in_line_is_shown_and_an_answer_stopped_there_is_none(
    page: Page, pictures: list[dict[str, str]]
) -> None:
    question = form(pictures[0])
    with page.room.queue.turn():
        told = page.on_generate(request(), *question, None, (LAYERS, HEADS), *ALL)
        waiting = next(one for one in told if one[page.answer_state].get("ahead"))[page.answer_state]
        assert (waiting["state"], waiting["ahead"]) == ("waiting", 1)
        page.on_stop(request())
        last = list(told)[-1]
    assert last[page.problem] == "Stopped before the answer began."
    assert last[page.answer_state] == {"state": "empty"}
    assert not page.room.busy
    assert page.store.recent() == []


def test_a_full_line_is_one_line_of_text(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 0)
    full = "Too many people wait for the model. Try again in a minute."
    shown: list[Outputs] = []
    with page.room.queue.turn():
        told = page.on_generate(request(), *form(pictures[0]), None, (LAYERS, HEADS), *ALL)
        with pytest.raises(gr.Error, match=re.escape(full)):
            shown.extend(told)
    assert shown[-1][page.problem] == full
    assert not page.jobs.stop("me")
