"""The picture that is chosen: an example by its number, or a file that was uploaded, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from page.hiding import hidden_name, without_half
from page.inputs import RefusedError
from page.sources import Sources, bytes_of, examples, opened
from tests.serving import noise


@pytest.fixture
def folder() -> Path:
    folder = Path(get_upload_folder()) / "sources"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def test_examples_are_opened_by_their_number() -> None:
    assert len(examples()) > 1
    for number, (path, prompt) in enumerate(examples()):
        with Image.open(path) as picture:
            assert np.array_equal(
                np.asarray(opened({"example": number})[0]), np.asarray(picture.convert("RGB"))
            )
        assert prompt.endswith((".", "?"))


def test_an_upload_is_opened_by_its_path(folder: Path) -> None:
    noise(3).save(folder / "own.png")
    assert np.array_equal(np.asarray(opened({"path": str(folder / "own.png")})[0]), np.asarray(noise(3)))


@pytest.mark.parametrize(
    "chosen",
    [
        None,
        [],
        "star.png",
        7,
        {},
        {"path": None},
        {"path": ""},
        {"path": 3},
        {"path": ["/etc/passwd"]},
        {"path": "/etc/passwd"},
        {"path": "/etc/passwd", "example": "0"},
        {"path": __file__},
        {"path": "../../etc/passwd"},
        {"path": "x" * 100_000},
        {"path": "a\0b"},
        {"example": -1},
        {"example": 999},
        {"example": True},
        {"example": 0.0},
        {"example": "0"},
        {"example": None},
        {"url": "file:///etc/passwd"},
    ],
)
def test_nothing_else_is_opened(chosen: Any) -> None:
    with pytest.raises(RefusedError) as caught:
        opened(chosen)
    line = str(caught.value)
    assert line in ("Choose a picture first.", "This picture is no longer here: choose it again.")


def test_no_way_leads_out_of_the_folder_of_uploads(folder: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret.png"
    noise(1).save(secret)
    (folder / "link.png").unlink(missing_ok=True)
    (folder / "link.png").symlink_to(secret)
    outside = [secret, folder / "link.png", folder / ".." / ".." / ".." / secret.relative_to("/"), folder]
    for path in outside:
        with pytest.raises(RefusedError, match="no longer here"):
            opened({"path": str(path)})


def test_a_picture_of_the_servers_can_be_chosen_again() -> None:
    chosen = Sources.of(Sources.__new__(Sources), noise(2), "the picture")
    assert np.array_equal(np.asarray(opened(chosen)[0]), np.asarray(noise(2)))
    assert chosen["orig_name"] == "the picture"
    assert chosen["url"].startswith("data:image/jpeg;base64,")


@pytest.mark.parametrize(("size", "count"), [("20mb", 20_000_000), ("1.5 GB", 1_500_000_000), ("7b", 7)])
def test_sizes_are_numbers_of_bytes(size: str, count: int) -> None:
    assert bytes_of(size) == count


# --- Hiding -------------------------------------------------------------------------------------------------


def test_half_of_a_map_and_a_cell_around_it_is_blurred_and_the_rest_is_as_it_was() -> None:
    values = np.full((5, 8), 0.01)
    values[1, 2] = 0.9
    picture = noise(4)  # 140 × 224 pixels: a cell has 28 of each side
    hidden = np.asarray(without_half(picture, values)).astype(int)
    before = np.asarray(picture).astype(int)
    inside = np.zeros(before.shape[:2], bool)
    inside[0:84, 28:112] = True  # rows 0 to 2, columns 1 to 3
    assert (hidden[~inside] == before[~inside]).all()
    assert (hidden[inside] != before[inside]).mean() > 0.9
    assert hidden[inside].std() < 0.4 * before[inside].std()


def test_a_flat_map_points_at_nothing_to_hide() -> None:
    with pytest.raises(ValueError, match="flat"):
        without_half(noise(4), np.full((5, 8), 0.3))


def test_a_picture_is_named_after_what_is_hidden_in_it() -> None:
    assert hidden_name("heart") == "the picture with “heart” hidden"
    assert len(hidden_name("x" * 500)) < 100
