"""The viewer's data against the capture, read back independently; its report: escaping and policy."""

import base64
import hashlib
import html.parser
import io
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from attention_processor import AttentionProcessor
from drawing.characters import plain_text
from drawing.colours import palette
from methods import METHODS, selected_maps, token_maps, without_sinks
from methods.sinks import Sink
from records.look import Look
from records.selection import Selection
from records.token_maps import TokenMaps
from records.words import Word
from tests.test_attention_processor import (
    ASKED,
    GRID,
    HEADS,
    LAYERS,
    PROMPT_TOKENS,
    RECORDED,
    TOKENS,
    made_capture,
)
from viewer.payload import _segments, packed

EVIL = '</script><img src=x onerror="alert(1)"><!-- \u2028 &amp; é'


@pytest.fixture(scope="module")
def capture() -> Any:
    return made_capture()


@pytest.fixture(scope="module")
def image() -> Image.Image:
    return Image.fromarray(np.random.default_rng(3).integers(0, 255, (140, 196, 3), dtype=np.uint8))


def attention_of(capture: Any, *chosen: Any) -> list[TokenMaps]:
    """Return attention maps of answer and prompt, over chosen layers and heads."""
    options = dict(zip(("layers", "heads", "aggregation"), chosen, strict=False))
    return [token_maps("attention", capture, of_prompt=side, **options) for side in (False, True)]


def maps_of(values: np.ndarray, method: str = "attention", **parts: Any) -> TokenMaps:
    """Return values (token, h, w) as the maps of an answer."""
    return TokenMaps(method, tuple(range(len(values))), values.astype(np.float32), **parts)


FLAT = maps_of(np.zeros((TOKENS, *GRID)))


@pytest.fixture(scope="module")
def made(capture: Any, image: Image.Image) -> dict[str, Any]:
    """A payload that went through JSON."""
    data = viewer.payload(capture, image, *attention_of(capture, [0, 5], [1], "max"))
    return json.loads(json.dumps(data, allow_nan=False))


def read_back(packed: dict[str, Any]) -> np.ndarray:
    """Return the packed numbers (row, value), by the words of viewer/payload.py."""
    kind = {8: "<u1", 16: "<u2"}[packed["bits"]]
    numbers = np.frombuffer(base64.b64decode(packed["data"], validate=True), kind)
    low, high = (np.array(packed[name], np.float64)[:, None] for name in ("low", "high"))
    return low + numbers.reshape(len(low), -1) / (2 ** packed["bits"] - 1) * (high - low)


# --- Maps ---------------------------------------------------------------------------------------------------


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
    with pytest.raises(ValueError, match=r"expected maps \(token, h, w\) of shape \(11, 5, 7\)"):
        viewer.payload(capture, image, maps_of(wrong))


def test_maps_with_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        packed(np.full((TOKENS, 3), np.nan))


# --- Texts and shares ---------------------------------------------------------------------------------------


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


# --- Picture and colours ------------------------------------------------------------------------------------


def picture_of(made: dict[str, Any]) -> Image.Image:
    match = re.fullmatch(r"data:image/(png|jpeg);base64,([\w+/=]+)", made["picture"]["url"])
    assert match is not None
    picture = Image.open(io.BytesIO(base64.b64decode(match[2])))
    assert picture.size == (made["picture"]["width"], made["picture"]["height"])
    return picture


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


# --- Of a selection -----------------------------------------------------------------------------------------

MADE = maps_of(
    np.random.default_rng(8).normal(size=(TOKENS, *GRID)),
    "gradient-norm",
    settings={"layers": [1, 3], "num_samples": 1, "noise_std": 0.0},
)
CHOSEN = Selection(layers=(0, 5), heads=(1,), aggregation="max")


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
        "values": "gradient norm",
        "unit": "",
        "caveat": METHODS["gradient-norm"].caveat,
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
    assert {**bare, "picture": viewer.picture_payload(image)} == whole
    assert viewer.picture_payload(image) == whole["picture"]


def test_the_contrast_of_a_look_is_in_powers_of_two(capture: Any) -> None:
    for gamma, contrast in ((1.0, 0.0), (2.0, 1.0), (0.25, -2.0)):
        look = Look(gamma=gamma)
        assert viewer.payload(capture, None, FLAT, look=look)["look"]["contrast"] == contrast


# --- Layers × heads, and leaned -----------------------------------------------------------------------------


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


# --- The report ---------------------------------------------------------------------------------------------


class Parts(html.parser.HTMLParser):
    """The elements of a document, each with the text right after its start, as a parser meets them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.comments: list[str] = []
        self.open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.elements[-1][2].append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """Return the texts of these elements; without attributes asked for, of those that have none."""
        return [
            "".join(texts)
            for name, attrs, texts in self.elements
            if name == tag and (attributes.items() <= attrs.items() if attributes else not attrs)
        ]


@pytest.fixture(scope="module")
def evil(image: Image.Image) -> dict[str, Any]:
    """A payload in which everything that a model or a visitor writes tries to break out."""
    ends = (*[(0, 0)] * (TOKENS - 1), (0, len(EVIL)))
    changed = {
        "tokens": tuple(f"{EVIL}{i}" for i in range(TOKENS)),
        "text": EVIL,
        "token_spans": ends,
        "prompt": EVIL,
        "prompt_token_spans": tuple((0, len(EVIL)) for _ in range(PROMPT_TOKENS)),
        "model_name": EVIL,
    }
    return viewer.payload(made_capture(**changed), image, FLAT)


def test_a_report_gives_the_data_back_and_lets_nothing_break_out(evil: dict[str, Any]) -> None:
    text = viewer.report(evil)
    parts = Parts(text)
    (data,) = parts.texts("script", id="payload")
    assert json.loads(data) == json.loads(json.dumps(evil))
    assert not set(data) & set("<>&\u2028")
    assert data.isascii()
    assert parts.comments == []
    assert {tag for tag, *_ in parts.elements}.isdisjoint({"img", "iframe", "object", "link", "base"})
    assert not any(
        name.startswith("on") or name == "style" for _, attrs, _ in parts.elements for name in attrs
    )
    assert parts.texts("title")[0].strip() == "Where each word looks"
    assert "".join(parts.texts("dd")).count(EVIL) == 3  # model, question, answer


def test_the_policy_allows_the_reports_own_script_and_style_by_their_hashes(evil: dict[str, Any]) -> None:
    parts = Parts(viewer.report(evil))
    (policy,) = (attrs["content"] for _, attrs, _ in parts.elements if attrs.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    (script,) = parts.texts("script")
    (style,) = parts.texts("style")

    def digest(source: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_report_says_what_it_shows(made: dict[str, Any]) -> None:
    text = "\n".join(Parts(viewer.report(made)).texts("dd"))
    for line in (
        "made",
        "attention: share of attention",
        "0, 5",
        "max",
        "own: each map from its lowest to its highest value",
        "5 × 7 cells over 196 × 140 pixels",
        METHODS["attention"].caveat,
    ):
        assert line in text


def test_a_method_without_heads_names_none_and_keeps_the_shares_of_all(
    capture: Any, image: Image.Image
) -> None:
    maps = maps_of(np.random.default_rng(1).random((TOKENS, *GRID)), "grad-cam", settings={"layers": [2]})
    data = viewer.payload(capture, image, maps)
    shares = AttentionProcessor(capture).shares(4)
    assert data["answer"]["shares"][4] == pytest.approx(shares, abs=6e-5)
    parts = Parts(viewer.report(data))
    assert not {"Layers", "Heads", "Folded by"} & set(parts.texts("dt"))
    assert any("Grad-CAM · layers 2" in text for text in parts.texts("dd"))


def test_the_sources_ask_for_nothing_and_can_be_put_into_a_page() -> None:
    assets = viewer.assets()
    assert set(assets) == {"html", "css", "js"}
    for source in assets.values():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", source)
        assert not re.search(r"</script|<!--", source, re.IGNORECASE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", assets["js"])
    # Gradio reads these two as templates
    assert not re.search(r"\$\{|\{\{", assets["html"] + assets["css"])
    assert " id=" not in assets["html"]
    rules = re.sub(r"/\*.*?\*/", "", assets["css"], flags=re.DOTALL)
    selectors = [line for line in rules.splitlines() if re.match(r"\s*[.\w\[]", line) and "{" in line]
    assert all(line.strip().startswith((".lens-viewer", ".dark .lens-viewer")) for line in selectors)
