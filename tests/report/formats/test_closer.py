"""Files to take away: a closer look, whose last picture is a part of another."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from records.capture import Capture
from records.closer import with_crop
from records.crops import Crop
from records.look import Look
from report.formats import export
from report.parts import parts_of, sheet
from report.view import facts
from tests.about import answer_about, made_picture
from tests.report.formats.kit import ALL, of, texts_of
from visualization import fitted

BOX, SIDE = (10, 20, 66, 76), 28  # seen in 2 x 2 visual tokens
SAID = "picture 2 of 2 is the part 10,20,66,76 (left, top, right, bottom in pixels) of picture 1 of 2."


@pytest.fixture(scope="module")
def closer() -> Capture:
    """A picture of 336 x 252 pixels, seen in 112 x 84, and a part of it, seen in all its pixels."""
    whole = made_picture((3, 4), 1, side=3 * SIDE)
    found = answer_about([whole, whole.crop(BOX)], [(1, 3, 4), (1, 2, 2)], settings={"cell": SIDE})
    return with_crop(found, Crop(1, 0, BOX))


def test_a_picture_shows_the_part_beside_the_whole(closer: Capture, tmp_path: Path) -> None:
    clear = replace(ALL, look=Look("viridis", alpha=0))  # nothing of the map on the pictures
    subject = of(closer, clear)
    boxes = sheet(subject, parts_of(subject, closer.pictures)).info["boxes"]
    with Image.open(export("png", subject, None, tmp_path).path) as file:
        part = np.asarray(file.convert("RGB").crop(boxes[1]))
    high, wide = part.shape[:2]
    whole = closer.pictures[0]
    assert isinstance(whole, Image.Image)
    expected = fitted(Image.fromarray(np.asarray(whole)[20:76, 10:66]), max(wide, high), max(wide, high))
    np.testing.assert_array_equal(part, np.asarray(expected))


def test_every_file_says_what_it_is(closer: Capture, tmp_path: Path) -> None:
    gain = "The crop shows 3.0 times the detail, along each side."
    assert facts(of(closer, ALL))["Closer look"] == f"{SAID} {gain}"
    for kind in ("png", "zip"):
        made = export(kind, of(closer, ALL), None, tmp_path)
        assert any(" ".join(SAID.split()[:6]) in " ".join(text.split()) for text in texts_of(made.path)), kind
    # An NPZ has it among its settings.
    with np.load(export("npz", of(closer, ALL), None, tmp_path).path) as made:
        assert '"crop": {"visual": 1, "of": 0, "box": [10, 20, 66, 76]}' in str(made["settings"])
        assert made["maps_2"].shape[1:] == (2, 2)


def test_an_answer_of_an_unknown_cell_says_no_gain(closer: Capture) -> None:
    settings = {name: value for name, value in closer.settings.items() if name != "cell"}
    assert facts(of(replace(closer, settings=settings), ALL))["Closer look"] == SAID
    plain = {name: value for name, value in closer.settings.items() if name != "crop"}
    assert "Closer look" not in facts(of(replace(closer, settings=plain), ALL))
