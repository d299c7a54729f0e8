"""Any picture: what is whole shows what it should, what is not is refused in one clear line, in silence."""

import io
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import config
from records.pictures import TOO_MUCH_BESIDE, TURN_NOTE, ImageError, open_image
from tests.inputs import damage
from tests.inputs.kit import TIMES, left_in, refusal_of, silent
from tests.inputs.pictures import (
    HEIGHT,
    WIDTH,
    Picture,
    animated,
    every_format,
    packed,
    rotated,
    saved,
    scene,
    whole_pictures,
)
from tests.inputs.tally import Tally

CUT = ("The picture file is damaged or incomplete.", "The file is not a picture in a format that is read: ")
SIGNED = 16  # bytes from which on every format is known by its beginning


@pytest.fixture(autouse=True)
def _nothing_is_left(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing is written to the terminal, nor into the folders of the project."""
    folders = [Path(name) for name in (config.OUTPUT_DIR, config.CACHE_DIR)]
    before = left_in(*folders)
    yield
    silent(capfd)
    assert left_in(*folders) == before


def opened(data: bytes) -> Image.Image:
    return open_image(io.BytesIO(data))


def test_a_whole_picture_shows_what_it_should(tally: Tally) -> None:
    for picture in whole_pictures():
        if picture.shows is not None:
            picture.check(opened(picture.data))
            tally.right(picture.kind)
        else:
            assert refusal_of(ImageError, opened, picture.data), picture.name
            tally.refused(picture.kind)


def test_a_picture_that_is_cut_off_is_refused_unless_all_of_it_is_seen(tally: Tally) -> None:
    """Never half a picture over grey, and no "not a picture" of what begins as one."""
    for picture, data, whole in damage.cut_off():
        kind = "cut off at each tenth"
        try:
            found = opened(data)
        except ImageError:
            line = refusal_of(ImageError, opened, data) or ""
            assert line.startswith(CUT[0] if len(data) >= SIGNED else CUT), (picture.name, len(data))
            tally.refused(kind)
        else:
            assert np.array_equal(np.asarray(found), np.asarray(opened(whole))), (picture.name, len(data))
            tally.right(kind)


def test_headers_that_claim_too_much_are_refused_before_a_pixel_is_decoded(
    tally: Tally, monkeypatch: pytest.MonkeyPatch
) -> None:
    claiming = list(damage.headers())
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("the picture was decoded"))
    for name, data in claiming:
        line = refusal_of(ImageError, opened, data)
        assert line is not None, name
        if name not in damage.BROKEN_TOO:
            assert "100,000,000" in line, (name, line)
        tally.refused("headers that claim too much")


def test_what_bursts_is_refused_or_left_packed(tally: Tally) -> None:
    kind = "small files that burst"
    for name, data, _ in damage.bursting():
        line = refusal_of(ImageError, opened, data)
        if line is None:
            assert np.array_equal(np.asarray(opened(data)), scene() if "pixels" not in name else 0 * scene())
            tally.right(kind)
        else:
            assert line == TOO_MUCH_BESIDE, name
            tally.refused(kind)


def test_circles_and_endless_claims_come_to_an_end(tally: Tally) -> None:
    kind = "circles and endless claims"
    for name, data in damage.looping():
        line = refusal_of(ImageError, opened, data)
        if line is None:
            assert np.array_equal(np.asarray(opened(data)), scene()), name
            tally.right(kind)
        else:
            tally.refused(kind)


def test_what_is_no_picture_is_told_as_that_or_as_damaged(tally: Tally) -> None:
    for name, data in damage.no_pictures():
        line = refusal_of(ImageError, opened, data) or ""
        assert line.startswith(CUT), name
        tally.refused("no picture")


def test_names_say_nothing_of_what_is_in_a_file(tally: Tally, tmp_path: Path) -> None:
    """Every ending on every format; the content counts."""
    whole = [one for one in every_format() if one.name.startswith("RGB as") and one.shows is not None]
    for picture in whole:
        for ending in (".png", ".jpg", ".gif", ".heic", ".txt", ".exe", ".svg", ""):
            file = tmp_path / f"picture{ending}"
            file.write_bytes(picture.data)
            picture.check(open_image(file))
            tally.right("wrong endings")
    for file_name in (
        "none.png",
        "x" * 300,
        "x" * 10_000,
        "a\0b",
        "\ud800",
        "",
        ".",
        "..",
        "data:image/png;base64,AA",
    ):
        assert refusal_of(ImageError, open_image, tmp_path / file_name) is not None
        tally.refused("names of no file")
    assert {file.name for file in tmp_path.iterdir()} >= {"picture.png", "picture"}


def test_damaged_exif_leaves_the_picture_as_it_is_stored(tally: Tally) -> None:
    for data in (b"II" + bytes(100), b"MM\0*\0\0\0\x08\xff\xff" + b"\xff" * 60, b"nothing of the kind"):
        for image_format in ("PNG", "JPEG", "WEBP"):
            found = opened(saved(Image.fromarray(scene()), image_format, exif=data, quality=95))
            assert found.size == (WIDTH, HEIGHT)
            assert found.info.get("note", TURN_NOTE) == TURN_NOTE
            tally.right("damaged EXIF")


# --- Changed at random --------------------------------------------------------------------------------------

WHOLE: list[Picture] = [
    one for one in chain(every_format(), rotated(), animated(), packed()) if one.shows is not None
]
CHANGES = st.lists(st.tuples(st.floats(0, 1), st.sampled_from([0, 255]) | st.integers(0, 255)), min_size=1)


@settings(max_examples=400 * TIMES)
@given(st.sampled_from(WHOLE), CHANGES, st.sampled_from([64, 512, 10**9]))
def test_changed_bytes_make_a_picture_or_one_clear_line(
    tally: Tally, picture: Picture, changes: list[tuple[float, int]], within: int
) -> None:
    """`within` so many bytes of the beginning, where most of what decides stands."""
    data = bytearray(picture.data)
    for place, value in changes:
        data[int(place * (min(len(data), within) - 1))] = value
    judged(tally, "bytes changed at random", bytes(data))


@settings(max_examples=200 * TIMES)
@given(st.sampled_from(WHOLE), st.sampled_from(WHOLE), st.floats(0, 1), st.floats(0, 1))
def test_two_files_in_one_make_a_picture_or_one_clear_line(
    tally: Tally, one: Picture, other: Picture, left: float, right: float
) -> None:
    data = one.data[: int(left * len(one.data))] + other.data[int(right * len(other.data)) :]
    judged(tally, "two files in one", data)


def judged(tally: Tally, kind: str, data: bytes) -> None:
    """Count a file: a picture within the bounds, or a clear line."""
    found: list[Image.Image] = []
    if refusal_of(ImageError, lambda: found.append(opened(data))) is not None:
        tally.refused(kind)
        return
    assert found[0].mode == "RGB"
    assert min(found[0].size) >= config.MIN_IMAGE_SIDE
    assert found[0].width * found[0].height <= config.MAX_IMAGE_PIXELS
    assert set(found[0].info) <= {"note"}
    tally.right(kind)
