"""Methods in the page: the room; a method is chosen; sliders and sinks."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
import pytest

import config
import page.explorer as explorer_room
from methods import METHODS
from model import ModelError
from page.explorer import read_again, told_of
from page.jobs import Job
from page.model_room import ModelRoom
from page.selection import ATTENTION
from page.sessions import Run
from page.site import Held as HeldByBrowser
from page.site import Page
from records.capture import Capture
from tests.choosing import explored
from tests.page.methods.kit import (
    ALL,
    LOCAL,
    Held,
    Outputs,
    answering,
    begun,
    changes,
    choose,
    computed,
    expect_maps,
    later,
    loaded_of,
    planted,
    request,
    visible,
)
from tests.serving import HEADS, LAYERS, noise
from utils import Stopped

pytestmark = pytest.mark.timeout(240)


# --- The room ---


def test_maps_are_computed_once_and_kept(room: ModelRoom, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    first = answering(room, run, "rollout")
    monkeypatch.setattr(explorer_room, "token_maps", None)  # from here on nothing is computed
    assert answering(room, run, "rollout") is first
    assert list(run.maps) == ["rollout"]


def test_an_answer_of_another_model_is_refused(folders: tuple[Path, Path], room: ModelRoom, run: Run) -> None:
    other = ModelRoom()
    for load in (False, True):
        if load:
            other.load(str(folders[1]))
        now = f"{folders[1]} is loaded now" if load else "no model is loaded now"
        calls: list[Callable[[], Any]] = [
            lambda: answering(other, run, "tam"),
            lambda: other.work(lambda _: pytest.fail("it was called"), Job("me", "check"), run.capture),
        ]
        for call in calls:
            with pytest.raises(ModelError) as caught:
                call()
            expected = f"This answer was given by {run.capture.model_name}, and {now}: press Generate again."
            assert str(caught.value) == expected
    assert run.maps == {}
    assert not other.busy


def test_a_stop_leaves_nothing_half(room: ModelRoom, run: Run) -> None:
    steps: list[tuple[int, int]] = []

    class Impatient(Job):
        def steps(self, done: int, count: int) -> None:
            steps.append((done, count))
            if done:
                self.stop.set()

    job = Impatient("me", "method")
    with pytest.raises(Stopped):
        read_again(room, run, "occlusion", job)
    assert 0 < steps[-1][0] < steps[-1][1]
    assert run.maps == {}
    assert not room.busy
    with pytest.raises(Stopped):  # also before it began
        read_again(room, run, "occlusion", job)
    whole = answering(room, run, "occlusion")
    np.testing.assert_array_equal(whole.maps, computed(room, run, "occlusion").maps)


# --- A method is chosen ---


def test_a_method_tells_how_far_it_is_and_is_then_shown(page: Page, run: Run, mine: str, held: Held) -> None:
    explorer = page.explorer
    steps = choose(page, mine, "occlusion")
    first, second = begun(steps, held)
    assert first[explorer.method_line] == "Reading the answer again …"
    assert visible(first[explorer.method_stop])
    assert explorer.viewer not in first
    told = later(iter([second, next(steps), next(steps)]), lambda one: explorer.method_line in one)
    assert told == {explorer.method_line: "3 of 11 passes …"}
    held.go.set()
    (*_, last) = steps
    truth = computed(page.room, run, "occlusion")
    np.testing.assert_array_equal(run.maps["occlusion"].maps, truth.maps)
    assert last[explorer.viewer] == explored(run, mine, "all", ALL, "occlusion", False)
    assert last[explorer.method_line] == told_of(METHODS["occlusion"])
    assert not visible(last[explorer.method_stop])
    assert not visible(last[explorer.no_sinks])
    assert [visible(last[group]) for group in explorer.ranges.groups] == [False]
    assert len(page.jobs) == 0

    (again,) = choose(page, mine, "occlusion")  # at once, from what is kept
    assert again[explorer.viewer] == last[explorer.viewer]
    assert held.calls == 1
    (back,) = choose(page, mine, ATTENTION)
    assert back[explorer.viewer] == explored(run, mine, "all", ALL, ATTENTION, False)
    assert visible(back[explorer.no_sinks])
    assert [visible(back[group]) for group in explorer.ranges.groups] == [True]


@pytest.mark.parametrize("way", list(LOCAL))
def test_local_heads_are_shown_at_once(way: str, page: Page, run: Run, mine: str, held: Held) -> None:
    (only,) = choose(page, mine, way)
    assert only[page.explorer.viewer] == explored(run, mine, "all", ALL, way, False)
    assert only[page.explorer.method_line] == told_of(METHODS[way])
    assert not visible(only[page.explorer.no_sinks])
    assert held.calls == 0


def test_before_an_answer_only_the_controls_change(page: Page) -> None:
    (only,) = choose(page, None, "tam")
    assert page.explorer.viewer not in only
    assert only[page.explorer.method_line] == told_of(METHODS["tam"])
    assert not visible(only[page.explorer.no_sinks])


def test_who_waits_hears_how_many_are_ahead(page: Page, mine: str) -> None:
    explorer = page.explorer
    with page.room.queue.turn():
        steps = choose(page, mine, "rollout")
        told = later(steps, lambda one: "ahead" in str(one.get(explorer.method_line)))
        assert told == {explorer.method_line: "Waiting for the model: 1 ahead of you"}
    (*_, last) = steps
    assert explorer.viewer in last


def test_stopped_by_the_person_attention_is_shown_again(page: Page, run: Run, mine: str, held: Held) -> None:
    explorer = page.explorer
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    explorer.on_stop(request("you"))  # somebody else's Stop ends nothing
    assert explorer.viewer not in next(steps)
    assert explorer.viewer not in next(steps)
    explorer.on_stop(request())
    (*_, last) = steps
    assert last[explorer.viewer] == explored(run, mine, "all", ALL, ATTENTION, False)
    assert last[explorer.method] == ATTENTION
    assert last[explorer.method_line] == "Stopped: attention is shown."
    assert not visible(last[explorer.method_stop])
    assert visible(last[explorer.no_sinks])
    assert [visible(last[group]) for group in explorer.ranges.groups] == [True]
    assert run.maps == {}
    assert not page.room.busy
    assert len(page.jobs) == 0


def test_superseded_by_another_question_nothing_is_shown(page: Page, run: Run, mine: str, held: Held) -> None:
    for ends_by_itself in (False, True):
        held.reached.clear()
        steps = choose(page, mine, "occlusion")
        begun(steps, held)
        (answering,) = page.jobs._jobs
        if ends_by_itself:  # too late to stop it
            answering.stop = threading.Event()
        with page.jobs.started("me", "answer") as newer:
            if ends_by_itself:
                held.go.set()
            rest = list(steps)
            assert all(one == gr.skip() or set(one) == {page.explorer.method_line} for one in rest)
            assert rest[-1] == gr.skip()  # Gradio shows the last one again
            assert page.jobs.stop("me", "answer")  # the newer one is left in place
            assert not newer.left_to


@pytest.mark.parametrize("newer", ["check", "grad-cam"])
def test_superseded_by_something_that_leaves_the_list_attention_is_shown_again(
    newer: Any, page: Page, run: Run, mine: str, held: Held
) -> None:
    explorer = page.explorer
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    with page.jobs.started("me", newer) as job:
        (*_, last) = steps
        assert not job.stop.is_set()
    assert last[explorer.viewer] == explored(run, mine, "all", ALL, ATTENTION, False)
    assert last[explorer.method] == ATTENTION
    assert last[explorer.method_line] == told_of(METHODS[ATTENTION])
    assert not visible(last[explorer.method_stop])
    assert visible(last[explorer.no_sinks])
    assert run.maps == {}


def test_superseded_twice_the_list_is_left_to_the_newest_method(page: Page, mine: str, held: Held) -> None:
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    with page.jobs.started("me", "check"), page.jobs.started("me", "method"):
        assert list(steps)[-1] == gr.skip()


@pytest.mark.parametrize("newer", [ATTENTION, "heads-3", "tam", "rollout"])
def test_a_method_chosen_meanwhile_is_the_one_that_stays(
    newer: str, page: Page, run: Run, mine: str, held: Held
) -> None:
    explorer = page.explorer
    if newer == "rollout":  # is kept from before
        run.maps[newer] = held.original(newer, run.capture, **loaded_of(page.room), image=run.original)
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    chosen = choose(page, mine, newer)
    first = next(chosen)  # from here on the other one shows nothing
    rest = list(steps)
    assert all(one == gr.skip() or set(one) == {explorer.method_line} for one in rest)
    assert rest[-1] == gr.skip()
    assert "occlusion" not in run.maps
    held.go.set()
    last = [first, *chosen][-1]
    assert last[explorer.viewer] == explored(run, mine, "all", ALL, newer, False)
    assert len(page.jobs) == 0


def test_one_head_alone_ends_a_reading_and_is_attention(page: Page, run: Run, mine: str, held: Held) -> None:
    explorer = page.explorer
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    shown_alone = explorer.on_alone(request(), mine, [2, 1], "max")
    expect_maps(shown_alone[explorer.viewer], run.capture, (2,), (1,), "max")
    assert (shown_alone[explorer.method], changes(shown_alone[explorer.no_sinks])["value"]) == (
        ATTENTION,
        False,
    )
    assert not visible(shown_alone[explorer.method_stop])
    assert list(steps)[-1] == gr.skip()


def test_another_visitors_answer_is_refused(page: Page, run: Run, mine: str, held: Held) -> None:
    explorer = page.explorer
    for visitor, run_id in (("you", mine), ("me", "wrong")):
        steps = choose(page, run_id, "tam", visitor)
        told = next(steps)
        assert told[explorer.method_line] == "This answer is no longer kept: press Generate again."
        assert explorer.viewer not in told
        with pytest.raises(gr.Error, match="This answer is no longer kept"):
            next(steps)
        with pytest.raises(gr.Error, match="This answer is no longer kept"):
            explorer.on_maps(request(visitor), run_id, *ALL, ATTENTION, True)
    assert (held.calls, run.maps) == (0, {})


@pytest.mark.parametrize("way", ["<b>", None, 7])
def test_a_way_that_is_none_is_one_line(way: Any, page: Page, mine: str) -> None:
    steps = choose(page, mine, way)
    told = next(steps)
    assert told[page.explorer.method_line].startswith("The method must be one of attention")
    with pytest.raises(gr.Error, match="The method must be one of"):
        next(steps)


def test_a_method_that_fails_is_told_in_one_line(
    page: Page, run: Run, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("the answer\nis odd")

    monkeypatch.setattr(explorer_room, "token_maps", fails)
    outputs: list[Outputs] = []
    with pytest.raises(gr.Error, match="the answer is odd"):
        outputs.extend(choose(page, mine, "tam"))
    assert (run.maps, len(page.jobs)) == ({}, 0)
    assert not page.room.busy


# --- Sliders and sinks ---


def test_sliders_and_the_box_for_sinks_are_answered_with_these_maps(page: Page, capture: Capture) -> None:
    run = Run(planted(capture, (13, 30)), noise(0))
    mine = page.sessions.keep("me", run)
    narrow = [1, 2, 0, 2, "max"]
    for no_sinks, removed in ((True, [13, 30]), (False, [])):
        outputs = page.explorer.on_maps(request(), mine, *narrow, ATTENTION, no_sinks)
        assert outputs == {page.explorer.viewer: explored(run, mine, "all", narrow, ATTENTION, no_sinks)}
        assert outputs[page.explorer.viewer]["removed"] == removed
    assert page.explorer.on_maps(request(), None, *narrow, ATTENTION, True) == gr.skip()
    with pytest.raises(gr.Error, match="Occlusion is not computed for this answer yet: choose it again"):
        page.explorer.on_maps(request(), mine, *narrow, "occlusion", False)


def test_a_new_answer_begins_with_attention(page: Page, run: Run, mine: str) -> None:
    explorer = page.explorer
    for outputs in (explorer.blank(), page.blank("waiting")):
        assert outputs[explorer.method] == ATTENTION
        assert outputs[explorer.method_line] == told_of(METHODS[ATTENTION])
        assert changes(outputs[explorer.no_sinks])["value"] is False
        assert visible(outputs[explorer.no_sinks])
        assert not visible(outputs[explorer.method_stop])
        assert [visible(outputs[group]) for group in explorer.ranges.groups] == [True]
    (*_, last) = choose(page, mine, "tam")
    assert last[explorer.viewer]["method"]["name"].startswith("Token activation map")
    answered = page.answered("me", run, HeldByBrowser.of([], (LAYERS, HEADS), *ALL), 1.0)
    seen = changes(answered[explorer.viewer])["value"]
    assert seen["method"]["name"] == "attention"
    expect_maps(seen, run.capture)


def test_an_answer_is_followed_by_the_method_of_config(
    page: Page, run: Run, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "METHOD", "tam")
    first, *_, last = page.explorer.on_default(request(), mine, *ALL)
    assert first == {page.explorer.method: "tam"}
    assert last[page.explorer.viewer] == explored(run, mine, "all", ALL, "tam", False)
    assert list(page.explorer.on_default(request(), None, *ALL)) == [gr.skip()]  # no answer came of it
    monkeypatch.setattr(config, "METHOD", ATTENTION)
    assert list(page.explorer.on_default(request(), mine, *ALL)) == [gr.skip()]
