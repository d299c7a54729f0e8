"""Files to take away: pictures; text in pictures."""

import io
import json
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from PIL import Image

import visualization
from attention_processor import AttentionProcessor
from drawing import fonts
from drawing.colours import MARKED
from drawing.text import _broken, paragraph
from records.capture import Capture
from report.formats import export
from report.view import (
    coloured,
)
from tests.attention_processor.kit import ANSWER
from tests.report.formats.kit import (
    ALL,
    SOME,
    of,
)

# --- pictures ---


def test_a_picture_is_the_map_on_its_picture(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    view = replace(SOME, tokens=(5,), look=replace(SOME.look, view="side by side"))
    path = export("png", of(capture, view), image, tmp_path).path
    heat = AttentionProcessor(capture).get_attention_heatmap_for_token(5, [0, 5], [1], "max")
    expected = visualization.visualize_attention_on_image(
        image, heat, **asdict(view.look), title=" ", subtitle=" ", min_side=640
    )
    with Image.open(path) as picture:
        assert picture.height > expected.height  # the facts stand below
        below = np.asarray(picture)[expected.height :]
        for name in ("picture_box", "original_box", "bar_box"):
            box = expected.info[name]
            np.testing.assert_array_equal(np.asarray(picture.crop(box)), np.asarray(expected.crop(box)))
    assert (below < 200).any()


def test_an_archive_has_a_picture_of_each_token(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    path = export("zip", of(capture, replace(ALL, by="token", scale="shared")), image, tmp_path).path
    look = coloured(of(capture, replace(ALL, scale="shared")))
    processor = AttentionProcessor(capture)
    with zipfile.ZipFile(path) as packed:
        assert packed.testzip() is None
        about = json.loads(packed.read("about.json"))
        assert [one["text"] for one in about["pictures"]] == list(ANSWER)
        (h, w), scale = capture.grid, about["pictures"][4]
        assert (scale["lowest"], scale["highest"]) == (1 / (h * w), look.vmax)
        assert about["facts"]["Question"] == "Who is there?"
        for token, one in enumerate(about["pictures"]):
            heat = processor.get_attention_heatmap_for_token(token)
            expected = visualization.visualize_attention_on_image(
                image, heat, **asdict(look), title=" ", subtitle=" ", min_side=640
            )
            with Image.open(io.BytesIO(packed.read(one["file"]))) as picture:
                box = expected.info["picture_box"]
                np.testing.assert_array_equal(np.asarray(picture.crop(box)), np.asarray(expected.crop(box)))


# --- text in pictures ---


def test_a_paragraph_breaks_where_it_is_full() -> None:
    text = "one two three four " * 12 + "x" * 300
    for width in (120, 333):
        lines = _broken(text, width, 20)
        assert "".join(text[start:end] for start, end in lines) == text
        face = fonts.font(20)
        assert all(face.width(text[start:end].rstrip()) <= width for start, end in lines)
        first = text[slice(*lines[0])]
        assert first.endswith(" ")
        assert paragraph(text, width, 20).size[0] == width


def test_the_marked_word_is_always_in_view() -> None:
    text = " ".join(f"word{number}" for number in range(200))
    whole = paragraph(text, 300, 16, lines=3)
    for mark in [(0, 5), (600, 606), (len(text) - 7, len(text))]:
        shown = np.asarray(paragraph(text, 300, 16, mark=mark, lines=3))
        assert shown.shape[:2] == whole.size[::-1]
        assert (np.abs(shown.astype(int) - MARKED).max(-1) == 0).sum() > 50
