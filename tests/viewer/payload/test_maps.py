"""The viewer's data: maps; texts and shares; picture and colours."""

import base64
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from attention_processor import AttentionProcessor
from drawing.characters import plain_text
from drawing.colours import palette
from records.look import Look
from records.words import Word
from tests.attention_processor.kit import (
    ASKED,
    GRID,
    LAYERS,
    PROMPT_TOKENS,
    RECORDED,
    TOKENS,
)
from tests.viewer.payload.kit import (
    FLAT,
    attention_of,
    maps_of,
    picture_of,
    read_back,
)
from viewer.payload import _segments, packed

# --- Maps ---


def test_every_tokens_map_is_read_back_to_a_65535th_of_its_range(capture: Any, made: dict[str, Any]) -> None:
    processor = AttentionProcessor(capture)
    for name, count, fold in (
        ("answer", TOKENS, processor.get_attention_heatmap_for_token),
        ("prompt", PROMPT_TOKENS, processor.get_attention_heatmap_for_prompt_token),
    ):
        maps = read_back(made[name]["maps"])
        assert maps.shape == (count, GRID[0] * GRID[1])
        for token in range(count):
            truth = fold(token, [0, 5], [1], "max").astype(np.float64).ravel()  # row by row
            span = truth.max() - truth.min()
            assert np.abs(maps[token] - truth).max() <= 0.51 * span / 65535
            assert maps[token].min() == pytest.approx(truth.min(), rel=1e-12)
            assert maps[token].max() == pytest.approx(truth.max(), rel=1e-12)


def test_the_mean_over_tokens_is_the_processors_map_of_several(capture: Any, image: Image.Image) -> None:
    mean = read_back(viewer.payload(capture, image, *attention_of(capture))["answer"]["maps"])[
        [2, 3, 4]
    ].mean(0)
    truth = AttentionProcessor(capture).get_attention_heatmap_for_token([2, 3, 4])
    assert np.abs(mean.reshape(GRID) - truth).max() < 1e-5 * truth.max()


def test_a_flat_map_and_no_map_at_all_are_packed() -> None:
    flat = read_back(packed(np.full((2, 3), 0.25)))
    assert (flat == 0.25).all()
    assert packed(np.zeros((0, 35))) == {"data": "", "bits": 16, "low": [], "high": []}


@pytest.mark.parametrize("wrong", [np.zeros((TOKENS, 7, 5)), np.zeros((TOKENS + 1, 5, 7))])
def test_maps_of_another_shape_are_refused(capture: Any, image: Image.Image, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected maps of shape \(11, 5, 7\)"):
        viewer.payload(capture, image, maps_of(wrong))


def test_maps_with_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        packed(np.full((TOKENS, 3), np.nan))


# --- Texts and shares ---


@pytest.mark.parametrize("kind", ["words", "pieces"])
def test_segments_spell_the_texts_and_name_every_token(made: dict[str, Any], kind: str) -> None:
    for name, count in (("answer", TOKENS), ("prompt", PROMPT_TOKENS)):
        side = made[name]
        assert "".join(segment["text"] for segment in side[kind]) == side["text"]
        picked = [token for segment in side[kind] for token in segment.get("tokens", [])]
        assert set(picked) == set(range(count))


def test_words_are_the_processors(capture: Any, made: dict[str, Any]) -> None:
    words = [(one.text, list(one.tokens)) for one in AttentionProcessor(capture).words()]
    shown = [(one["text"], one["tokens"]) for one in made["answer"]["words"] if "tokens" in one]
    assert shown == words
    assert [one["tokens"] for one in made["answer"]["pieces"] if "tokens" in one] == [
        [i] for i in range(TOKENS)
    ]
    assert made["answer"]["words"][-1]["sign"] == "↵"
    assert made["prompt"]["tokens"] == [plain_text(text) for text in ASKED]


def test_pieces_of_a_split_character_have_a_sign_and_no_text_of_their_own() -> None:
    text, spans = "你 a", ((0, 1), (0, 1), (1, 3), (3, 3))
    shown = ("⟨E4 BD⟩", "⟨A0⟩", " a", "<|im_end|>")
    words = [Word(shown[i], (i,), *span) for i, span in enumerate(spans)]
    assert _segments(text, words) == [
        {"text": "你", "tokens": [0]},
        {"text": "", "tokens": [1], "sign": "⟨A0⟩"},
        {"text": " "},
        {"text": "a", "tokens": [2]},
        {"text": "", "tokens": [3], "sign": "<|im_end|>"},
    ]


def test_shares_are_the_processors_for_the_chosen_layers_and_heads(
    capture: Any, made: dict[str, Any]
) -> None:
    processor = AttentionProcessor(capture)
    for name, count, shares in (
        ("answer", TOKENS, processor.shares),
        ("prompt", PROMPT_TOKENS, processor.prompt_shares),
    ):
        for token in range(count):
            assert made[name]["shares"][token] == pytest.approx(shares(token, [0, 5], [1]), abs=6e-5)
            by_layer = [shares(token, [layer], [1]) for layer in RECORDED]
            assert np.allclose(made[name]["layer_shares"][token], by_layer, atol=6e-5)
    assert made["layers"] == list(RECORDED)
    assert made["answer"]["probabilities"] == pytest.approx(np.exp(capture.logprobs.numpy()))


def test_a_layer_that_is_not_there_is_refused(capture: Any, image: Image.Image) -> None:
    with pytest.raises(ValueError, match=f"no layer {LAYERS}"):
        viewer.payload(capture, image, maps_of(FLAT.maps, settings={"layers": [LAYERS]}))


# --- Picture and colours ---


def test_a_small_drawing_arrives_as_it_is(capture: Any) -> None:
    drawing = Image.new("RGB", (196, 140), (200, 30, 40))
    drawing.paste((20, 90, 220), (0, 0, 98, 70))
    picture = picture_of(viewer.payload(capture, drawing, FLAT))
    assert np.array_equal(np.asarray(picture.convert("RGB")), np.asarray(drawing))


def test_a_large_picture_is_at_most_1280_pixels_wide_and_nearly_the_same(capture: Any) -> None:
    rough = np.random.default_rng(5).integers(0, 255, (30, 50, 3), dtype=np.uint8)
    large = Image.fromarray(rough).resize((2000, 1200), Image.Resampling.BICUBIC)
    picture = picture_of(viewer.payload(capture, large, FLAT))
    assert picture.size == (1280, 768)
    expected = np.asarray(large.resize((1280, 768), Image.Resampling.LANCZOS), np.int16)
    assert np.abs(np.asarray(picture.convert("RGB"), np.int16) - expected).mean() < 2


def test_palettes_have_256_colours_lowest_first_and_the_starting_one_is_among_them(
    capture: Any, image: Image.Image
) -> None:
    look = Look(colormap="tab10", alpha=0.25, view="heatmap", smooth=True)
    data = viewer.payload(capture, image, FLAT, look=look, scale="shared")
    assert list(data["palettes"]) == [*viewer.COLORMAPS, "tab10"]
    for name, colours in data["palettes"].items():
        table = np.frombuffer(base64.b64decode(colours), np.uint8).reshape(256, 3)
        assert (table[[0, 255]] == palette(name)[[0, -1]]).all()
    viridis = np.frombuffer(base64.b64decode(data["palettes"]["viridis"]), np.uint8).reshape(256, 3)
    assert (viridis == palette("viridis")).all()
    expected = {
        "colormap": "tab10",
        "opacity": 0.25,
        "contrast": 0.0,
        "view": "heatmap",
        "cells": "smooth",
        "scale": "shared",
    }
    assert data["look"] == expected
