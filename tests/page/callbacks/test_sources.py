"""The picture that is chosen: an example by its number, or a file that was uploaded, and nothing else."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

from page.hiding import hidden_name, without_half
from page.inputs import RefusedError
from page.sources import Sources, bytes_of, examples, opened, sizes_of
from records.videos import Video, open_video
from tests.clips import write_clip, write_sound
from tests.page.telling import changes
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


# --- Several, and clips -------------------------------------------------------------------------------------


def test_several_are_opened_in_their_order_and_a_clip_among_them(folder: Path) -> None:
    noise(3).save(folder / "own.png")
    write_clip(folder / "clip.mp4", frames=6, rate=2)
    chosen = [{"path": str(folder / "own.png")}, {"path": str(folder / "clip.mp4")}, {"example": 0}]
    picture, clip, example = opened(chosen)
    assert np.array_equal(np.asarray(picture), np.asarray(noise(3)))
    assert isinstance(clip, Video)
    assert clip.hash == open_video(folder / "clip.mp4").hash
    assert np.array_equal(np.asarray(example), np.asarray(opened({"example": 0})[0]))
    sizes = sizes_of(chosen)
    assert sizes == [noise(3).size, clip, example.size]
    assert opened(chosen)[1] is clip  # decoded once


def test_one_that_cannot_be_used_is_named_by_its_place(folder: Path) -> None:
    (folder / "text.png").write_text("no picture")
    with pytest.raises(ValueError, match=r"^Picture 2 of 2: "):
        opened([{"example": 0}, {"path": str(folder / "text.png")}])
    with pytest.raises(
        RefusedError, match=r"^Picture 1 of 2: This picture is no longer here: choose it again\."
    ):
        opened([{"path": "/etc/passwd"}, {"example": 0}])
    with pytest.raises(
        RefusedError, match=r"^At most 64 pictures can be asked about at once; 65 are chosen\."
    ):
        opened([{"example": 0}] * 65)


def test_what_was_sent_is_looked_at_file_by_file(folder: Path) -> None:
    noise(3).save(folder / "own.png")
    (folder / "text.png").write_text("no picture")
    write_clip(folder / "clip.mp4", frames=6, rate=2)
    write_sound(folder / "sound.mp4")
    sources = Sources.__new__(Sources)
    sources.image = "image"  # type: ignore[assignment]
    names = ("own.png", "text.png", "clip.mp4", "sound.mp4")
    sent = [{"path": str(folder / name)} for name in names]
    told = changes(sources.on_check(sent)["image"])["checked"]
    assert [one["path"] for one in told] == [str(folder / name) for name in names]
    assert [one.get("kind") for one in told] == ["image", None, "video", None]
    assert told[2]["note"] == "3.0 s, 6 frames read"
    assert all("url" in told[i] for i in (0, 2))
    assert all(told[i]["reason"] and str(folder) not in told[i]["reason"] for i in (1, 3))
    assert changes(sources.on_check("nonsense")["image"])["checked"] == []
    assert "reason" in changes(sources.on_check([{"path": 3}])["image"])["checked"][0]
