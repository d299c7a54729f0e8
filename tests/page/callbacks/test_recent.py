"""The page's callbacks: recent answers."""

import logging
import re
from typing import Any

import gradio as gr
import numpy as np
import pytest

import viewer
from page.model_room import ModelRoom
from page.selection import ATTENTION
from page.site import Page
from records.capture import Capture
from tests.page.callbacks.kit import ALL, changes, expect_maps, form, reopened, request
from tests.serving import HEADS, LAYERS, PROMPT, noise

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
    seen = changes(shown[empty.explorer.viewer])
    expect_maps(seen["value"], capture)
    assert seen["picture"]["url"] == viewer.picture_payload(noise(0))["url"]
    assert shown[empty.answer_state]["state"] == "done"
    assert shown[empty.prompt] == PROMPT
    assert np.array_equal(np.asarray(changes(shown[empty.image])["value"]), np.asarray(noise(0)))
    assert shown[empty.recent.mine][0] == kept[0]
    run_id = shown[empty.run_id]
    maps = empty.explorer.on_maps(request(), run_id, 1, 1, 0, 0, "mean", ATTENTION, False)
    expect_maps(maps[empty.explorer.viewer], capture, (1,), (0,))
    question: list[Any] = [run_id, "word", "1", "", "answer", "", "auto", "grad-cam", 1, 0, 0]
    told = empty.gradcam.on_run(request(), *question)
    with pytest.raises(gr.Error, match=r"and no model is loaded now: press Generate again"):
        list(told)


def test_an_answer_that_is_reopened_is_not_followed_by_the_one_being_written(
    page: Page, kept: list[str], pictures: list[dict[str, str]]
) -> None:
    with page.room.queue.turn():
        told = page.on_generate(request(), *form(pictures[1], reuse=False), None, (LAYERS, HEADS), *ALL)
        next(told)
        next(told)
        shown = reopened(page, kept, kept[0])
        *_, last = told
    assert last == gr.skip()
    assert page.sessions.run("me", shown[page.run_id]).kept == kept[0]
    assert len(page.jobs) == 0


def test_an_answer_of_another_size_of_model_resets_the_sliders(page: Page, kept: list[str]) -> None:
    shown = page.on_reopen(request(), kept[0], kept, (36, 16), 30, 35, 9, 15, "max")
    ranges = page.ranges
    ends = [changes(shown[one]) for one in ranges.all[:4]]
    assert [end["value"] for end in ends] == [0, LAYERS - 1, 0, HEADS - 1]
    settings = changes(shown[page.explorer.viewer])["value"]["settings"]
    assert (settings["layers"], settings["heads"]) == ([0, 1, 2], [0, 1, 2, 3])
    assert settings["aggregation"] == "max"


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
