"""The viewer's data: of a selection; layers × heads, and leaned."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from attention_processor import AttentionProcessor
from methods import METHODS, selected_maps, without_sinks
from methods.sinks import Sink
from records.look import Look
from tests.attention_processor.kit import (
    GRID,
    HEADS,
    RECORDED,
    TOKENS,
)
from tests.viewer.payload.kit import CHOSEN, FLAT, MADE, attention_of, read_back

# --- Of a selection ---


def test_attention_of_a_selection_is_folded_over_its_layers_and_heads(
    capture: Any, image: Image.Image
) -> None:
    taken = selected_maps(capture, CHOSEN)
    assert taken.answer is not None
    assert taken.prompt is not None
    maps, prompt_maps = attention_of(capture, [0, 5], [1], "max")
    np.testing.assert_array_equal(taken.answer.maps, maps.maps)
    np.testing.assert_array_equal(taken.prompt.maps, prompt_maps.maps)
    assert viewer.leaned_on(capture, (0, 5)) != viewer.leaned_on(capture, (2,))
    data = viewer.payload(capture, image, *taken)
    assert data["settings"] == {
        "model": "made",
        "layers": [0, 5],
        "heads": [1],
        "head_count": HEADS,
        "heads_refused": "",
        "aggregation": "max",
    }
    assert data["method"]["name"] == "attention"
    assert data["removed"] == []


def test_maps_of_a_method_come_with_its_words_and_no_layers_and_heads(
    capture: Any, image: Image.Image
) -> None:
    taken = selected_maps(capture, replace(CHOSEN, method="gradient-norm"), {"gradient-norm": MADE})
    data = json.loads(json.dumps(viewer.payload(capture, image, *taken)))
    found = read_back(data["answer"]["maps"]).reshape(TOKENS, *GRID)
    for one, truth in zip(found, MADE.maps.astype(np.float64), strict=True):
        assert np.abs(one - truth).max() <= 0.51 * np.ptp(truth) / 65535
    assert data["prompt"]["maps"] is None
    assert data["method"] == {
        "name": "Gradient norm · layers 1,3",
        "id": "gradient-norm",
        "key": MADE.key,
        "values": "gradient norm",
        "unit": "",
        "caveat": METHODS["gradient-norm"].caveat,
        "sinks": False,
    }
    settings = data["settings"]
    assert (settings["layers"], settings["heads"], settings["aggregation"]) == ([], [], None)
    shares = AttentionProcessor(capture).shares(4)  # of all layers and heads
    assert data["answer"]["shares"][4] == pytest.approx(shares, abs=6e-5)


def test_what_was_removed_is_crossed_out(capture: Any) -> None:
    plain, _ = attention_of(capture)
    left = without_sinks(plain, [Sink(30, 9.0), Sink(4, 5.0)])
    data = viewer.payload(capture, None, left)
    assert data["removed"] == [4, 30]
    assert data["method"]["name"].startswith("Attention without sinks · layers 0,2,5 · heads 0-1 · mean · 2")


def test_a_payload_without_its_picture_is_the_same_but_for_that(capture: Any, image: Image.Image) -> None:
    taken = attention_of(capture)
    whole, bare = (viewer.payload(capture, one, *taken, pick="3") for one in (image, None))
    assert "picture" not in bare
    assert {**bare, "pictures": viewer.pictures_payload(image)} == whole
    assert viewer.pictures_payload(image) == whole["pictures"]


def test_a_picture_says_how_warm_it_is_and_glow_has_no_palette(capture: Any) -> None:
    for colour, warmth in (((226, 128, 40), 1.0), ((60, 110, 200), 0.0)):
        data = viewer.payload(capture, Image.new("RGB", (90, 60), colour), FLAT, look=Look())
        assert data["pictures"][0]["warmth"] == warmth
        assert (data["look"]["colormap"], data["look"]["opacity"], data["look"]["cells"]) == (
            "glow",
            1.0,
            "smooth",
        )
        assert list(data["palettes"]) == list(viewer.COLORMAPS)
    assert list(viewer.payload(capture, None, FLAT, look=Look("jet_r"))["palettes"])[-1] == "jet_r"


def test_the_contrast_of_a_look_is_in_powers_of_two(capture: Any) -> None:
    for gamma, contrast in ((1.0, 0.0), (2.0, 1.0), (0.25, -2.0)):
        look = Look(gamma=gamma)
        assert viewer.payload(capture, None, FLAT, look=look)["look"]["contrast"] == contrast


# --- Layers × heads, and leaned ---


def test_maps_of_layers_and_heads_are_in_order_with_the_means_first(capture: Any) -> None:
    processor = AttentionProcessor(capture)
    data = json.loads(json.dumps(viewer.heads_payload(capture, (3, 2))))
    assert data["pick"] == {"tokens": [2, 3], "of_prompt": False}
    assert (data["layers"], data["heads"]) == (list(RECORDED), HEADS)
    maps = read_back(data["maps"]).reshape(1 + len(RECORDED), 1 + HEADS, *GRID)
    for row, layers in enumerate([None, *([layer] for layer in RECORDED)]):
        for col, heads in enumerate([None, *([head] for head in range(HEADS))]):
            truth = processor.get_attention_heatmap_for_token([2, 3], layers, heads)
            assert np.abs(maps[row, col] - truth).max() <= 0.51 * np.ptp(truth) / 255 + 1e-7
            share = processor.shares([2, 3], layers, heads)[0]
            assert data["shares"][row][col] == pytest.approx(share, abs=6e-5)


def test_layers_and_heads_of_the_prompt(capture: Any) -> None:
    data = viewer.heads_payload(capture, [1], of_prompt=True)
    truth = AttentionProcessor(capture).get_attention_heatmap_for_prompt_token(1)
    assert np.abs(read_back(data["maps"])[0].reshape(GRID) - truth).max() <= 0.51 * np.ptp(truth) / 255


@pytest.mark.parametrize("tokens", [[], [TOKENS], [-1]])
def test_layers_and_heads_of_no_token_are_refused(capture: Any, tokens: list[int]) -> None:
    with pytest.raises(ValueError, match="choose tokens from 0 to 10"):
        viewer.heads_payload(capture, tokens)


def test_what_was_leaned_on_is_read_back() -> None:
    weights = np.random.default_rng(0).random((3, 4))
    data = viewer.leaned_payload(["<b>", "Who", " is", "A"], ["", "p0", "p1", "0"], weights)
    assert data["texts"] == ["<b>", "Who", " is", "A"]
    assert data["picks"] == ["", "p0", "p1", "0"]
    assert np.abs(read_back(data["weights"]) - weights).max() < 1e-5
    with pytest.raises(ValueError, match=r"for 1 texts and 1 picks; got shape \(3, 4\)"):
        viewer.leaned_payload(["a"], [""], weights)
