"""Maps, methods and selections of an answer of which not all heads were kept."""

import re
from itertools import product
from typing import Any

import numpy as np
import pytest

import viewer
from attention_processor import AttentionProcessor
from methods import METHODS, rank_heads, selected_maps, sink_patches, token_maps
from records.capture import Capture
from records.keep import heads_refusal, kept_pairs
from records.selection import parsed_selection
from report.numbers import arrays_of
from report.view import Subject, facts, short_id
from tests.attention_processor.kit import (
    GRID,
    HEADS,
    PROMPT_TOKENS,
    RECORDED,
    TOKENS,
    assert_mean,
    made_capture,
    slow_map,
)
from tests.keeping import reduced
from tests.methods.kit import answer, capture_of, maps_of, noisy

pytestmark = pytest.mark.numeric

PAIRS = [(5, 0), (0, 1), (5, 1)]  # two heads of one layer, one of another, none of the third
EVERY = list(product(RECORDED, range(HEADS)))
ASK_AGAIN = r'set KEEP = "all" in config\.py \(in the shell: --keep all\) and ask again'


@pytest.fixture(scope="module")
def full() -> Capture:
    return made_capture()


@pytest.fixture(scope="module")
def mean(full: Capture) -> Capture:
    return reduced(full, "head-mean")


@pytest.fixture(scope="module")
def pairs(full: Capture) -> Capture:
    return reduced(full, PAIRS)


def mean_of_pairs(full: Capture, tokens: list[int], chosen: list[tuple[int, int]]) -> np.ndarray:
    """Return the mean map of some heads, head by head."""
    maps = [slow_map(full.attention, tokens, [layer], [head], "mean") for layer, head in chosen]
    return np.mean(maps, axis=0)


# --- Maps and shares ---


def test_the_mean_over_heads_gives_every_map_that_is_a_mean(full: Capture, mean: Capture) -> None:
    found, truth = AttentionProcessor(mean), AttentionProcessor(full)
    for tokens, layers, heads in (([3], None, None), ([1, 4], [0, 5], None), ([0], [2], [1, 0])):
        asked = tokens, layers, heads
        assert_mean(
            found.get_attention_heatmap_for_token(*asked), truth.get_attention_heatmap_for_token(*asked)
        )
        assert_mean(found.shares(*asked), truth.shares(*asked))
    of_prompt = found.get_attention_heatmap_for_prompt_token([0, 2], [-1])
    assert_mean(of_prompt, truth.get_attention_heatmap_for_prompt_token([0, 2], [-1]))
    assert_mean(found.text_attention(4), truth.text_attention(4))
    # Shares are there for every head.
    assert_mean(found.shares(2, [0], [1]), truth.shares(2, [0], [1]))
    np.testing.assert_array_equal(found.all_layer_shares([1]), truth.all_layer_shares([1]))


def test_what_the_mean_over_heads_does_not_give_is_refused(mean: Capture) -> None:
    found = AttentionProcessor(mean)
    only = f"^Of this answer only the mean over all heads was kept: {ASK_AGAIN}\\.$"
    for how in ({"head_indices": [1]}, {"aggregation": "max"}, {"aggregation": "min", "layer_indices": [0]}):
        with pytest.raises(ValueError, match=only):
            found.get_attention_heatmap_for_token(0, **how)
        with pytest.raises(ValueError, match=only):
            found.get_attention_heatmap_for_prompt_token(0, **how)
    for options in ({"heads": [0]}, {"aggregation": "max"}, {"pairs": [(0, 1)]}):
        with pytest.raises(ValueError, match=only):
            token_maps("attention", mean, **options)
    with pytest.raises(ValueError, match=r"there is no head 2: there are 2"):
        found.get_attention_heatmap_for_token(0, head_indices=[2])


def test_pairs_give_the_maps_of_their_heads_and_no_others(full: Capture, pairs: Capture) -> None:
    found = AttentionProcessor(pairs)
    assert (pairs.layers, pairs.head_count, pairs.keep) == ((0, 5), HEADS, tuple(sorted(PAIRS)))
    for layers, heads, chosen in (
        (None, None, PAIRS),
        ([5], None, [(5, 0), (5, 1)]),
        ([5], [1], [(5, 1)]),
        ([0], [1], [(0, 1)]),
        ([0, 5], [1], [(0, 1), (5, 1)]),
    ):
        heat = found.get_attention_heatmap_for_token([2, 7], layers, heads)
        assert_mean(heat, mean_of_pairs(full, [2, 7], chosen))
        assert heat.sum() == pytest.approx(found.shares([2, 7], layers, heads)[0], abs=1e-5)
    highest = np.max([slow_map(full.attention, [2], [at], [head], "mean") for at, head in PAIRS], axis=0)
    assert_mean(found.get_attention_heatmap_for_token(2, aggregation="max"), highest)
    for layers, heads, named in (([0], [0], "0 of layer 0"), (None, [0, 1], "0 of layer 0")):
        kept = r"layer\.head 0\.1, 5\.0, 5\.1"
        message = f"^Head {named} was not kept with this answer, but {kept}: {ASK_AGAIN}"
        with pytest.raises(ValueError, match=message):
            found.get_attention_heatmap_for_token(0, layers, heads)
        with pytest.raises(ValueError, match=message):
            token_maps("attention", pairs, layers=layers, heads=heads)
    with pytest.raises(ValueError, match="layer 2 was not recorded; recorded are 0, 5"):
        found.get_attention_heatmap_for_token(0, [2])


def test_shares_by_layer_are_those_of_the_heads_that_a_map_is_made_of(full: Capture, pairs: Capture) -> None:
    shares = full.shares.numpy()
    expected = np.stack([shares[:, 0, 1], shares[:, 2].mean(1)], axis=1)  # (token, layer, 3)
    found = AttentionProcessor(pairs)
    assert_mean(found.all_layer_shares(), expected)
    assert_mean(found.layer_shares([1, 6]), expected[[1, 6]].mean(0))
    assert_mean(found.all_layer_shares([0])[:, 0], shares[:, 0, 0])
    prompt = full.prompt_shares.numpy()
    expected = np.stack([prompt[:, 0, 1], prompt[:, 2].mean(1)], axis=1)
    assert_mean(found.all_layer_shares(of_prompt=True), expected)


# --- Methods ---


def test_attention_names_what_it_was_made_of(mean: Capture, pairs: Capture) -> None:
    settings = token_maps("attention", mean).settings
    assert (settings["layers"], settings["heads"]) == (list(RECORDED), [0, 1])
    found = token_maps("attention", pairs)
    assert found.settings["pairs"] == [[0, 1], [5, 0], [5, 1]]
    assert found.line == "layer.head 0.1, 5.0, 5.1"
    one = token_maps("attention", pairs, layers=[5])
    assert (one.settings["layers"], one.settings["heads"]) == ([5], [0, 1])


def test_pairs_of_every_head_give_what_all_give(full: Capture) -> None:
    every = reduced(full, EVERY)
    maps, asked = noisy(TOKENS, 0), noisy(PROMPT_TOKENS, 1)
    for each in (maps, asked):
        each[:, 8] *= 20
    planted = capture_of(maps, asked)
    sinks = sink_patches(reduced(planted, EVERY))
    assert [sink.patch for sink in sinks] == [8]
    assert sinks == sink_patches(planted)
    found, truth = token_maps("attention", every), token_maps("attention", full)
    np.testing.assert_array_equal(found.maps, truth.maps)
    assert found.settings == truth.settings


@pytest.mark.parametrize("keep", ["head-mean", PAIRS])
def test_what_needs_all_heads_is_refused(full: Capture, keep: Any) -> None:
    capture = reduced(full, keep)
    for name in ("heads-3", "heads-5", "heads-8"):
        line = f"^{METHODS[name].label}: it looks among all heads, .*: {ASK_AGAIN}$"
        with pytest.raises(ValueError, match=line):
            token_maps(name, capture)
    reason = heads_refusal(capture)
    with pytest.raises(ValueError, match=re.escape(reason)):
        rank_heads(capture)
    with pytest.raises(ValueError, match=re.escape(reason)):
        viewer.heads_payload(capture, [0])
    if keep == "head-mean":
        with pytest.raises(ValueError, match="only the mean over all heads was kept"):
            sink_patches(capture)
    assert heads_refusal(full) == ""
    named = {name for name, method in METHODS.items() if method.refusal(capture) and not method.needs}
    assert named == {"heads-3", "heads-5", "heads-8", *(["relative"] if keep == "head-mean" else [])}


@pytest.mark.parametrize("method", ["rollout", "gradient-attention"])
def test_methods_that_read_again_do_not_need_what_was_kept(small: tuple[Any, Any], method: str) -> None:
    whole = answer()
    truth = maps_of(small, method)
    for keep in ("head-mean", [(4, 1)]):
        found = maps_of(small, method, capture=reduced(whole, keep))
        assert_mean(found.maps, truth.maps)
        assert found.settings == truth.settings


def test_relative_attention_is_of_the_heads_that_were_kept(small: tuple[Any, Any]) -> None:
    whole, chosen = answer(), [(2, 0), (4, 1), (4, 3)]
    found = maps_of(small, "relative", capture=reduced(whole, chosen))
    truth = maps_of(small, "relative", pairs=chosen)
    assert_mean(found.maps, truth.maps)
    assert found.settings["pairs"] == [list(pair) for pair in chosen]
    with pytest.raises(
        ValueError, match=r"^Relative attention: it takes each head by itself, and only .* mean"
    ):
        maps_of(small, "relative", capture=reduced(whole, "head-mean"))


# --- What is shown ---


def test_all_heads_of_a_selection_are_those_that_were_kept(mean: Capture, pairs: Capture) -> None:
    assert parsed_selection(mean).heads == (0, 1)
    assert parsed_selection(pairs).heads is None
    assert parsed_selection(pairs, layers="5", heads="0").heads == (0,)
    for capture, text in ((mean, "0-1 of 0-1"), (pairs, "layer.head 0.1, 5.0, 5.1, which were kept")):
        selection = parsed_selection(capture)
        subject = Subject(capture, selection, selected_maps(capture, selection))
        assert facts(subject)["Heads"] == text
        arrays = arrays_of([subject], {})
        assert arrays["maps"].shape == (TOKENS, *GRID)
        if capture is pairs:
            assert arrays["pairs"].tolist() == [[0, 1], [5, 0], [5, 1]]
        else:
            assert arrays["heads"].tolist() == [0, 1]
    assert kept_pairs(pairs, [5]) == [(5, 0), (5, 1)]
    assert short_id(mean) != short_id(pairs)


def test_the_viewer_says_why_there_is_no_map_of_each_head(
    full: Capture, mean: Capture, pairs: Capture
) -> None:
    for capture, heads, name in (
        (mean, [0, 1], "attention"),
        (pairs, [], "attention · layer.head 0.1, 5.0, 5.1"),
        (full, [0, 1], "attention"),
    ):
        payload = viewer.payload(capture, None, *selected_maps(capture, parsed_selection(capture)))
        settings = payload["settings"]
        assert (settings["heads"], settings["head_count"]) == (heads, HEADS)
        assert settings["heads_refused"] == heads_refusal(capture)
        assert payload["method"]["name"] == name
        refused = {row["name"] for row in payload["methods"] if row["refused"]}
        assert ("heads-3" in refused) == (capture is not full)
        shares = AttentionProcessor(capture).shares(4)
        assert payload["answer"]["shares"][4] == pytest.approx(shares, abs=6e-5)
        by_layer = AttentionProcessor(capture).layer_shares(4)
        assert np.allclose(payload["answer"]["layer_shares"][4], by_layer, atol=6e-5)
