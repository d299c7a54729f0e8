"""The check tab's callbacks: what they show is what `checks` says of the same answer and map."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np
import pytest
from PIL import Image

import page.check_tab as check_room
from attention_processor import AttentionProcessor
from evaluation.charts import curve_chart
from evaluation.removal import check_map
from evaluation.without_picture import NOTE, without_image
from methods import METHODS, sink_patches, token_maps, top_heads, without_sinks
from page.check_tab import STOPPED, CheckTab
from page.explorer import read_again
from page.jobs import Job, Progress, passes
from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from tests.page.methods.kit import ALL, NEW, answer_to, changes, loaded_of, planted, request
from tests.serving import noise
from utils import Stopped

pytestmark = pytest.mark.timeout(240)
PLAIN = [*ALL, "attention", False]  # sliders, method, without sinks
Outputs = dict[Any, Any]


@pytest.fixture
def tab(page: Page) -> CheckTab:
    return page.check


@pytest.fixture(scope="module")
def capture(room: ModelRoom) -> Capture:
    return answer_to(room, noise(0))


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, noise(0))


@pytest.fixture
def mine(page: Page, run: Run) -> str:
    return page.sessions.keep("me", run)


def pixels(figure: Any) -> np.ndarray:
    figure.canvas.draw()
    return np.asarray(Image.fromarray(np.asarray(figure.canvas.buffer_rgba())).convert("RGB"))


def checked(room: ModelRoom, run: Run, tokens: list[int], heat: np.ndarray) -> Any:
    """Return the check of a map, without the page."""
    loaded = loaded_of(room)
    return check_map(loaded["model"], loaded["processor"], run.original, run.capture, tokens, heat)


def expect_check(tab: CheckTab, outputs: list[Outputs], check: Any, way: str) -> None:
    """Compare what the tab shows at last with a check."""
    first, *steps, last = outputs
    assert first[tab.line] == "Waiting for the model …"
    assert changes(first[tab.stop])["interactive"] is True
    assert all(step == gr.skip() or set(step) == {tab.line} for step in steps)
    assert set(last) == {tab.line, tab.curve, tab.stop}
    assert last[tab.line] == check.sentence(check.telling)
    curve = changes(last[tab.curve])
    assert (curve["visible"], curve["alt_text"]) == (True, last[tab.line])
    np.testing.assert_array_equal(np.asarray(curve["value"]), pixels(curve_chart(check, METHODS[way].label)))
    assert changes(last[tab.stop])["interactive"] is False


def until_error(steps: Iterator[Outputs]) -> tuple[list[Outputs], str]:
    """Return what is shown before the error that a callback ends with, and the error's line."""
    outputs = []
    while True:
        try:
            outputs.append(next(steps))
        except gr.Error as error:
            return outputs, str(error.message)


# --- A map --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "ranges", "tokens", "chosen"),
    [("2", ALL, [2], ()), ("1-3", [1, 2, 0, 1, "max"], [1, 2, 3], ([1, 2], [0, 1], "max"))],
)
def test_a_map_of_attention_is_checked(
    key: str,
    ranges: list[Any],
    tokens: list[int],
    chosen: Any,
    page: Page,
    tab: CheckTab,
    run: Run,
    mine: str,
) -> None:
    outputs = list(tab.on_map(request(), mine, key, None, *ranges, "attention", False))
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token(tokens, *chosen)
    expect_check(tab, outputs, checked(page.room, run, tokens, heat), "attention")
    assert not page.room.busy
    assert len(page.jobs) == 0


@pytest.mark.parametrize("way", ["gradient-norm", "heads-5"])
def test_the_map_that_is_shown_is_checked_and_no_other(
    way: str, page: Page, tab: CheckTab, run: Run, mine: str
) -> None:
    if way == "gradient-norm":
        read_again(page.room, run, way, Job("me", "method"))
        found = token_maps(way, run.capture, image=run.original, **loaded_of(page.room))
    else:
        found = token_maps("attention", run.capture, pairs=top_heads(run.capture, 5))
    outputs = list(tab.on_map(request(), mine, "3-4", None, *ALL, way, False))
    check = checked(page.room, run, [3, 4], found.token_map([3, 4]))
    expect_check(tab, outputs, check, way)
    attention = AttentionProcessor(run.capture).get_attention_heatmap_for_token([3, 4])
    other = checked(page.room, run, [3, 4], attention)
    assert (check.hottest != other.hottest).any()
    np.testing.assert_allclose(check.random, other.random, rtol=1e-5)  # other batches


def test_a_map_without_sinks_is_checked_without_them(page: Page, tab: CheckTab, capture: Capture) -> None:
    run = Run(planted(capture, (13, 30)), noise(0))
    mine = page.sessions.keep("me", run)
    outputs = list(tab.on_map(request(), mine, "2", None, *ALL, "attention", True))
    sinks = sink_patches(run.capture)
    assert [sink.patch for sink in sinks] == [13, 30]
    heat = without_sinks(token_maps("attention", run.capture), sinks).token_map(2)
    expect_check(tab, outputs, checked(page.room, run, [2], heat), "attention")


def test_the_whole_answer_can_be_checked(page: Page, tab: CheckTab, run: Run, mine: str) -> None:
    outputs = list(tab.on_map(request(), mine, "all", None, *PLAIN))
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token(list(range(NEW)))
    expect_check(tab, outputs, checked(page.room, run, list(range(NEW)), heat), "attention")


@pytest.mark.parametrize(
    ("key", "rest", "line"),
    [
        ("p0", PLAIN, "Pick a word of the answer first."),
        ("pall", PLAIN, "Pick a word of the answer first."),
        (None, PLAIN, "Pick a word of the answer first."),
        (3, PLAIN, "Pick a word of the answer first."),
        ("77", PLAIN, "There is no token 77: there are 6, 0 to 5."),
        ("1", [*ALL, "tam", False], "Token activation map is not computed for this answer yet: choose it"),
        ("1", [*ALL, "<b>", False], "The method must be one of attention, "),
        ("1", [0, 1, 0, 1, "sum", "attention", False], "aggregation must be"),
    ],
)
def test_what_cannot_be_checked_is_one_line(
    key: Any, rest: list[Any], line: str, page: Page, tab: CheckTab, mine: str
) -> None:
    outputs, error = until_error(tab.on_map(request(), mine, key, None, *rest))
    assert line.casefold() in error.casefold()
    told = outputs[-1]
    assert set(told) == {tab.line, tab.stop}
    assert line.casefold() in told[tab.line].casefold()
    assert len(told[tab.line].splitlines()) == 1
    assert changes(told[tab.stop])["interactive"] is False
    assert not page.room.busy
    assert len(page.jobs) == 0


# --- With and without the picture ---------------------------------------------------------------------------


def test_each_word_with_and_without_the_picture(page: Page, tab: CheckTab, run: Run, mine: str) -> None:
    outputs = list(tab.on_picture(request(), mine, "1", None, *PLAIN))
    first, *steps, last = outputs
    assert first[tab.picture_line] == "Waiting for the model …"
    assert all(step == gr.skip() or set(step) == {tab.picture_line} for step in steps)
    loaded = loaded_of(page.room)
    truth = without_image(loaded["model"], loaded["processor"], run.original, run.capture)
    table = changes(last[tab.table])
    assert table["visible"] is True
    rows = table["value"]["data"] if isinstance(table["value"], dict) else table["value"]
    assert rows == truth.rows()
    words = AttentionProcessor(run.capture).words()
    assert [row[0] for row in rows] == [word.text for word in words]
    for row, word in zip(rows, words, strict=True):
        seen, unseen = truth.of(word.tokens)
        logprob = float(run.capture.logprobs[list(word.tokens)].sum())
        assert seen == pytest.approx(np.exp(logprob), rel=1e-3)
        for cell, probability in zip(row[1:3], (seen, unseen), strict=True):
            assert float(cell) == pytest.approx(probability, abs=0.005)
        source = "language, against the picture" if unseen > 2 * seen else "language alone"
        if unseen < seen / 2:
            source = "both" if unseen >= seen / 10 else "the picture"
        assert row[3] == source
    assert last[tab.picture_line] == NOTE
    assert changes(last[tab.stop])["interactive"] is False
    assert tab.curve not in last


# --- Stop, others, and what comes after -------------------------------------------------------------------


class Held:
    """A check that waits in the middle of its work, and hears a stop there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go, self.calls = threading.Event(), threading.Event(), 0
        for name in ("check_map", "without_image"):
            monkeypatch.setattr(check_room, name, self.check)

    def check(self, *_: Any, on_progress: Any, stop: Any, **__: Any) -> Any:
        self.calls += 1
        on_progress(5, 90)
        self.reached.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                raise Stopped
        raise ValueError("nothing was checked here")


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    one = Held(monkeypatch)
    yield one
    one.go.set()


def callback_of(tab: CheckTab, name: str) -> tuple[Callable[..., Iterator[Outputs]], Any]:
    return (tab.on_map, tab.line) if name == "map" else (tab.on_picture, tab.picture_line)


@pytest.mark.parametrize("name", ["map", "picture"])
def test_stop_ends_a_check(name: str, page: Page, tab: CheckTab, mine: str, held: Held) -> None:
    callback, place = callback_of(tab, name)
    steps = callback(request(), mine, "1", None, *PLAIN)
    shown = [next(steps), next(steps)]
    assert held.reached.wait(30)
    shown += [next(steps), next(steps)]
    assert {place: "5 of 90 passes …"} in shown
    tab.on_stop(request("you"))  # somebody else's Stop ends nothing
    assert next(steps) in (gr.skip(), {place: "5 of 90 passes …"})
    tab.on_stop(request())
    (*_, last) = steps
    assert last[place] == STOPPED
    assert set(last) == {place, tab.stop}
    assert changes(last[tab.stop])["interactive"] is False
    assert not page.room.busy
    assert len(page.jobs) == 0


@pytest.mark.parametrize("newer", ["answer", "method"])
@pytest.mark.parametrize("name", ["map", "picture"])
def test_a_check_that_is_superseded_leaves_nothing_behind(
    name: str, newer: Any, page: Page, tab: CheckTab, mine: str, held: Held
) -> None:
    callback, place = callback_of(tab, name)
    steps = callback(request(), mine, "1", None, *PLAIN)
    next(steps)
    next(steps)
    assert held.reached.wait(30)
    with page.jobs.started("me", newer) as job:
        (*_, last) = steps
        assert last[place] == ""  # Gradio shows the last one again: it is no "5 of 90 passes …"
        assert set(last) == ({place} if newer == "answer" else {place, tab.stop})
        assert not job.stop.is_set()
    assert not page.room.busy


@pytest.mark.parametrize("name", ["map", "picture"])
def test_who_waits_hears_how_many_are_ahead(name: str, page: Page, tab: CheckTab, mine: str) -> None:
    callback, place = callback_of(tab, name)
    with page.room.queue.turn():
        steps = callback(request(), mine, "1", None, *PLAIN)
        told = next(one for one in steps if "ahead" in str(one.get(place)))
        assert told == {place: "Waiting for the model: 1 ahead of you"}
    (*_, last) = steps
    assert place in last


@pytest.mark.parametrize("name", ["map", "picture"])
def test_another_visitors_answer_is_refused(
    name: str, page: Page, tab: CheckTab, mine: str, held: Held
) -> None:
    callback, place = callback_of(tab, name)
    for visitor, run_id, line in (
        ("you", mine, "This answer is no longer kept: press Generate again."),
        ("me", "wrong", "This answer is no longer kept: press Generate again."),
        ("me", None, "There is no answer to check yet: press Generate first."),
    ):
        steps = callback(request(visitor), run_id, "1", None, *PLAIN)
        assert next(steps) == {place: line}
        with pytest.raises(gr.Error, match=line[:-1]):
            next(steps)
    assert held.calls == 0
    assert len(page.jobs) == 0


@pytest.mark.parametrize("name", ["map", "picture"])
def test_an_error_is_one_line_and_frees_the_model(
    name: str, page: Page, tab: CheckTab, mine: str, held: Held
) -> None:
    callback, place = callback_of(tab, name)
    held.go.set()
    outputs, error = until_error(callback(request(), mine, "1", None, *PLAIN))
    assert error == "nothing was checked here"
    assert outputs[-1][place] == "nothing was checked here"
    assert not page.room.busy
    assert len(page.jobs) == 0


def test_a_new_answer_empties_the_tab(page: Page, tab: CheckTab) -> None:
    blank = page.blank("waiting")
    assert (blank[tab.line], blank[tab.picture_line]) == ("", "")
    assert changes(blank[tab.curve])["visible"] is False
    assert changes(blank[tab.curve])["value"] is None
    assert changes(blank[tab.table])["visible"] is False
    assert changes(blank[tab.stop])["interactive"] is False
    assert passes(tab.line)(Progress(seconds=3)) == {}  # nothing is known yet: nothing changes
