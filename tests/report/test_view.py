"""Maps of another method in every file: what the file says of them, and the numbers in it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import visualization
from attention_processor import AttentionProcessor
from drawing.colour_bar import number_labels
from methods import METHODS, selected_maps
from records.capture import Capture
from records.look import Look
from records.selection import Selection
from records.token_maps import TokenMaps
from report.formats import export
from report.view import UNPROVEN, Subject, coloured, drawings, facts, whole_drawing
from tests.attention_processor.kit import GRID, HEADS, RECORDED, TOKENS, made_capture
from tests.report.formats.kit import CAVEAT, WORDS, texts_of
from tests.viewer.payload.kit import Parts, read_back

MADE = TokenMaps(
    method="occlusion",
    tokens=tuple(range(TOKENS)),
    maps=np.random.default_rng(7).normal(size=(TOKENS, *GRID)).astype(np.float32),
    settings={"size": 2},
)
CROSSED = replace(MADE, removed=(8, 19), settings={"size": 2, "sinks": [[8, 9.0], [19, 5.2]]})
HOW = "regions of 2 × 2 cells"
ALL = Selection(layers=RECORDED, heads=tuple(range(HEADS)), method="occlusion", look=Look("magma", 0.4))


def of(capture: Capture, selection: Selection = ALL, made: TokenMaps = MADE) -> Subject:
    """Return what files are written of, with maps that were computed before."""
    return Subject(capture, selection, selected_maps(capture, selection, {"occlusion": made}))


@pytest.fixture(scope="module")
def capture() -> Capture:
    return made_capture()


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """A picture of 196 x 140 pixels."""
    return Image.fromarray(np.random.default_rng(3).integers(0, 256, (140, 196, 3), dtype=np.uint8))


def squeezed(text: str) -> str:
    return "".join(text.split())


def html_texts(path: Path) -> tuple[list[str], dict[str, Any]]:
    """Return what a reader of the page sees, and the data that its viewer shows."""
    parts = Parts(path.read_text("utf-8"))
    (data,) = parts.texts("script", id="payload")
    return ["\n".join(parts.texts("dd"))], json.loads(data)


# --- What a file says ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["png", "pdf", "zip", "npz", "html"])
def test_every_file_names_the_method_its_unit_and_its_own_caveat(
    kind: str, capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    path = export(kind, of(capture), image, tmp_path).path
    texts = html_texts(path)[0] if kind == "html" else texts_of(path)
    assert len(texts) == (len(WORDS) + 1 if kind == "zip" else 1)
    for text in map(squeezed, texts):
        unit = "" if kind == "html" else "(nats)"  # which stands at its viewer's numbers
        values = f"fall in log-probability {unit}"
        for part in ("Occlusion", values, HOW, METHODS["occlusion"].caveat, "made", "Who is there?"):
            assert squeezed(part) in text, part
        for part in (CAVEAT, "mean over layers and heads"):
            assert squeezed(part) not in text


def test_facts_are_the_methods_and_attention_keeps_its_own(capture: Capture) -> None:
    said = facts(of(capture))
    assert (said["Method"], said["Settings"]) == ("Occlusion", HOW)
    assert said["Values"] == "fall in log-probability (nats)"
    assert said[UNPROVEN] == METHODS["occlusion"].caveat
    assert not {"Layers", "Heads"} & set(said)
    assert of(capture).found.line == "Occlusion · regions of 2 × 2 cells"
    shares = replace(ALL, method="heads-3")
    assert facts(of(capture, shares))["Values"] == "share of attention"  # in per cent wherever it is printed
    attention = facts(of(capture, replace(ALL, method="attention")))
    assert not {"Values", "Settings"} & set(attention)
    assert attention[UNPROVEN] == CAVEAT


def test_a_document_has_each_words_range_in_the_methods_unit(
    capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    (text,) = texts_of(export("pdf", of(capture), image, tmp_path).path)
    for word in AttentionProcessor(capture).words():
        heat = MADE.maps[list(word.tokens)].mean(axis=0)
        low, high = number_labels([heat.min(), heat.max()], "nats")
        assert squeezed(f"colours from {low} to {high}") in squeezed(text)
        assert low.startswith("−")


# --- Maps ---------------------------------------------------------------------------------------------------


def test_a_words_map_is_the_mean_of_its_tokens(capture: Capture) -> None:
    words = AttentionProcessor(capture).words()
    found = drawings(of(capture))
    assert [one.text for one in found] == [word.text for word in words] == WORDS
    assert max(len(word.tokens) for word in words) == 2
    for word, one in zip(words, found, strict=True):
        slow = np.zeros(GRID)
        for token in word.tokens:
            slow += MADE.maps[token].astype(np.float64) / len(word.tokens)
        np.testing.assert_allclose(one.values, slow, rtol=1e-6, atol=1e-7)
        assert (one.scale_label, one.unit) == ("fall in log-probability", "nats")
        assert one.on_image == pytest.approx(float(AttentionProcessor(capture).shares(word.tokens)[0]))
    for token, one in enumerate(drawings(of(capture, replace(ALL, by="token")))):
        np.testing.assert_array_equal(one.values, MADE.maps[token])
    whole = whole_drawing(of(capture))
    np.testing.assert_allclose(whole.values, MADE.maps.mean(axis=0), rtol=1e-6)
    chosen = whole_drawing(of(capture, replace(ALL, tokens=(1, 4, 9))))
    np.testing.assert_allclose(chosen.values, MADE.maps[[1, 4, 9]].mean(axis=0), rtol=1e-5, atol=1e-7)


def test_numbers_in_a_file_are_the_maps(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    with np.load(export("npz", of(capture), image, tmp_path).path) as arrays:
        np.testing.assert_array_equal(arrays["maps"], MADE.maps)
        assert json.loads(str(arrays["axes"]))["maps"] == ["token", "h", "w"]
        words = AttentionProcessor(capture).words()
        means = np.stack([MADE.maps[list(word.tokens)].mean(axis=0) for word in words])
        np.testing.assert_array_equal(arrays["word_maps"], means)
        assert "prompt_word_maps" not in arrays  # the method says nothing of the question
        assert str(arrays["caveat"]) == METHODS["occlusion"].caveat
    chosen = replace(ALL, tokens=(2, 6))
    with np.load(export("npz", of(capture, chosen), image, tmp_path).path) as arrays:
        np.testing.assert_array_equal(arrays["maps"], MADE.maps[[2, 6]])
        assert arrays["token_positions"].tolist() == [2, 6]


def test_a_page_to_explore_shows_the_maps_and_crosses_out(
    capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    _, data = html_texts(export("html", of(capture, made=CROSSED), image, tmp_path).path)
    found = read_back(data["answer"]["maps"]).reshape(TOKENS, *GRID)
    assert np.abs(found - MADE.maps).max() <= 0.51 * np.ptp(MADE.maps) / 65535
    assert data["prompt"]["maps"] is None
    assert data["removed"] == [8, 19]
    assert data["method"] == {
        "name": f"Occlusion without sinks · {HOW} · "
        "2 sinks left out: row 1 column 1 (9 ×), row 2 column 5 (5 ×)",
        "id": "occlusion",
        "key": CROSSED.key,
        "values": "fall in log-probability",
        "unit": "nats",
        "caveat": METHODS["occlusion"].caveat,
        "sinks": False,
    }


def test_words_of_the_question_are_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="Occlusion explains words of the answer, not") as caught:
        replace(ALL, of_prompt=True, tokens=(1,))
    assert len(str(caught.value).splitlines()) == 1


# --- Colours ------------------------------------------------------------------------------------------------


def test_a_shared_scale_is_over_the_methods_tokens_and_no_words_of_the_question(capture: Capture) -> None:
    look = coloured(of(capture, replace(ALL, scale="shared", tokens=(3,)), CROSSED))
    assert (look.vmin, look.vmax) == (float(MADE.maps.min()), float(MADE.maps.max()))
    assert look.crossed == (8, 19)
    own = coloured(of(capture, made=CROSSED))
    assert own == replace(ALL.look, crossed=(8, 19))
    assert coloured(of(capture)) == ALL.look


def test_what_was_left_out_is_crossed_out_in_the_picture(
    capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    paths = [
        export("png", of(capture, made=made), image, tmp_path / name).path
        for name, made in (("plain", MADE), ("crossed", CROSSED))
    ]
    plain, crossed = (np.asarray(Image.open(path).convert("RGB"), int) for path in paths)
    figure = visualization.visualize_attention_on_image(
        image, whole_drawing(of(capture)).values, title=" ", subtitle=" ", min_side=640
    )
    left, top, right, bottom = figure.info["picture_box"]
    inside = (slice(top, bottom), slice(left, right))  # the texts around it name the sinks too
    rows, columns = np.nonzero((plain[inside] != crossed[inside]).any(axis=2))
    height, width = (bottom - top) / GRID[0], (right - left) / GRID[1]
    cells = {(int(row // height), int(column // width)) for row, column in zip(rows, columns, strict=True)}
    assert {(1, 1), (2, 5)} <= cells  # 8 and 19 of rows of 7
    far = [min(max(abs(row - r), abs(column - c)) for r, c in ((1, 1), (2, 5))) for row, column in cells]
    assert max(far) <= 1  # a line's ends may touch the next cell
