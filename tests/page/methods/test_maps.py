"""Methods in the page: the list; maps of a method; sinks."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from attention_processor import AttentionProcessor
from methods import METHODS, sink_patches, token_maps, top_heads, without_sinks
from page.inputs import RefusedError
from page.jobs import Job
from page.reading_again import read_again
from page.selection import ATTENTION, method_asked
from page.sessions import Run
from page.shown import subject_of
from page.site import Page
from records.capture import Capture
from report.view import whole_drawing
from tests.choosing import explored, selection_of, wanted
from tests.page.kit import ALL, NEW, expect_maps, expect_packed
from tests.page.methods.kit import CAVEAT, LOCAL, READ, answering, computed, maps_of, planted
from tests.serving import HEADS, LAYERS, noise

pytestmark = pytest.mark.timeout(240)


# --- The list ---


def test_every_method_says_what_it_shows_how_it_misleads_and_where_it_is_published(run: Run) -> None:
    assert list(METHODS)[:4] == [ATTENTION, "heads-3", "heads-5", "heads-8"]
    assert len({method.label for method in METHODS.values()}) == len(METHODS)
    told = {row["name"]: row for row in explored(run, "an id", ALL)["methods"]}
    assert told.keys() == METHODS.keys()
    for name, method in METHODS.items():
        assert method_asked(name) is method
        said = (told[name]["label"], told[name]["sentence"], told[name]["caveat"], told[name]["paper"])
        assert said == (method.label, method.sentence, method.caveat, method.paper)
        assert all(said[:3])
        assert told[name]["needs_model"] is method.needs_model
    for name, count in LOCAL.items():
        assert str(count) in METHODS[name].label
        assert not METHODS[name].needs_model


@pytest.mark.parametrize("way", ["heads-4", "", "Attention", None, 3, True])
def test_what_is_no_method_is_refused_in_one_line(way: Any, run: Run) -> None:
    for refused in (lambda: method_asked(way), lambda: selection_of(run, wanted(method=way))):
        with pytest.raises(RefusedError, match=r"^The method must be one of attention, heads-3[^\n]*$"):
            refused()


# --- Maps of a method ---


@pytest.mark.parametrize("count", [3, 5, 8])
def test_local_heads_are_the_mean_of_these_heads_maps(count: int, run: Run) -> None:
    found = maps_of(run, wanted(method=f"heads-{count}"))
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
def test_a_method_that_reads_again_is_itself(way: str, page: Page, run: Run) -> None:
    method = METHODS[way]
    with pytest.raises(ValueError, match=rf"^{method.label} is not computed for this answer yet: choose it"):
        maps_of(run, wanted(method=way))
    told: list[tuple[int, int]] = []
    job = Job("me", "method")
    job.steps = lambda *step: told.append(step)  # type: ignore[method-assign]
    kept = read_again(page.around, run, way, job)
    assert run.maps == {way: kept}
    truth = computed(page.room, run, way)
    np.testing.assert_array_equal(kept.maps, truth.maps)
    assert told[0][0] == 0
    assert told[-1][0] == told[-1][1] > 0
    made = maps_of(run, wanted(method=way))
    assert made is kept
    assert made.maps.shape == (NEW, 5, 8)
    assert np.ptp(made.maps) > 0
    assert made.label == method.label
    assert method.shown_unit == ("%" if way == "rollout" else method.unit)
    assert kept.cost.text != ""
    assert kept.cost.text in made.how
    value = explored(run, "an id", wanted(method=way))
    expect_packed(value["answer"]["maps"], truth.maps)
    assert value["prompt"]["maps"] is None
    assert value["method"]["caveat"] == method.caveat
    assert (value["run"], value["pick"], "picture" in value) == ("an id", None, False)


def test_attention_is_the_processors(run: Run) -> None:
    narrow = wanted([1, 2], [0, 1], "max")
    value = explored(run, "an id", narrow)
    expect_maps(value, run.capture, [1, 2], [0, 1], "max")
    assert value["removed"] == []
    for no_sinks in (None, "yes", 1):  # only True itself leaves sinks out
        assert explored(run, "an id", {**narrow, "no_sinks": no_sinks}) == value


def test_a_method_without_sinks_or_layers_takes_what_is_said_of_them_for_nothing(run: Run) -> None:
    plain = maps_of(run, wanted(method="heads-3"))
    other = maps_of(run, wanted([1], [0], "max", "heads-3", no_sinks=True))
    np.testing.assert_array_equal(plain.maps, other.maps)
    assert other.removed is None


def test_the_map_that_is_checked_is_the_one_that_is_shown(page: Page, run: Run) -> None:
    answering(page, run, "tam")
    narrow = wanted([1], [2, 3], "min")
    fold = AttentionProcessor(run.capture).get_attention_heatmap_for_token
    np.testing.assert_array_equal(
        whole_drawing(subject_of(run, selection_of(run, narrow, "2-4"))).values,
        fold([2, 3, 4], [1], [2, 3], "min"),
    )
    of_tam = selection_of(run, {**narrow, "method": "tam"}, "2-4")
    np.testing.assert_allclose(
        whole_drawing(subject_of(run, of_tam)).values, run.maps["tam"].maps[2:5].mean(axis=0), rtol=1e-6
    )


# --- Sinks ---


def test_planted_sinks_are_left_out_crossed_out_and_named(capture: Capture) -> None:
    run = Run(planted(capture, (13, 30)), (noise(0),))
    sinks = sink_patches(run.capture)
    assert [sink.patch for sink in sinks] == [13, 30]
    made = maps_of(run, wanted(no_sinks=True))
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
    value = explored(run, "an id", wanted(no_sinks=True))
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
    run = Run(replace(capture, **rows), (noise(0),))
    one = maps_of(run, wanted([2], [1, 2], "max", no_sinks=True))
    other = maps_of(run, wanted([1], [1, 2], "max", no_sinks=True))
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
