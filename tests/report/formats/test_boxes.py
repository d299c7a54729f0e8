"""Files to take away: the boxes of an answer in them."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawing.boxes import BLUE
from records.boxes import box_figures, boxes_in
from records.capture import Capture
from report.formats import export
from report.view import drawings, whole_drawing
from tests.records.test_boxes import PIXELS, answer_of, pieces_of
from tests.report.formats.kit import ALL, of, texts_of

TEXT = 'A [{"bbox_2d": [14, 28, 98, 70], "label": "cat"}, {"point_2d": [120, 3]}, {"bbox_2d": [3]}]'


@pytest.fixture(scope="module")
def answer() -> Capture:
    return answer_of(pieces_of(TEXT), PIXELS)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    return Image.new("RGB", (700, 300), (120, 120, 120))


def test_a_word_of_a_box_has_it_stand_out(answer: Capture) -> None:
    cat, point = boxes_in(answer)
    by_text = {one.text: one.boxes for one in drawings(of(answer, ALL))}
    assert by_text["cat"] == ((cat, point), (300, 700), (0,))
    assert by_text["120"].chosen == (1,)
    assert by_text["A"].chosen == ()
    assert whole_drawing(of(answer, ALL)).boxes.chosen == ()
    asked = of(answer, replace(ALL, of_prompt=True))
    assert all(one.boxes.chosen == () for one in drawings(asked))


@pytest.mark.parametrize("kind", ["png", "zip", "pdf", "gif"])
def test_every_file_says_where_they_are(
    kind: str, answer: Capture, picture: Image.Image, tmp_path: Path
) -> None:
    path = export(kind, of(answer, ALL), picture, tmp_path).path
    for text in texts_of(path):
        said = " ".join(text.split())
        assert "box 1 [50, 60, 350, 150]: cat; point 2 [429, 6]; 1 box could not be read" in said


def test_a_picture_has_them_and_says_how_the_map_lies_on_the_chosen_one(
    answer: Capture, picture: Image.Image, tmp_path: Path
) -> None:
    cat = boxes_in(answer)[0]
    selection = replace(ALL, tokens=cat.tokens)
    path = export("png", of(answer, selection), picture, tmp_path).path
    with Image.open(path) as drawn:
        blue = (np.asarray(drawn) == BLUE).all(-1)
    assert np.flatnonzero(blue.any(0)).min() == pytest.approx(50, abs=4)
    one = whole_drawing(of(answer, selection))
    assert one.boxes.chosen == (0,)
    found = box_figures(cat, one.values, (300, 700))
    assert found.chance == pytest.approx(300 * 90 / (300 * 700))
