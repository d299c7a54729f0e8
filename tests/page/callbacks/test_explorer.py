"""The page's callbacks: the explorer."""

import re
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
import pytest

import config
import viewer
from methods import token_maps
from methods.catalog import ASK_AGAIN
from page.jobs import Progress
from page.sessions import Run
from page.shown import choices
from page.site import Page
from records.keep import heads_refusal
from tests.choosing import explored, wanted
from tests.keeping import reduced
from tests.page.callbacks.kit import empty_answer
from tests.page.kit import ALL, NEW, attention_maps, expect_maps, expect_packed, unpacked
from tests.page.telling import changes, notice, refused, request, viewed
from tests.serving import HEADS, LAYERS, noise

pytestmark = pytest.mark.timeout(120)
FACTS: dict[str, Any] = {"source": {"example": 0}, "seconds": 1.5, "stopped": False, "notes": ["a note"]}
HEAD_OF_WORD: dict[str, Any] = {"key": "1-2"}


def test_an_answer_comes_with_its_picture_its_list_and_what_is_said_of_it(page: Page, run: Run) -> None:
    shown = page.explorer.shown("an id", run, FACTS)
    seen, listed = viewed(page, shown), changes(shown[page.explorer.token])
    assert seen["value"] == {**explored(run, "an id", ALL), "facts": FACTS, "pick": None}
    assert seen["pictures"] == {"list": viewer.pictures_payload(noise(0)), "run": "an id"}
    others = ("heads", "without", "check", "compared", "progress", "work")
    assert {name: seen[name] for name in others} == dict.fromkeys(others)  # nothing of the answer before
    assert seen["notice"] == {"kind": "note", "text": "A note."}
    assert listed == {"choices": choices(run)}  # what is picked, the viewer tells


def test_while_an_answer_is_written_the_latest_words_map_is_shown(page: Page) -> None:
    heat = np.arange(15, dtype=np.float32).reshape(3, 5) / 105
    told = page.explorer.told(Progress(begun=True, done=4, text="A red", map=heat, seconds=1.26), 60)
    progress = viewed(page, told)["progress"]
    assert progress == {
        "phase": "writing",
        "text": "A red",
        "count": 4,
        "limit": 60,
        "seconds": 1.3,
        "map": viewer.packed(heat.reshape(1, -1)),
        "grid": [3, 5],
    }
    expect_packed(progress["map"], heat[None])
    waits = viewed(page, page.explorer.told(Progress(ahead=2, wait=7.4, seconds=0.5), 60))["progress"]
    told_of = {"phase": "waiting", "text": "", "count": 0, "ahead": 2, "wait": 7, "limit": 60, "seconds": 0.5}
    assert waits == told_of
    reads = viewed(page, page.explorer.told(Progress(begun=True), 60))["progress"]
    assert reads["phase"] == "reading"


def test_maps_of_other_layers_and_heads_are_the_processors(page: Page, run: Run, mine: str) -> None:
    controls = wanted([1, 2], None, "max")
    (outputs,) = page.explorer.on_maps(request(), mine, None, "1", controls)
    assert outputs.keys() == {page.explorer.viewer}
    seen = viewed(page, outputs)
    expect_maps(seen["value"], run.capture, (1, 2), (0, 1, 2, 3), "max")
    assert (seen["value"]["run"], seen["value"]["settings"]["layers"]) == (mine, [1, 2])
    assert (seen["work"], seen["notice"]) == (None, None)


def test_one_layer_and_head_alone_and_all_of_them_again(page: Page, run: Run, mine: str) -> None:
    (outputs,) = page.explorer.on_maps(request(), mine, None, "1", wanted([2], [1], "max"))
    expect_maps(viewed(page, outputs)["value"], run.capture, (2,), (1,), "max")
    (outputs,) = page.explorer.on_maps(request(), mine, None, "1", wanted([], []))
    expect_maps(viewed(page, outputs)["value"], run.capture)
    (outputs,) = page.explorer.on_maps(request(), mine, None, "1", wanted("0-1", "-1", "min"))
    expect_maps(viewed(page, outputs)["value"], run.capture, (0, 1), (3,), "min")


def test_layers_and_heads_of_a_word(page: Page, run: Run, mine: str) -> None:
    capture, processor = run.capture, run.processor
    for details, key, tokens, of_prompt in (
        (HEAD_OF_WORD, "5", [1, 2], False),  # of what was asked for, which may have changed since
        (None, "1-2", [1, 2], False),
        ({"key": "p0-7"}, None, list(range(8)), True),
    ):
        heads = viewed(page, page.explorer.on_heads(request(), mine, details, key, None))["heads"]
        assert heads["pick"] == {"tokens": tokens, "of_prompt": of_prompt}
        fold = processor.get_attention_heatmap_for_token
        if of_prompt:
            fold = processor.get_attention_heatmap_for_prompt_token
        rows: list[Any] = [None, *([layer] for layer in range(LAYERS))]
        columns: list[Any] = [None, *([head] for head in range(HEADS))]
        truth = np.stack([fold(tokens, row, column) for row in rows for column in columns])
        found = unpacked(heads["maps"], capture.grid)
        assert found.shape == truth.shape
        step = np.ptp(truth.reshape(len(truth), -1), axis=1)[:, None, None] / 255
        assert (np.abs(found - truth) <= step / 2 * 1.01 + 1e-7).all()


def test_another_map_beside_the_one_that_is_shown(page: Page, run: Run, mine: str) -> None:
    (outputs,) = page.explorer.on_compare(request(), mine, {"name": "heads-3"}, "1-2", ALL)
    seen = viewed(page, outputs)
    maps = seen["compared"].pop("maps")
    assert seen["compared"] == {"run": mine, "key": "1-2", "name": "heads-3"}
    truth = token_maps("heads-3", run.capture).token_map([1, 2])
    expect_packed(maps, truth[None])
    assert "value" not in seen  # what is shown stays


def test_a_comparison_by_a_method_that_reads_again_reads_for_the_picked_word_alone(
    page: Page, run: Run, mine: str
) -> None:
    *shown, last = page.explorer.on_compare(request(), mine, {"name": "tam"}, "2-3", ALL)
    work = viewed(page, shown[0])["work"]
    assert (work["part"], work["done"], work["key"]) == ("method", 0, None)
    assert run.maps["tam"].tokens == (2, 3)
    assert page.room.loaded is not None
    given: dict[str, Any] = {"model": page.room.loaded.model, "processor": page.room.loaded.processor}
    truth = token_maps("tam", run.capture, image=noise(0), **given).token_map([2, 3])
    seen = viewed(page, last)
    found = unpacked(seen["compared"]["maps"], run.capture.grid)[0]
    np.testing.assert_allclose(found, truth, rtol=1e-3, atol=1e-4 * float(np.abs(truth).max()))
    assert seen["work"] is None
    (again,) = page.explorer.on_compare(request(), mine, {"name": "tam"}, "3", ALL)  # it is there already
    assert viewed(page, again)["compared"]["key"] == "3"


@pytest.mark.parametrize(
    ("details", "key", "line"),
    [
        (None, "1", "The method must be one of attention, "),
        ({"name": ["tam"]}, "1", "The method must be one of attention, "),
        ({"name": "tam"}, "p0", "Token activation map explains words of the answer, not of the prompt"),
        ({"name": "tam"}, None, "Pick a word first."),
        ({"name": "tam"}, "99", "There is no token 99: there are 6, 0 to 5."),
    ],
)
def test_what_cannot_be_compared_is_one_line(
    page: Page, run: Run, mine: str, details: Any, key: Any, line: str
) -> None:
    outputs, reason = refused(page.explorer.on_compare(request(), mine, details, key, ALL))
    assert reason.startswith(line)
    assert [viewed(page, one) for one in outputs] == [{"notice": notice(reason)}]
    assert (run.maps, page.room.busy) == ({}, False)


# --- Underlines ---


def test_after_an_answer_its_words_are_underlined(page: Page, run: Run, mine: str) -> None:
    first, *shown, last = page.explorer.on_need(request(), mine)
    assert viewed(page, first)["work"]["part"] == "need"
    assert all(one == gr.skip() for one in shown)
    seen = viewed(page, last)["without"]
    assert run.without is not None
    assert seen == {"run": mine, "values": viewer.floored(run.without)}
    assert len(seen["values"]) == NEW
    assert list(page.explorer.on_need(request(), mine)) == [gr.skip()]  # it is known
    assert list(page.explorer.on_need(request(), None)) == [gr.skip()]
    again = page.explorer.shown(mine, run, FACTS)
    assert viewed(page, again)["value"]["answer"]["without"] == seen["values"]


def test_underlines_that_cannot_be_had_disturb_nobody(page: Page, mine: str) -> None:
    page.room._loaded, loaded = None, page.room._loaded
    try:
        outputs, line = refused(page.explorer.on_need(request(), mine))
    finally:
        page.room._loaded = loaded
    assert viewed(page, outputs[-1])["work"] is None
    assert "no model is loaded now" in line
    assert len(page.jobs) == 0


def test_an_empty_answer_is_shown_by_attention_and_asks_for_nothing(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = Run(empty_answer(page.room, noise(0)), (noise(0),))
    mine = page.sessions.keep("me", empty)
    for method in ("attention", "gradient-attention"):
        monkeypatch.setattr(config, "METHOD", method)
        value = viewed(page, page.explorer.shown(mine, empty, FACTS))["value"]
        assert value["method"]["id"] == "attention"
        expect_packed(value["prompt"]["maps"], attention_maps(empty.capture, of_prompt=True))
        assert list(page.explorer.on_default(request(), mine, None, None, None)) == [gr.skip()]
        assert list(page.explorer.on_need(request(), mine)) == [gr.skip()]


# --- Whose answer it is ---


def test_the_explorer_answers_nobody_about_anothers_answer(page: Page, mine: str) -> None:
    explorer = page.explorer

    def every(visitor: str, run_id: Any) -> list[Callable[[], Any]]:
        asked = request(visitor), run_id
        return [
            lambda: explorer.on_maps(*asked, None, "1", ALL),
            lambda: explorer.on_test(*asked, None, "1", ALL),
            lambda: explorer.on_compare(*asked, {"name": "heads-3"}, "1", ALL),
            lambda: explorer.on_default(*asked, None, "1", ALL),
            lambda: explorer.on_need(*asked),
        ]

    gone = "This answer is no longer kept: ask again."
    for visitor, run_id in (("you", mine), ("me", "wrong")):
        for callback in every(visitor, run_id):
            outputs, line = refused(callback())
            assert line == gone
            assert [viewed(page, one)["notice"] for one in outputs] == [notice(gone)]
            assert all("value" not in viewed(page, one) for one in outputs)
        with pytest.raises(gr.Error, match=gone):
            explorer.on_heads(request(visitor), run_id, None, "1", None)
    for hostile in (None, 7, ["x"], {"id": mine}):  # no answer yet
        for callback in every("me", hostile)[:3]:
            outputs, line = refused(callback())
            assert line == "There is no answer yet: ask something first."
        for callback in every("me", hostile)[3:]:
            assert list(callback()) == [gr.skip()]
        assert explorer.on_heads(request(), hostile, None, "1", None) == gr.skip()
    for wrong, details in (("99", None), ("red", None), (None, None), ("1", {"key": ["1"]}), ("1", {})):
        with pytest.raises(gr.Error, match=r"token|Pick a word") as caught:
            explorer.on_heads(request(), mine, details, wrong, None)
        assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("keep", ["head-mean", [(2, 1), (0, 3), (2, 0)]])
def test_what_needs_heads_that_were_not_kept_is_one_line(page: Page, run: Run, keep: Any) -> None:
    kept = Run(reduced(run.capture, keep), run.originals)
    mine = page.sessions.keep("me", kept)
    shown = viewed(page, page.explorer.shown(mine, kept, FACTS))
    reason = heads_refusal(kept.capture)
    assert shown["value"]["settings"]["heads_refused"] == reason
    expected = kept.processor.get_attention_heatmap_for_token(1)
    found = unpacked(shown["value"]["answer"]["maps"], kept.capture.grid)[1]
    assert np.abs(found - expected).max() <= np.ptp(expected) / 65535
    with pytest.raises(gr.Error, match=re.escape(reason)):
        page.explorer.on_heads(request(), mine, None, "1", None)
    for controls in (wanted([2], [2]), wanted(method="heads-3")):
        _, line = refused(page.explorer.on_maps(request(), mine, None, "1", controls))
        assert line.removesuffix(".").endswith(ASK_AGAIN)
    (outputs,) = page.explorer.on_maps(request(), mine, None, "1", wanted([2], []))
    found = unpacked(viewed(page, outputs)["value"]["answer"]["maps"], kept.capture.grid)[1]
    expected = kept.processor.get_attention_heatmap_for_token(1, [2])
    assert np.abs(found - expected).max() <= np.ptp(expected) / 65535


@pytest.mark.parametrize(
    ("controls", "line"),
    [
        (wanted([3]), "There is no layer 3: there are 3, 0 to 2."),
        (wanted([0], [4]), "There is no head 4: there are 4, 0 to 3."),
        (wanted("2-1"), "The range of layers 2-1 runs backwards."),
        (wanted(None, "3-0"), "The range of heads 3-0 runs backwards."),
        (wanted("<b>"), "The layers must be"),
        (wanted(""), "The layers must be"),
        (wanted([0.5]), "The layers must be numbers, such as 0-3,5."),
        (wanted([True]), "The layers must be numbers, such as 0-3,5."),
        (wanted([[0]]), "The layers must be numbers, such as 0-3,5."),
        (wanted({"from": 0}), "The layers must be numbers, such as 0-3,5."),
        (wanted(7), "The layers must be numbers, such as 0-3,5."),
        (wanted(None, [0] * 2001), "The heads must be numbers, such as 0-3,5."),
        (wanted(None, "0," * 1001), "The heads must be numbers, such as 0-3,5."),
        (wanted(aggregation="sum"), "The aggregation must be one of mean, max, min."),
        (wanted(aggregation=["mean"]), "The aggregation must be one of mean, max, min."),
        (wanted(aggregation="sum", method="tam"), "The aggregation must be one of mean, max, min."),
        (wanted(method="magic"), "The method must be one of attention, "),
        (wanted(method={}), "The method must be one of attention, "),
        ({}, "The method must be one of attention, "),
        ("attention", "The choice must have a method, layers, heads and how they are folded."),
        ([ALL], "The choice must have a method, layers, heads and how they are folded."),
    ],
)
def test_what_cannot_be_shown_is_one_line_and_what_is_there_stays(
    page: Page, mine: str, controls: Any, line: str
) -> None:
    outputs, reason = refused(page.explorer.on_maps(request(), mine, None, "1", controls))
    assert reason.startswith(line)
    assert [viewed(page, one) for one in outputs] == [{"ended": controls, "notice": notice(reason)}]
    assert not page.room.busy


@pytest.mark.parametrize(
    "details",
    [None, "method", {"part": "load"}, {"part": ["method"]}, {"part": {"a": 1}}, {"part": 3}, [], {}],
)
def test_stop_stops_methods_and_tests_whatever_is_said_of_them(page: Page, mine: str, details: Any) -> None:
    with (
        page.jobs.started("me", "method") as method,
        page.jobs.started("me", "file") as file,
        page.jobs.started("you", "method") as yours,
    ):
        assert page.explorer.on_stop(request(), mine, details, "1", ALL) is None  # type: ignore[func-returns-value]
        assert [job.stop.is_set() for job in (method, file, yours)] == [True, False, False]
        assert method.left_to == set()


@pytest.mark.parametrize(("part", "stopped"), [("check", False), ("method", True), ("answer", False)])
def test_stop_stops_what_is_named(page: Page, mine: str, part: str, stopped: bool) -> None:
    with page.jobs.started("me", "method") as method:
        page.explorer.on_stop(request(), mine, {"part": part}, "1", ALL)
        assert method.stop.is_set() == stopped
