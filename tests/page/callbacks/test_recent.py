"""The page's callbacks: recent answers."""

import logging
import re
import threading
from typing import Any

import gradio as gr
import numpy as np
import pytest

import viewer
from demo.bundled import bundled_example
from page.jobs import Job
from page.model_room import ModelRoom
from page.site import Page
from page.sources import opened
from records.capture import Capture
from tests.choosing import wanted
from tests.page.callbacks.kit import form, reopened
from tests.page.kit import expect_maps
from tests.page.telling import changes, request, viewed
from tests.serving import PROMPT, noise

pytestmark = pytest.mark.timeout(120)


def test_only_this_browsers_answers_are_listed_and_opened(page: Page, kept: list[str]) -> None:
    one, two = kept
    assert [entry["id"] for entry in page.recent.listed(kept)] == [two, one]
    assert [entry["id"] for entry in page.recent.listed([one])] == [one]
    for nobody in ([], None, "all", [None, 3, "../x"], ["f" * 32], {one: 1}):
        assert page.recent.listed(nobody) == []
        with pytest.raises(gr.Error, match=r"^'?This answer is not in your list\."):
            reopened(page, nobody, two)
    with pytest.raises(gr.Error, match="not in your list"):
        reopened(page, [one], two)
    with pytest.raises(gr.Error, match="not in your list"):
        reopened(page, ["../" + one], "../" + one)


def test_what_the_list_says_of_an_answer(page: Page, kept: list[str], capture: Capture) -> None:
    (entry,) = page.recent.listed(kept[:1])
    assert (entry["prompt"], entry["model"]) == (PROMPT, capture.model_name)
    assert entry["answer"] == " ".join(capture.text.split())
    assert entry["src"].startswith("data:image/png;base64,iVBOR")
    assert re.fullmatch(r"\d\d \w{3} \d{4}, \d\d:\d\d", entry["when"])


def test_an_answer_is_reopened_without_a_model(page: Page, kept: list[str], capture: Capture) -> None:
    empty = Page(ModelRoom(), "demo", store=page.store)
    shown = reopened(empty, kept, kept[0])
    seen = viewed(empty, shown)
    expect_maps(seen["value"], capture)
    assert seen["pictures"]["list"][0]["url"] == viewer.pictures_payload(noise(0))[0]["url"]
    assert seen["value"]["facts"]["notes"] == [f"this answer is kept from before, by {capture.model_name}"]
    assert shown[empty.prompt] == PROMPT
    source = shown[empty.sources.image]
    assert source == seen["value"]["facts"]["source"]
    assert np.array_equal(np.asarray(opened(source)[0]), np.asarray(noise(0)))  # it can be asked about again
    assert shown[empty.recent.mine][0] == kept[0]
    run_id = shown[empty.run_id]
    (maps,) = empty.explorer.on_maps(request(), run_id, None, "1", wanted([1], [0]))
    expect_maps(viewed(empty, maps)["value"], capture, (1,), (0,))
    question: list[Any] = [run_id, "word", "1", "", "answer", "", "auto", "grad-cam", 1, 0, 0]
    told = empty.gradcam.on_run(request(), *question)
    with pytest.raises(gr.Error, match=r"and no model is loaded now: ask again"):
        list(told)


def test_an_answer_that_is_reopened_is_not_followed_by_the_one_being_written(
    page: Page, kept: list[str], pictures: list[dict[str, str]]
) -> None:
    with page.room.queue.turn():
        told = page.on_generate(request(), *form(pictures[1], reuse=False), None)
        next(told)
        next(told)
        shown = reopened(page, kept, kept[0])
        *_, last = told
    assert last.keys() == {page.generate, page.stop, page.explorer.viewer}
    assert viewed(page, last) == {
        "progress": {"phase": "back"}
    }  # of which a late word may have told otherwise
    assert changes(last[page.generate])["visible"] is True
    assert changes(last[page.stop])["visible"] is False
    assert page.sessions.run("me", shown[page.run_id]).kept == kept[0]
    assert len(page.jobs) == 0


def test_damaged_and_removed_answers_are_one_line(
    page: Page, kept: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    one, two = kept
    (page.store.folder / one / "capture.json").write_text("{")
    with caplog.at_level(logging.WARNING):
        assert [entry["id"] for entry in page.recent.listed(kept)] == [two]
    assert "is damaged and was skipped" in caplog.text
    with pytest.raises(gr.Error, match="is damaged and was skipped") as damaged:
        reopened(page, kept, one)
    assert page.store.remove(two)
    with pytest.raises(gr.Error, match=r"This answer is no longer kept: ask again\.") as removed:
        reopened(page, kept, two)
    for caught in (damaged, removed):
        assert len(str(caught.value).splitlines()) == 1
        assert str(page.store.folder) not in str(caught.value)


def test_an_answer_that_is_cut_off_by_a_reload_comes_back(
    page: Page, pictures: list[dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    writing, go = threading.Event(), threading.Event()
    writes = Job.writes

    def held(job: Job, text: str, tokens: int) -> None:
        writes(job, text, tokens)
        if tokens == 3:
            writing.set()
            go.wait(30)

    monkeypatch.setattr(Job, "writes", held)
    told = page.on_generate(request(), *form(pictures[0], reuse=False), None)
    ticket = next(told)[page.recent.begun]
    next(told)
    assert writing.wait(30)
    page.on_leave(request())
    go.set()
    shown = page.on_open(request("again"), [], ticket)
    value = viewed(page, shown)["value"]
    assert len(value["answer"]["tokens"]) == 3
    assert "The model was stopped after" in viewed(page, shown)["notice"]["text"]
    assert np.array_equal(np.asarray(opened(shown[page.sources.image])[0]), np.asarray(noise(0)))
    assert shown[page.prompt] == PROMPT
    assert shown[page.recent.begun] is None
    assert list(told)[-1] == gr.skip()
    assert not page.room.busy


@pytest.mark.parametrize("begun", [None, "", "../x", "f" * 31, 7, ["f" * 32]])
def test_where_nothing_was_cut_off_there_is_the_example(page: Page, begun: Any) -> None:
    shown = page.on_open(request(), None, begun)
    value = viewed(page, shown)["value"]
    assert value["answer"]["text"].startswith("A blue heart")
    assert value["pick"] == "2"
    assert value["checks"][0]["verdict"] == "Holds up"
    assert value["answer"]["without"] is not None
    assert shown[page.sources.image]["example"] == 0


def test_the_examples_picture_is_encoded_once_for_all_visitors(page: Page) -> None:
    one, two = (viewed(page, page.on_open(request(who), None, None))["pictures"] for who in ("one", "two"))
    assert one["list"] is two["list"]
    assert one["run"] != two["run"]
    kept = bundled_example()
    assert kept is not None
    assert one == {"list": viewer.pictures_payload(kept.image), "run": one["run"]}


def test_the_example_needs_no_model(page: Page) -> None:
    empty = Page(ModelRoom(), "demo", store=page.store)
    shown = empty.on_open(request(), None, None)
    assert viewed(empty, shown)["value"]["method"]["id"] == "gradient-attention"
