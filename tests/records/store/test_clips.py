"""The store: answers about clips."""

import json
import logging
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from records import entries
from records.capture import Capture
from records.store import DamagedError, Store
from records.videos import Video, open_video
from tests.about import answer_about, made_clip, made_picture
from tests.clips import write_clip
from tests.records.store.kit import KEYS, left, same

TIMES = (0.0, 0.4, 1.0, 1.5, 2.0)  # three steps, of which the last has one frame


def mixed() -> tuple[Capture, list[Any]]:
    shown: list[Any] = [made_picture((2, 4), 7), made_clip(TIMES), made_picture((3, 3), 8)]
    return answer_about(shown, [(1, 2, 4), (3, 2, 3), (1, 3, 3)]), shown


def assert_same_clip(found: Any, expected: Video) -> None:
    assert isinstance(found, Video)
    np.testing.assert_array_equal(found.frames, expected.frames)
    assert found.frames.dtype == np.uint8
    for part in fields(Video):
        if part.name != "frames":
            value = getattr(found, part.name)
            assert value == getattr(expected, part.name), part.name
            assert type(value) is type(getattr(expected, part.name)), part.name


def test_an_answer_about_a_clip_comes_back_without_its_file(kept: Store, tmp_path: Path) -> None:
    file = write_clip(tmp_path / "clip.mp4", 10)
    clip = open_video(file)
    before = answer_about([clip], [(len(clip.frames) // 2, 2, 3)])
    assert kept.save(before, clip, KEYS[0]) == KEYS[0]
    file.unlink()
    found = Store(kept.folder).find(KEYS[0])
    assert found is not None
    for part in fields(Capture):
        if part.name != "pictures":
            assert same(getattr(before, part.name), getattr(found.capture, part.name)), part.name
    assert_same_clip(found.capture.pictures[0], clip)
    with pytest.raises(ValueError, match="about a clip"):
        found.image  # noqa: B018


def test_clips_among_pictures_come_back_in_their_places(kept: Store) -> None:
    before, shown = mixed()
    kept.save(before, shown, KEYS[0])
    after = Store(kept.folder).open(KEYS[0]).capture
    assert after.visuals == before.visuals
    assert_same_clip(after.pictures[1], shown[1])
    for number in (0, 2):
        assert same(after.pictures[number], shown[number])
    (entry,) = kept.recent()
    assert entry.bytes == sum(file.stat().st_size for file in (kept.folder / KEYS[0]).iterdir())


def test_the_small_copy_is_the_first_frame_and_the_frames_count(kept: Store) -> None:
    clip = made_clip(TIMES, (5, 10))
    before = answer_about([clip], [(3, 5, 10)])
    kept.save(before, clip, KEYS[0])
    (entry,) = kept.recent()
    with Image.open(entry.thumbnail) as small:
        expected = Image.fromarray(clip.frames[0])
        expected.thumbnail((entries.THUMBNAIL_SIDE, entries.THUMBNAIL_SIDE))
        assert same(small.convert("RGB"), expected)
    file = kept.folder / KEYS[0] / entries.PICTURE
    assert entry.bytes > before.bytes + file.stat().st_size
    bounded = Store(kept.folder.parent / "small", before.bytes + file.stat().st_size)
    assert bounded.save(before, clip, KEYS[1]) is None  # more than the record, less than it with its frames
    assert left(bounded) == set()


def test_a_clip_of_another_capture_is_refused(kept: Store) -> None:
    before, shown = mixed()
    shown[1] = made_clip(TIMES, seed=50)
    with pytest.raises(ValueError, match="not the one that the capture was made from"):
        kept.save(before, shown, KEYS[0])
    assert left(kept) == set()


def _without_clips(file: Path) -> None:
    facts = json.loads(file.read_text("utf-8"))
    del facts["clips"]
    file.write_text(json.dumps(facts))


def _with_times(file: Path) -> None:
    facts = json.loads(file.read_text("utf-8"))
    facts["clips"][0]["times"][1] = 0.5
    file.write_text(json.dumps(facts))


def _one_shade(file: Path) -> None:
    with Image.open(file) as whole:
        pixels = np.array(whole)
    pixels[-1, -1, 0] ^= 1  # of the last frame
    Image.fromarray(pixels).save(file)


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("picture-2.png", Path.unlink),
        ("picture-2.png", lambda file: file.write_bytes(file.read_bytes()[:500])),
        ("picture-2.png", _one_shade),
        ("picture-2.png", lambda file: made_picture((2, 3)).save(file)),
        (entries.FACTS, _without_clips),
        (entries.FACTS, _with_times),
    ],
)
def test_damaged_frames_are_told_and_not_used(
    kept: Store, name: str, spoil: Callable[[Path], object], caplog: pytest.LogCaptureFixture
) -> None:
    before, shown = mixed()
    kept.save(before, shown, KEYS[0])
    spoil(kept.folder / KEYS[0] / name)
    with caplog.at_level(logging.WARNING):
        assert kept.find(KEYS[0]) is None
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"the kept answer {KEYS[0][:8]} is damaged and was skipped: ")
    with pytest.raises(DamagedError):
        kept.open(KEYS[0])
    kept.save(before, shown, KEYS[0])
    assert kept.find(KEYS[0]) is not None


def test_only_an_entry_with_a_clip_has_the_format_that_knows_clips(kept: Store) -> None:
    before, shown = mixed()
    picture = made_picture((2, 4), 7)
    kept.save(before, shown, KEYS[0])
    kept.save(answer_about([picture], [(1, 2, 4)]), picture, KEYS[1])
    found = [json.loads((kept.folder / key / entries.FACTS).read_text("utf-8"))["format"] for key in KEYS[:2]]
    assert found == [entries.LATEST, entries.FORMAT] == [3, 2]
