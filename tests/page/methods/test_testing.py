"""Testing a map: what is shown is what `check_map` says of the same answer and map."""

import threading
from collections.abc import Iterator
from typing import Any

import gradio as gr
import numpy as np
import pytest

import page.explorer as explorer_room
from attention_processor import AttentionProcessor
from evaluation.removal import check_map
from methods import sink_patches, token_maps, top_heads, without_sinks
from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from records.map_check import MapCheck
from tests.choosing import explored, wanted
from tests.page.kit import ALL, NEW, loaded_of, memory_full
from tests.page.methods.kit import answering, planted
from tests.page.telling import Outputs, notice, refused, request, viewed
from tests.serving import noise
from utils import Stopped

pytestmark = pytest.mark.timeout(240)


def tried(page: Page, run_id: Any, key: Any, controls: Any = ALL, visitor: str = "me") -> Iterator[Outputs]:
    """Press "Test it" with a word picked."""
    return page.explorer.on_test(request(visitor), run_id, None, key, controls)


def checked(room: ModelRoom, run: Run, tokens: list[int], heat: np.ndarray) -> MapCheck:
    """Return the test of a map, without the page."""
    loaded = loaded_of(room)
    return check_map(loaded["model"], loaded["processor"], run.original, run.capture, tokens, heat)


def expect_check(page: Page, run: Run, mine: str, outputs: list[Outputs], check: MapCheck, key: str) -> None:
    """Compare what is shown at last, and kept, with a test; before that, only how far it is."""
    first, *steps, last = outputs
    work = viewed(page, first)["work"]
    told = {"part": "check", "title": "Testing this map", "short": "test", "key": key}
    assert {name: work[name] for name in told} == told
    assert viewed(page, first)["notice"] is None
    assert all(one == gr.skip() or viewed(page, one).keys() == {"work", "notice"} for one in steps)
    (kept,) = run.checks.values()
    assert viewed(page, last) == {"check": {**kept.as_dict(), "run": mine}, "work": None}
    assert (kept.tokens, kept.counts, kept.text) == (check.tokens, check.counts, check.text)
    np.testing.assert_array_equal(kept.hottest_cells, check.hottest_cells)
    np.testing.assert_array_equal(kept.random_cells, check.random_cells)
    for name in ("hottest", "random", "central"):
        np.testing.assert_allclose(getattr(kept, name), getattr(check, name), rtol=1e-5)


# --- A map --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "controls", "tokens", "chosen"),
    [
        ("2", ALL, [2], ()),
        ("1-3", wanted([1, 2], [0, 1], "max"), [1, 2, 3], ([1, 2], [0, 1], "max")),
    ],
)
def test_a_map_of_attention_is_tested(
    key: str, controls: Any, tokens: list[int], chosen: Any, page: Page, run: Run, mine: str
) -> None:
    outputs = list(tried(page, mine, key, controls))
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token(tokens, *chosen)
    expect_check(page, run, mine, outputs, checked(page.room, run, tokens, heat), key)
    assert not page.room.busy
    assert len(page.jobs) == 0
    shown = explored(run, mine, controls)
    (kept,) = run.checks.values()
    assert kept.map_key == shown["method"]["key"]  # the viewer knows that it is of this map
    assert shown["checks"] == [kept.as_dict()]


@pytest.mark.parametrize("way", ["gradient-norm", "heads-5"])
def test_the_map_that_is_shown_is_tested_and_no_other(way: str, page: Page, run: Run, mine: str) -> None:
    if way == "gradient-norm":
        found = answering(page, run, way)
    else:
        found = token_maps("attention", run.capture, pairs=top_heads(run.capture, 5))
    outputs = list(tried(page, mine, "3-4", wanted(method=way)))
    check = checked(page.room, run, [3, 4], found.token_map([3, 4]))
    expect_check(page, run, mine, outputs, check, "3-4")
    attention = AttentionProcessor(run.capture).get_attention_heatmap_for_token([3, 4])
    other = checked(page.room, run, [3, 4], attention)
    assert (check.hottest != other.hottest).any()
    np.testing.assert_allclose(check.random, other.random, rtol=1e-5)  # other batches


def test_a_map_without_sinks_is_tested_without_them(page: Page, capture: Capture) -> None:
    run = Run(planted(capture, (13, 30)), (noise(0),))
    mine = page.sessions.keep("me", run)
    outputs = list(tried(page, mine, "2", wanted(no_sinks=True)))
    sinks = sink_patches(run.capture)
    assert [sink.patch for sink in sinks] == [13, 30]
    heat = without_sinks(token_maps("attention", run.capture), sinks).token_map(2)
    expect_check(page, run, mine, outputs, checked(page.room, run, [2], heat), "2")


def test_the_whole_answer_can_be_tested(page: Page, run: Run, mine: str) -> None:
    outputs = list(tried(page, mine, "all"))
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token(list(range(NEW)))
    expect_check(page, run, mine, outputs, checked(page.room, run, list(range(NEW)), heat), "all")


def test_a_word_whose_map_is_there_can_be_tested_before_the_others_are(
    page: Page, run: Run, mine: str
) -> None:
    found = answering(page, run, "tam", 2, only=True)
    outputs = list(tried(page, mine, "2", wanted(method="tam")))
    expect_check(page, run, mine, outputs, checked(page.room, run, [2], found.token_map(2)), "2")
    outputs, line = refused(tried(page, mine, "3", wanted(method="tam")))
    assert line == "Token activation map has no map of this yet: choose it again, and let it finish."
    assert [viewed(page, one) for one in outputs] == [{"notice": notice(line)}]


def test_what_was_tested_is_kept_with_the_answer(page: Page, capture: Capture) -> None:
    run = Run(capture, (noise(0),), kept=page.store.save(capture, noise(0)))
    mine = page.sessions.keep("me", run)
    list(tried(page, mine, "2"))
    assert run.kept is not None
    (kept,) = page.store.open(run.kept).checks
    assert kept.as_dict() == next(iter(run.checks.values())).as_dict()


@pytest.mark.parametrize(
    ("key", "controls", "line"),
    [
        ("p0", ALL, "Pick a word of the answer first."),
        ("pall", ALL, "Pick a word of the answer first."),
        (None, ALL, "Pick a word first."),
        (3, ALL, "Pick a word first."),
        (["1"], ALL, "Pick a word first."),
        ("77", ALL, "There is no token 77: there are 6, 0 to 5."),
        ("1", wanted(method="tam"), "Token activation map is not computed for this answer yet: choose it"),
        ("1", wanted(method="<b>"), "The method must be one of attention, "),
        ("1", wanted(aggregation="sum"), "The aggregation must be one of mean, max, min."),
        ("1", "all", "The choice must have a method"),
    ],
)
def test_what_cannot_be_tested_is_one_line(key: Any, controls: Any, line: str, page: Page, mine: str) -> None:
    outputs, reason = refused(tried(page, mine, key, controls))
    assert reason.startswith(line)
    assert [viewed(page, one) for one in outputs] == [{"notice": notice(reason)}]
    assert not page.room.busy
    assert len(page.jobs) == 0


# --- Stop, others, and what comes after -------------------------------------------------------------------


class HeldCheck:
    """A test that waits in the middle of its work, and hears a stop there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go, self.calls = threading.Event(), threading.Event(), 0
        monkeypatch.setattr(explorer_room, "check_map", self.check)

    def check(self, *_: Any, on_progress: Any, stop: Any, **__: Any) -> Any:
        self.calls += 1
        on_progress(5, 90)
        self.reached.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                raise Stopped
        raise ValueError("nothing was tested\nhere")


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> Iterator[HeldCheck]:
    one = HeldCheck(monkeypatch)
    yield one
    one.go.set()


def test_stop_ends_a_test(page: Page, run: Run, mine: str, waiting: HeldCheck) -> None:
    steps = tried(page, mine, "1")
    shown = [next(steps), next(steps)]
    assert waiting.reached.wait(30)
    shown += [next(steps), next(steps)]
    works = [viewed(page, one).get("work") or {} for one in shown]
    assert (5, 90) in [(work.get("done"), work.get("count")) for work in works]
    page.explorer.on_stop(request("you"), mine, {"part": "check"}, "1", ALL)  # ends nothing of mine
    assert next(steps).keys() <= {page.explorer.viewer, "__type__"}
    assert not page.jobs._jobs[0].stop.is_set()
    page.explorer.on_stop(request(), mine, {"part": "check"}, "1", ALL)
    (*_, last) = steps
    assert viewed(page, last) == {"work": None}
    assert run.checks == {}
    assert not page.room.busy
    assert len(page.jobs) == 0


@pytest.mark.parametrize(
    ("newer", "shown"), [("answer", {}), ("method", {}), ("check", {}), ("grad-cam", {"work": None})]
)
def test_a_test_that_is_superseded_leaves_nothing_behind(
    newer: Any, shown: dict[str, Any], page: Page, run: Run, mine: str, waiting: HeldCheck
) -> None:
    steps = tried(page, mine, "1")
    next(steps)
    next(steps)
    assert waiting.reached.wait(30)
    with page.jobs.started("me", newer) as job:
        (*_, last) = steps
        assert viewed(page, last) == shown  # Gradio shows the last one again: it is no "5 of 90"
        assert not job.stop.is_set()
    assert run.checks == {}
    assert not page.room.busy


def test_who_waits_hears_how_many_are_ahead(page: Page, run: Run, mine: str) -> None:
    with page.room.queue.turn():
        steps = tried(page, mine, "1")
        works = (viewed(page, one).get("work") or {} for one in steps)
        assert next(work for work in works if work.get("ahead"))["ahead"] == 1
    (*_, last) = steps
    assert viewed(page, last)["check"]["run"] == mine
    assert len(run.checks) == 1


def test_another_visitors_answer_is_refused(page: Page, mine: str, waiting: HeldCheck) -> None:
    for visitor, run_id, line in (
        ("you", mine, "This answer is no longer kept: ask again."),
        ("me", "wrong", "This answer is no longer kept: ask again."),
        ("me", None, "There is no answer yet: ask something first."),
    ):
        outputs, reason = refused(tried(page, run_id, "1", visitor=visitor))
        assert reason == line
        assert [viewed(page, one) for one in outputs] == [{"notice": notice(line)}]
    assert waiting.calls == 0
    assert len(page.jobs) == 0


def test_an_error_is_one_line_and_frees_the_model(page: Page, mine: str, waiting: HeldCheck) -> None:
    waiting.go.set()
    outputs, line = refused(tried(page, mine, "1"))
    assert line == "nothing was tested here"
    assert viewed(page, outputs[-1]) == {"work": None, "notice": notice(line)}
    assert not page.room.busy
    assert len(page.jobs) == 0


def test_a_new_answer_comes_without_the_tests_of_another(page: Page, run: Run, mine: str) -> None:
    list(tried(page, mine, "1"))
    for outputs in (page.blank(), page.answered("me", Run(run.capture, (noise(0),)), [], None)):
        seen = viewed(page, outputs)
        assert (seen["check"], seen["notice"]) == (None, None)
        assert seen["work"] is None or seen["work"]["part"] == "need"  # which follows a new answer
        assert seen["value"] is None or seen["value"]["checks"] == []


def test_memory_that_runs_out_in_a_test_is_said_and_it_can_be_tried_again(
    page: Page, run: Run, mine: str
) -> None:
    with memory_full(page.room):
        outputs, reason = refused(tried(page, mine, "2"))
    assert reason == "There is not enough memory. A smaller picture or fewer new tokens need less."
    assert viewed(page, outputs[-1]) == {"work": None, "notice": notice(reason)}
    assert not run.checks
    assert (len(page.jobs), page.room.busy) == (0, False)
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token([2])
    expect_check(page, run, mine, list(tried(page, mine, "2")), checked(page.room, run, [2], heat), "2")
