"""The methods as the page offers them: against the methods themselves, and when one is chosen."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gradio as gr
import numpy as np
import pytest
import torch

import config
import page.explorer as explorer_room
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from methods import METHODS, TokenMaps, sink_patches, token_maps, top_heads, without_sinks
from model import ModelError
from page.explorer import read_again, told_of
from page.inputs import RefusedError
from page.jobs import Job
from page.model_room import ModelRoom
from page.selection import ATTENTION, method_asked
from page.sessions import Run
from page.shown import subject_of
from page.site import Held as HeldByBrowser
from page.site import Page
from records.capture import Capture
from report.view import whole_drawing
from tests.choosing import explored, selection_of
from tests.serving import HEADS, LAYERS, PROMPT, noise
from tests.viewer.test_payload import read_back
from utils import Stopped

pytestmark = pytest.mark.timeout(240)
READ = [name for name, method in METHODS.items() if method.needs_model]
LOCAL = {f"heads-{count}": count for count in (3, 5, 8)}
CAVEAT = METHODS[ATTENTION].caveat
NEW = 6  # tokens of the answer
ALL = [0, LAYERS - 1, 0, HEADS - 1, "mean"]  # the sliders, spanning all
Outputs = dict[Any, Any]


# --- What is needed -----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def capture(room: ModelRoom) -> Capture:
    return answer_to(room, noise(0))


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, noise(0))


@pytest.fixture
def mine(page: Page, run: Run) -> str:
    return page.sessions.keep("me", run)


def answer_to(room: ModelRoom, picture: Any) -> Capture:
    return AttentionExtractor(*loaded_of(room).values()).generate(picture, PROMPT, max_new_tokens=NEW)


def loaded_of(room: ModelRoom) -> dict[str, Any]:
    assert room.loaded is not None
    return {"model": room.loaded.model, "processor": room.loaded.processor}


def request(visitor: str = "me") -> Any:
    return SimpleNamespace(session_hash=visitor)


def changes(component: Any) -> dict[str, Any]:
    """What an update of a component changes."""
    return component.constructor_args if isinstance(component, gr.blocks.Block) else component


def expect_packed(packed: dict[str, Any], maps: np.ndarray) -> None:
    """Compare packed maps with the truth (token, h, w), as exactly as 16 bits can say it."""
    truth = maps.reshape(len(maps), -1).astype(np.float64)
    found = read_back(packed)
    assert found.shape == truth.shape
    assert (np.abs(found - truth) <= 0.51 * np.ptp(truth, axis=1)[:, None] / 65535 + 1e-9).all()


def expect_maps(value: dict[str, Any], capture: Capture, *chosen: Any) -> None:
    """Compare the viewer's data with the processor."""
    processor = AttentionProcessor(capture)
    for side, fold, count in (
        ("answer", processor.get_attention_heatmap_for_token, len(capture.token_ids)),
        ("prompt", processor.get_attention_heatmap_for_prompt_token, len(capture.prompt_token_ids)),
    ):
        expect_packed(value[side]["maps"], np.stack([fold(token, *chosen) for token in range(count)]))


def answering(room: ModelRoom, run: Run, way: str) -> Any:
    """Have the page read an answer again, and return the maps."""
    return read_again(room, run, way, Job("me", "method"))


def maps_of(run: Run, ranges: Sequence[Any], method: str = ATTENTION, no_sinks: bool = False) -> TokenMaps:
    """Return the maps of the answer that the page would show."""
    selection = selection_of(run, ranges, method=method, no_sinks=no_sinks)
    found = subject_of(run, selection).maps.answer
    assert found is not None
    return found


def computed(room: ModelRoom, run: Run, way: str) -> Any:
    """Return a method's maps, without the page."""
    return token_maps(way, run.capture, image=run.original, **loaded_of(room))


def planted(capture: Capture, patches: Sequence[int]) -> Capture:
    """Return the capture with patches that every word looks at with every head; shares stay as they are."""
    rows: dict[str, Any] = {}
    for name in ("attention", "prompt_attention"):
        given: torch.Tensor = getattr(capture, name).float()
        totals = given.sum(-1, keepdim=True)
        changed = given + 1e-4
        for rank, patch in enumerate(patches):
            changed[..., patch] = (given.amax(-1) + 1e-4) * (20 - rank)
        rows[name] = (changed / changed.sum(-1, keepdim=True) * totals).to(getattr(capture, name).dtype)
    return replace(capture, **rows)


class Held:
    """A method that waits in the middle of its work, and hears a stop there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.reached, self.go, self.calls = threading.Event(), threading.Event(), 0
        self.original = explorer_room.token_maps
        monkeypatch.setattr(explorer_room, "token_maps", self.token_maps)

    def token_maps(self, method: str, capture: Capture, **given: Any) -> Any:
        self.calls += 1
        tell, stop = given["on_progress"], given["stop"]
        tell(3, 11)
        self.reached.set()
        while not self.go.wait(0.01):
            if stop.is_set():
                raise Stopped
        return self.original(method, capture, **given)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    one = Held(monkeypatch)
    yield one
    one.go.set()


def begun(steps: Iterator[Outputs], held: Held) -> list[Outputs]:
    """Let a reading go on until it is in the middle of its work; return what was shown so far."""
    shown_first = [next(steps), next(steps)]  # the second starts it
    assert held.reached.wait(30)
    return shown_first


def later(callbacks: Iterator[Outputs], until: Callable[[Outputs], bool]) -> Outputs:
    """Return the first output of which something is true."""
    return next(one for one in callbacks if until(one))


def visible(component: Any) -> bool:
    return bool(changes(component)["visible"])


# --- The list -----------------------------------------------------------------------------------------------


def test_every_method_says_what_it_shows_how_it_misleads_and_where_it_is_published() -> None:
    assert list(METHODS)[:4] == [ATTENTION, "heads-3", "heads-5", "heads-8"]
    assert len({method.label for method in METHODS.values()}) == len(METHODS)
    for name, method in METHODS.items():
        assert method_asked(name) is method
        assert told_of(method).startswith(f"{method.what} {method.caveat} ({method.paper})")
    for name, count in LOCAL.items():
        assert str(count) in METHODS[name].label
        assert str(count) in told_of(METHODS[name])
        assert not METHODS[name].needs_model


@pytest.mark.parametrize("way", ["heads-4", "", "Attention", None, 3, True])
def test_what_is_no_method_is_refused_in_one_line(way: Any, run: Run) -> None:
    for refused in (lambda: method_asked(way), lambda: selection_of(run, ALL, method=way)):
        with pytest.raises(RefusedError, match=r"^The method must be one of attention, heads-3[^\n]*$"):
            refused()


# --- Maps of a method ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [3, 5, 8])
def test_local_heads_are_the_mean_of_these_heads_maps(count: int, run: Run) -> None:
    found = maps_of(run, ALL, f"heads-{count}")
    pairs = top_heads(run.capture, count)
    assert len(set(pairs)) == count < LAYERS * HEADS
    for token in range(NEW):
        fold = run.processor.get_attention_heatmap_for_token
        slow = sum(fold(token, [layer], [head]).astype(np.float64) for layer, head in pairs) / count
        np.testing.assert_allclose(found.maps[token], slow, rtol=1e-5, atol=1e-8)
    assert found.how == "layer.head " + ", ".join(f"{layer}.{head}" for layer, head in pairs)
    assert (found.row.shown_unit, found.removed) == ("%", None)
    assert found.label == f"Attention, {count} most local heads"


@pytest.mark.parametrize("way", READ)
def test_a_method_that_reads_again_is_itself(way: str, room: ModelRoom, run: Run) -> None:
    method = METHODS[way]
    with pytest.raises(ValueError, match=rf"^{method.label} is not computed for this answer yet: choose it"):
        maps_of(run, ALL, way)
    told: list[tuple[int, int]] = []
    job = Job("me", "method")
    job.steps = lambda *step: told.append(step)  # type: ignore[method-assign]
    kept = read_again(room, run, way, job)
    assert run.maps == {way: kept}
    truth = computed(room, run, way)
    np.testing.assert_array_equal(kept.maps, truth.maps)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > 0
    made = maps_of(run, ALL, way)
    assert made is kept
    assert made.maps.shape == (NEW, 5, 8)
    assert np.ptp(made.maps) > 0
    assert made.label == method.label
    assert method.shown_unit == ("%" if way == "rollout" else method.unit)
    cost = kept.cost
    assert f"{cost.forward} forward, {cost.backward} backward passes, {cost.seconds:.1f} s" in made.how
    value = explored(run, "an id", "1", ALL, way, False)
    expect_packed(value["answer"]["maps"], truth.maps)
    assert value["prompt"]["maps"] is None
    assert value["method"]["caveat"] == method.caveat
    assert (value["run"], value["pick"], "picture" in value) == ("an id", "1", False)


def test_attention_is_the_processors(run: Run) -> None:
    narrow = [1, 2, 0, 1, "max"]
    value = explored(run, "an id", "2", narrow, ATTENTION, False)
    expect_maps(value, run.capture, [1, 2], [0, 1], "max")
    assert value["removed"] == []
    for no_sinks in (None, "yes", 1):  # only True itself leaves sinks out
        assert explored(run, "an id", "2", narrow, ATTENTION, no_sinks) == value


def test_the_map_that_is_checked_is_the_one_that_is_shown(room: ModelRoom, run: Run) -> None:
    answering(room, run, "tam")
    ranges = [1, 1, 2, 3, "min"]
    fold = AttentionProcessor(run.capture).get_attention_heatmap_for_token
    np.testing.assert_array_equal(
        whole_drawing(subject_of(run, selection_of(run, ranges, "2-4"))).values,
        fold([2, 3, 4], [1], [2, 3], "min"),
    )
    of_tam = whole_drawing(subject_of(run, selection_of(run, ranges, "2-4", method="tam"))).values
    np.testing.assert_allclose(of_tam, run.maps["tam"].maps[2:5].mean(axis=0), rtol=1e-6)


# --- Sinks --------------------------------------------------------------------------------------------------


def test_planted_sinks_are_left_out_crossed_out_and_named(capture: Capture) -> None:
    run = Run(planted(capture, (13, 30)), noise(0))
    sinks = sink_patches(run.capture)
    assert [sink.patch for sink in sinks] == [13, 30]
    made = maps_of(run, ALL, no_sinks=True)
    assert made.removed == (13, 30)
    for token in range(NEW):
        heat = run.processor.get_attention_heatmap_for_token(token)
        others = np.delete(heat.ravel(), [13, 30])
        cells = made.maps[token].ravel()
        np.testing.assert_array_equal(np.delete(cells, [13, 30]), others)
        assert cells[13] == cells[30] == others.min()
    places = f"row 1 column 5 ({sinks[0].strength:.0f} ×), row 3 column 6 ({sinks[1].strength:.0f} ×)"
    assert made.how == f"layers 0-2 · heads 0-3 · mean · 2 sinks left out: {places}"
    assert (made.label, made.row.shown_unit) == ("Attention without sinks", "%")
    value = explored(run, "an id", "1", ALL, ATTENTION, True)
    assert value["removed"] == [13, 30]
    assert places in value["method"]["name"]
    assert value["method"]["caveat"] == CAVEAT
    expect_packed(value["answer"]["maps"], made.maps)


def test_sinks_are_those_of_the_layers_and_heads_shown(capture: Capture) -> None:
    whole = planted(capture, (13,))
    rows: dict[str, Any] = {
        name: getattr(capture, name).clone() for name in ("attention", "prompt_attention")
    }
    for name, given in rows.items():
        given[:, 2, 1:3] = getattr(whole, name)[:, 2, 1:3]
    run = Run(replace(capture, **rows), noise(0))
    one = maps_of(run, [2, 2, 1, 2, "max"], no_sinks=True)
    other = maps_of(run, [1, 1, 1, 2, "max"], no_sinks=True)
    assert other.removed is not None
    assert one.removed == (13,)
    assert one.how.startswith("layers 2 · heads 1-2 · max · 1 sink left out: row 1 column 5 (")
    fold = run.processor.get_attention_heatmap_for_token
    heat = fold(4, [2], [1, 2], "max")
    np.testing.assert_array_equal(np.delete(one.maps[4], 13), np.delete(heat, 13))
    assert 13 not in other.removed


def test_without_sinks_the_text_says_so_and_many_are_cut_short(capture: Capture) -> None:
    plain = token_maps(ATTENTION, capture)
    assert without_sinks(plain, ()).how.endswith(" · no sinks found")
    many = sink_patches(planted(capture, range(8)))
    assert len(many) == 8
    text = without_sinks(plain, many).how
    assert " · 8 sinks left out: row 0 column 0 (" in text
    assert text.endswith(") and 2 more")
    assert text.count("row") == 6


# --- The room -----------------------------------------------------------------------------------------------


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


# --- A method is chosen -------------------------------------------------------------------------------------


def choose(page: Page, run_id: Any, way: Any, visitor: str = "me") -> Iterator[Outputs]:
    return page.explorer.on_method(request(visitor), run_id, *ALL, way, False)


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


# --- Sliders and sinks --------------------------------------------------------------------------------------


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
