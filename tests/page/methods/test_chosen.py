"""Methods in the page: one is chosen; layers, heads and sinks."""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import pytest

import config
import page.reading_again as reading_room
from methods import METHODS
from page.reading_again import Work
from page.selection import ATTENTION
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from tests.choosing import explored, wanted
from tests.page.kit import ALL, expect_maps, expect_packed, loaded_of
from tests.page.methods.kit import LOCAL, Held, begun, choose, computed, planted
from tests.page.telling import Outputs, notice, refused, request, viewed
from tests.serving import noise
from viewer.methods import best_method

pytestmark = pytest.mark.timeout(240)
GONE = "This answer is no longer kept: ask again."


def expect_shown(
    page: Page, outputs: Outputs, run: Run, mine: str, controls: dict[str, Any], asked: Any = None
) -> None:
    """Expect these maps, no word of work or errors any more, and that what was asked for is done."""
    expected = {
        "value": explored(run, mine, controls),
        "work": None,
        "notice": None,
        "ended": asked or controls,
    }
    assert outputs.keys() == {page.explorer.viewer}
    assert viewed(page, outputs) == expected


def expect_work_only(page: Page, steps: list[Outputs]) -> None:
    """Expect what tells how far it is, and no map."""
    assert all(one == gr.skip() or viewed(page, one).keys() == {"work", "notice"} for one in steps)


# --- A method is chosen ---


def test_a_method_tells_how_far_it_is_and_is_then_shown(page: Page, run: Run, mine: str, held: Held) -> None:
    steps = choose(page, mine, "occlusion")
    first, *_ = begun(steps, held)
    work = viewed(page, first)["work"]
    assert work == {
        "part": "method",
        "title": "Causal map",
        "short": "Causal",
        "key": None,
        "ahead": 0,
        "done": 0,
        "count": 0,
        "seconds": 0.0,
    }
    assert viewed(page, first)["notice"] is None  # what was told before is over
    told = next(one for one in steps if viewed(page, one).get("work", {}).get("count"))
    assert {**viewed(page, told)["work"], "seconds": 0} == {**work, "done": 3, "count": 11, "seconds": 0}
    held.go.set()
    (*_, last) = steps
    truth = computed(page.room, run, "occlusion")
    np.testing.assert_array_equal(run.maps["occlusion"].maps, truth.maps)
    expect_shown(page, last, run, mine, wanted(method="occlusion"))
    assert len(page.jobs) == 0

    (again,) = choose(page, mine, "occlusion")  # at once, from what is kept
    expect_shown(page, again, run, mine, wanted(method="occlusion"))
    assert held.calls == 1
    (back,) = choose(page, mine, ATTENTION)
    expect_shown(page, back, run, mine, ALL)


def test_maps_of_the_picked_word_are_shown_as_soon_as_they_are_there(
    page: Page, run: Run, mine: str, held: Held
) -> None:
    held.free = 1  # the picked word's are computed at once, the others wait
    steps = choose(page, mine, "tam", key="2-3")
    shown = [next(one for one in steps if "value" in viewed(page, one))]
    assert held.reached.wait(30)
    seen = viewed(page, shown[0])
    assert seen["value"]["answer"]["have"] == [2, 3]
    assert seen["value"]["method"]["id"] == "tam"
    expect_packed(seen["value"]["answer"]["maps"], run.maps["tam"].maps)
    assert seen["work"]["part"] == "method"  # it goes on
    held.go.set()
    (*_, last) = steps
    expect_shown(page, last, run, mine, wanted(method="tam"))
    assert viewed(page, last)["value"]["answer"]["have"] is None


@pytest.mark.parametrize("key", [None, "all", "p0", "p0-3", 7, ["2"]])
def test_without_a_picked_word_all_maps_come_together(
    key: Any, page: Page, run: Run, mine: str, held: Held
) -> None:
    held.go.set()
    shown = [viewed(page, one) for one in choose(page, mine, "tam", key=key)]
    assert [one["value"]["answer"]["have"] for one in shown if "value" in one][-1] is None
    assert held.calls == 1


@pytest.mark.parametrize("way", list(LOCAL))
def test_local_heads_are_shown_at_once(way: str, page: Page, run: Run, mine: str, held: Held) -> None:
    (only,) = choose(page, mine, way)
    expect_shown(page, only, run, mine, wanted(method=way))
    assert held.calls == 0


def test_before_an_answer_there_is_nothing_to_choose(page: Page) -> None:
    outputs, line = refused(choose(page, None, "tam"))
    assert line == "There is no answer yet: ask something first."
    told_of = {"ended": wanted(method="tam"), "notice": notice(line)}
    assert [viewed(page, one) for one in outputs] == [told_of]


def test_who_waits_hears_how_many_are_ahead(page: Page, run: Run, mine: str) -> None:
    with page.room.queue.turn():
        steps = choose(page, mine, "rollout")
        works = (viewed(page, one).get("work") or {} for one in steps)
        told = next(work for work in works if work.get("ahead"))
        assert (told["ahead"], told["done"], told["count"]) == (1, 0, 0)
    (*_, last) = steps
    expect_shown(page, last, run, mine, wanted(method="rollout"))


def stopped_by(page: Page, mine: str, steps: Iterator[Outputs]) -> list[Outputs]:
    """Press Stop, and return all that is shown then."""
    page.explorer.on_stop(request(), mine, {"part": "method"}, None, ALL)
    return list(steps)


def test_stopped_by_the_person_what_is_shown_stays(page: Page, run: Run, mine: str, held: Held) -> None:
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    page.explorer.on_stop(request("you"), mine, {"part": "method"}, None, ALL)  # ends nothing of mine
    expect_work_only(page, [next(steps), next(steps)])
    *told, last = stopped_by(page, mine, steps)
    expect_work_only(page, told)
    assert viewed(page, last) == {"work": None, "ended": wanted(method="occlusion")}
    assert run.maps == {}
    assert not page.room.busy
    assert len(page.jobs) == 0


def test_a_stop_keeps_the_maps_that_are_there(page: Page, run: Run, mine: str, held: Held) -> None:
    held.free = 1
    steps = choose(page, mine, "tam", key="2-3")
    next(one for one in steps if "value" in viewed(page, one))
    assert held.reached.wait(30)
    ended = wanted(method="tam")
    assert viewed(page, stopped_by(page, mine, steps)[-1]) == {"work": None, "ended": ended}
    assert run.maps["tam"].tokens == (2, 3)
    assert explored(run, mine, wanted(method="tam"))["answer"]["have"] == [2, 3]
    held.go.set()
    *_, last = choose(page, mine, "tam", key="2-3")  # chosen again it goes on with the rest
    expect_shown(page, last, run, mine, wanted(method="tam"))
    assert held.calls == 3


def test_superseded_by_another_question_nothing_is_shown(page: Page, mine: str, held: Held) -> None:
    for ends_by_itself in (False, True):
        held.reached.clear()
        steps = choose(page, mine, "occlusion")
        begun(steps, held)
        (reading,) = page.jobs._jobs
        if ends_by_itself:  # too late to stop it
            reading.stop = threading.Event()
        with page.jobs.started("me", "answer") as newer:
            if ends_by_itself:
                held.go.set()
            rest = list(steps)
            expect_work_only(page, rest)
            assert rest[-1] == gr.skip()  # Gradio shows the last one again
            assert page.jobs.stop("me", "answer")  # the newer one is left in place
            assert not newer.left_to


@pytest.mark.parametrize(("newer", "shown"), [("check", {}), ("grad-cam", {"work": None})])
def test_superseded_by_something_else_only_its_line_goes(
    newer: Any, shown: dict[str, Any], page: Page, run: Run, mine: str, held: Held
) -> None:
    """A test has a line of its own in the same place, which has to stay."""
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    with page.jobs.started("me", newer) as job:
        (*_, last) = steps
        assert not job.stop.is_set()
    assert viewed(page, last) == shown
    assert run.maps == {}


def test_superseded_twice_the_viewer_is_left_to_the_newest_method(page: Page, mine: str, held: Held) -> None:
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    with page.jobs.started("me", "grad-cam"), page.jobs.started("me", "method"):
        assert list(steps)[-1] == gr.skip()


@pytest.mark.parametrize("newer", [ATTENTION, "heads-3", "tam", "rollout"])
def test_a_method_chosen_meanwhile_is_the_one_that_stays(
    newer: str, page: Page, run: Run, mine: str, held: Held
) -> None:
    if newer == "rollout":  # is kept from before
        run.maps[newer] = held.original(newer, run.capture, **loaded_of(page.room), image=run.original)
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    chosen = choose(page, mine, newer)
    first = next(chosen)  # from here on the other one shows nothing
    rest = list(steps)
    expect_work_only(page, rest)
    assert rest[-1] == gr.skip()
    assert "occlusion" not in run.maps
    held.go.set()
    expect_shown(page, [first, *chosen][-1], run, mine, wanted(method=newer))
    assert len(page.jobs) == 0


def test_one_head_alone_ends_a_reading_and_is_attention(page: Page, run: Run, mine: str, held: Held) -> None:
    steps = choose(page, mine, "occlusion")
    begun(steps, held)
    (alone,) = page.explorer.on_maps(request(), mine, None, "1", wanted([2], [1], "max"))
    expect_maps(viewed(page, alone)["value"], run.capture, (2,), (1,), "max")
    assert list(steps)[-1] == gr.skip()


def test_another_visitors_answer_is_refused(page: Page, run: Run, mine: str, held: Held) -> None:
    for visitor, run_id in (("you", mine), ("me", "wrong")):
        for controls in (wanted(method="tam"), wanted(no_sinks=True)):
            outputs, line = refused(page.explorer.on_maps(request(visitor), run_id, None, None, controls))
            assert line == GONE
            assert [viewed(page, one) for one in outputs] == [{"ended": controls, "notice": notice(GONE)}]
    assert (held.calls, run.maps) == (0, {})


@pytest.mark.parametrize(("key", "line"), [("99", "There is no token 99"), ("<b>", "The tokens must be")])
def test_a_pick_that_is_none_is_one_line(page: Page, run: Run, mine: str, key: str, line: str) -> None:
    outputs, told = refused(choose(page, mine, "tam", key=key))
    assert told.startswith(line)
    told_of = {"ended": wanted(method="tam"), "notice": notice(told)}
    assert [viewed(page, one) for one in outputs] == [told_of]
    assert run.maps == {}


@pytest.mark.parametrize("way", ["<b>", None, 7])
def test_a_way_that_is_none_is_one_line(way: Any, page: Page, mine: str) -> None:
    outputs, line = refused(choose(page, mine, way))
    assert line.startswith("The method must be one of attention")
    told_of = {"ended": wanted(method=way), "notice": notice(line)}
    assert [viewed(page, one) for one in outputs] == [told_of]


def test_a_method_that_fails_is_told_in_one_line(
    page: Page, run: Run, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: Any, **__: Any) -> Any:
        raise ValueError("the answer\nis odd")

    monkeypatch.setattr(reading_room, "token_maps", fails)
    outputs, line = refused(choose(page, mine, "tam"))
    assert line == "the answer is odd"
    told_of = {"work": None, "ended": wanted(method="tam"), "notice": notice(line)}
    assert viewed(page, outputs[-1]) == told_of
    assert (run.maps, len(page.jobs)) == ({}, 0)
    assert not page.room.busy


# --- Layers, heads and sinks ---


def test_layers_heads_and_sinks_are_answered_with_these_maps(page: Page, capture: Capture) -> None:
    run = Run(planted(capture, (13, 30)), (noise(0),))
    mine = page.sessions.keep("me", run)
    for no_sinks, removed in ((True, [13, 30]), (False, [])):
        narrow = wanted([1, 2], [0, 1, 2], "max", no_sinks=no_sinks)
        (outputs,) = page.explorer.on_maps(request(), mine, None, None, narrow)
        expect_shown(page, outputs, run, mine, narrow)
        assert viewed(page, outputs)["value"]["removed"] == removed


# --- What follows an answer ---


def test_a_new_answer_begins_with_attention(page: Page, run: Run, mine: str) -> None:
    *_, last = choose(page, mine, "tam")
    assert viewed(page, last)["value"]["method"]["name"].startswith("Token activation map")
    answered = page.answered("me", run, [], {"example": 0}, 1.0)
    value = viewed(page, answered)["value"]
    assert value["method"]["name"] == "attention"
    expect_maps(value, run.capture)
    assert viewed(page, page.blank())["value"] is None


def test_an_answer_is_followed_by_the_method_of_config(
    page: Page, run: Run, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def followed(run_id: Any, controls: Any) -> list[Outputs]:
        return list(page.explorer.on_default(request(), run_id, None, "2-3", controls))

    monkeypatch.setattr(config, "METHOD", "tam")
    for hostile in (None, 3, ["x"]):  # no answer came of it
        assert followed(hostile, ALL) == [gr.skip()]
    assert followed(mine, wanted(method="rollout")) == [gr.skip()]  # a choice was made meanwhile
    first, *_, last = followed(mine, ALL)
    assert viewed(page, first)["work"]["title"] == "Token act. map"
    expect_shown(page, last, run, mine, wanted(method="tam"), {"method": "tam"})
    for controls in (None, "attention", {"method": ATTENTION}):
        *_, last = followed(mine, controls)
        expect_shown(page, last, run, mine, wanted(method="tam"), {"method": "tam"})
    monkeypatch.setattr(config, "METHOD", ATTENTION)
    assert followed(mine, ALL) == [gr.skip()]


def test_what_follows_an_answer_does_not_end_the_next_one(
    page: Page, run: Run, mine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "METHOD", "tam")
    explorer, chosen = page.explorer, wanted(method="tam")
    followed = [
        lambda: list(explorer.on_default(request(), mine, None, "1", ALL)),
        lambda: list(explorer.on_rest(request(), mine, None, "1", chosen)),
    ]
    with page.jobs.started("me", "answer") as job, page.jobs.started("you", "answer"):
        for follow in followed:
            assert follow() == [gr.skip()]
        assert (job.left_to, job.stop.is_set()) == (set(), False)
    with page.jobs.started("you", "answer"):
        for follow in followed:
            run.maps.clear()
            assert viewed(page, follow()[-1])["value"]["method"]["id"] == "tam"


def test_the_work_is_named_as_the_method_is() -> None:
    named = {name: Work.reading(METHODS[name]).title for name in METHODS}
    assert named[best_method().name] == "Best map"
    assert named["occlusion"] == "Causal map"
    assert len(set(named.values())) == len(METHODS)
