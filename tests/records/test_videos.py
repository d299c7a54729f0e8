"""Clips: which frames are taken of one, when they are, and how they look."""

import io
import json
import re
import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import config
from records import videos
from records.videos import Video, frame_indices, open_video
from tests.clips import Matrix, picture, shade, write_clip

SAMPLES = json.loads((Path(__file__).parent.parent / "model" / "video_numbers.json").read_text("utf-8"))[
    "samples"
]
NEAR = 6  # shades that compression may change; frames are 16 apart


def numbers_of(video: Video) -> list[int]:
    """Return which frame each one is, by its grey (of the first 13)."""
    greys = video.frames[:, -3:, -3:].mean(axis=(1, 2, 3))
    places = [
        int(np.abs(np.array([shade(number) for number in range(13)]) - grey).argmin()) for grey in greys
    ]
    assert all(abs(shade(place) - grey) < NEAR for place, grey in zip(places, greys, strict=True))
    return places


# --- Which frames -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sample", SAMPLES, ids=str)
def test_frames_are_those_that_qwens_processors_take(sample: list[Any]) -> None:
    total, above, below, fps, count, first, digest = sample
    found = frame_indices(total, Fraction(above, below), fps, 4, 768)
    assert len(found) == count
    assert found[:8] == first
    assert sum(place * number for place, number in enumerate(found, 1)) == digest


@pytest.mark.parametrize(
    ("total", "rate", "fps", "least", "most", "found"),
    [
        (1, 25, 2, 4, 768, [0]),
        (2, 25, 2, 4, 768, [0, 1]),
        (3, 25, 2, 4, 768, [0, 2]),
        (9, 3, 2, 4, 1, [0]),
        (9, 3, 2, 4, 3, [0, 8]),
        (9, 3, 2, 1, 768, [0, 2, 3, 5, 6, 8]),  # 1.6, 3.2, 4.8, 6.4
        (40, 1, 0.3, 4, 768, [0, 4, 7, 11, 14, 18, 21, 25, 28, 32, 35, 39]),  # 40 * 0.3 is 12
    ],
)
def test_which_frames(total: int, rate: int, fps: float, least: int, most: int, found: list[int]) -> None:
    assert frame_indices(total, rate, fps, least, most) == found


FORMATS = [
    ("mp4", {"back": 2}),
    ("mp4", {"codec": "libx265", "options": {}}),
    ("mp4", {"sound": True}),
    ("mp4", {"options": {"movflags": "frag_keyframe+empty_moov"}}),
    ("mov", {"codec": "mpeg4"}),
    ("mkv", {"back": 2}),
    ("webm", {"codec": "libvpx-vp9"}),
    ("avi", {"codec": "mpeg4"}),
    ("avi", {"back": 2}),  # has no room for the times of such frames
    ("ts", {"back": 2}),
    ("wmv", {"codec": "wmv2"}),
    ("flv", {}),
    ("gif", {"codec": "gif", "pixels": "rgb8"}),
]


@pytest.mark.parametrize(("ending", "others"), FORMATS, ids=[f"{one} {two}" for one, two in FORMATS])
def test_a_clip_in_each_format(tmp_path: Path, ending: str, others: dict[str, Any]) -> None:
    path = write_clip(tmp_path / f"a clip.{ending}", 13, **others)
    video = open_video(path, fps=5)
    assert video.frames.shape == (6, 48, 64, 3)
    assert video.frames.dtype == np.uint8
    assert video.times == pytest.approx([0, 0.2, 0.5, 0.7, 1.0, 1.2])  # frames 0, 2.4, 4.8, 7.2, 9.6, 12
    if ending != "gif":  # it has few shades
        assert numbers_of(video) == [0, 2, 5, 7, 10, 12]
    assert (video.name, video.size, video.note) == (f"a clip.{ending}", (48, 64), "")
    assert video.duration == pytest.approx(1.3)
    assert video.fps == pytest.approx(6 / 1.3)


def test_settings_of_config_count_where_none_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", 60)
    assert len(open_video(path).frames) == 12
    assert len(open_video(path, max_frames=7).frames) == 6
    assert len(open_video(path, fps=0.1).frames) == 4
    monkeypatch.setattr(config, "VIDEO_FPS", 1)
    assert len(open_video(path).frames) == 6
    monkeypatch.setattr(config, "VIDEO_MIN_FRAMES", 8)
    assert len(open_video(path).frames) == 8
    monkeypatch.setattr(config, "VIDEO_MAX_FRAMES", 2)
    assert len(open_video(path).frames) == 2


@pytest.mark.parametrize(("ending", "codec"), [("mp4", "libx264"), ("ts", "libx264"), ("webm", "libvpx-vp9")])
def test_frames_after_a_jump_are_those_of_a_clip_decoded_as_a_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str, codec: str
) -> None:
    path = write_clip(tmp_path / f"clip.{ending}", 300, codec=codec, keys=7)
    seeks: list[int] = []
    whole = open_video(path, max_frames=6)
    container = videos._container

    def watched(file: Any) -> Any:
        opened = container(file)

        class Watched:
            def __getattr__(self, name: str) -> Any:
                if name == "seek":
                    seeks.append(1)
                return getattr(opened, name)

            def __enter__(self) -> Any:
                opened.__enter__()
                return self

            def __exit__(self, *error: Any) -> Any:
                return opened.__exit__(*error)

        return Watched()

    monkeypatch.setattr(videos, "_container", watched)
    jumped = open_video(path, max_frames=6)
    assert len(seeks) == 5
    monkeypatch.setattr(videos, "WORTH_A_JUMP", 1000)
    decoded = open_video(path, max_frames=6)
    assert len(seeks) == 5
    assert jumped.hash == decoded.hash == whole.hash
    assert decoded.times == pytest.approx([0, 6, 12, 17.9, 23.9, 29.9])


def test_ten_hours_are_read(tmp_path: Path) -> None:
    """Sparse, so that it is written soon."""
    path = write_clip(tmp_path / "clip.mkv", 301, times=[120_000 * number for number in range(301)])
    video = open_video(path, max_frames=5)
    assert list(video.times) == [0, 12_000, 24_000, 36_000]
    assert video.duration == 36_120


def test_no_more_than_the_frames_that_are_wanted_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mp4", 40, size=(96, 128))
    whole = open_video(path)
    monkeypatch.setattr(config, "MAX_IMAGE_PIXELS", 30_000)
    small = open_video(path)
    count, height, width, _ = small.frames.shape
    assert count == 8
    assert 25_000 < count * height * width <= 30_000
    assert abs(width / height - 4 / 3) < 0.06
    assert small.size == whole.size == (96, 128)
    assert small.note == f"Its 8 frames are scaled down from 128 x 96 to {width} x {height}."
    assert numbers_of(small) == numbers_of(whole)


# --- Times --------------------------------------------------------------------------------------------------


def test_times_are_the_frames_own_where_they_are_uneven(tmp_path: Path) -> None:
    times = [500, 600, 700, 2000, 2100, 5000, 5040, 9000]
    video = open_video(write_clip(tmp_path / "clip.mkv", 8, times=times), fps=0.5)
    assert video.times == (0.0, 0.2, 4.5, 8.5)  # frames 0, 2.33, 4.67, 7
    assert numbers_of(video) == [0, 2, 5, 7]
    assert video.duration == pytest.approx(8.5 * 8 / 7)
    assert video.fps == pytest.approx(4 / video.duration)


@pytest.mark.parametrize(
    ("rate", "frames", "expected"), [(24, 72, 6), (30, 90, 6), (Fraction(30_000, 1001), 150, 10)]
)
def test_rounded_times_take_no_frame_away(tmp_path: Path, rate: Fraction, frames: int, expected: int) -> None:
    """Matroska's are whole milliseconds: 72 frames would seem to be a little shorter than 3 seconds."""
    video = open_video(write_clip(tmp_path / "clip.mkv", frames, rate=rate))
    assert len(video.frames) == expected
    assert video.duration == pytest.approx(frames / float(rate))


def test_a_trimmed_clip_begins_where_it_was_trimmed(tmp_path: Path) -> None:
    """As telephones trim: all frames are in the file still, and an edit list says which are shown."""
    path = write_clip(tmp_path / "clip.mp4", 40, back=2, keys=12)
    whole = bytearray(path.read_bytes())
    edits, header = whole.index(b"elst") + 12, whole.index(b"mdhd") + 16
    (scale,) = struct.unpack(">I", whole[header : header + 4])
    _, start = struct.unpack(">Ii", whole[edits : edits + 8])
    whole[edits : edits + 8] = struct.pack(">Ii", 700, start + scale * 5 // 10)  # 0.7 s, from 0.5 s on
    path.write_bytes(whole)
    video = open_video(path, fps=5)
    assert video.times == pytest.approx([0, 0.2, 0.4, 0.6])
    assert numbers_of(video) == [5, 7, 9, 11]
    assert video.duration == pytest.approx(0.7)


def test_a_rate_in_the_header_that_is_not_true_does_not_count(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mkv", 20, rate=25, times=[200 * number for number in range(20)])
    video = open_video(path)
    assert video.duration == pytest.approx(4)
    assert len(video.frames) == 8


def test_one_frame(tmp_path: Path) -> None:
    for ending, codec, pixels in (("mp4", "libx264", "yuv420p"), ("gif", "gif", "rgb8")):
        video = open_video(write_clip(tmp_path / f"clip.{ending}", 1, codec=codec, pixels=pixels))
        assert video.frames.shape == (1, 48, 64, 3)
        assert video.times == (0.0,)
        assert video.duration > 0
        assert video.fps > 0


def test_frames_are_counted_where_packets_and_decoder_disagree(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_clip(tmp_path / "clip.mkv", 13)
    counted = videos._counted_packets
    monkeypatch.setattr(
        videos, "_counted_packets", lambda file: counted(file)._replace(stamps=[*range(0, 2600, 100)])
    )
    video = open_video(path, fps=5)
    assert video.times == pytest.approx([0, 0.2, 0.5, 0.7, 1.0, 1.2])
    assert numbers_of(video) == [0, 2, 5, 7, 10, 12]


# --- Pictures -----------------------------------------------------------------------------------------------

TURNS: dict[Matrix, Any] = {
    (1, 0, 0, 1): lambda frame: frame,
    (0, 1, -1, 0): lambda frame: np.rot90(frame, -1),  # clockwise, as telephones write it
    (-1, 0, 0, -1): lambda frame: np.rot90(frame, 2),
    (0, -1, 1, 0): lambda frame: np.rot90(frame, 1),
    (-1, 0, 0, 1): lambda frame: frame[:, ::-1],
    (1, 0, 0, -1): lambda frame: frame[::-1],
    (0, 1, 1, 0): lambda frame: frame.swapaxes(0, 1),
    (0, -1, -1, 0): lambda frame: np.rot90(frame, 2).swapaxes(0, 1),
}


@pytest.mark.parametrize("matrix", TURNS, ids=str)
def test_a_clip_is_turned_as_its_file_asks_for(tmp_path: Path, matrix: Matrix) -> None:
    path = write_clip(tmp_path / "clip.mp4", 4, matrix=matrix)
    video = open_video(path)
    expected = TURNS[matrix](picture(0, (48, 64))).astype(int)
    assert video.size == expected.shape[:2]
    assert np.abs(video.frames[0] - expected).mean() < NEAR


def test_odd_sides(tmp_path: Path) -> None:
    video = open_video(write_clip(tmp_path / "clip.mp4", 4, size=(51, 67), pixels="yuv444p"))
    assert video.size == (51, 67)
    assert np.abs(video.frames[0] - picture(0, (51, 67)).astype(int)).mean() < NEAR


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    seen = Image.new("RGBA", (20, 12), (0, 0, 255, 255))
    seen.paste((0, 0, 0, 0), (0, 0, 10, 12))
    other = seen.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    seen.save(tmp_path / "clip.gif", save_all=True, append_images=[other], duration=200, disposal=2)
    video = open_video(tmp_path / "clip.gif")
    assert list(video.times) == [0, 0.2]
    assert video.frames[:, 6, [3, 16]].tolist() == [[[255] * 3, [0, 0, 255]], [[0, 0, 255], [255] * 3]]


def test_equal_frames_at_equal_times_have_equal_hashes(tmp_path: Path) -> None:
    exact: dict[str, Any] = {"codec": "ffv1", "frames": 8}
    first = open_video(write_clip(tmp_path / "clip.mkv", **exact))
    again = open_video(write_clip(tmp_path / "other.mkv", **exact))
    slower = open_video(write_clip(tmp_path / "slower.mkv", rate=5, **exact), fps=1)
    fewer = open_video(tmp_path / "clip.mkv", max_frames=2)
    assert first.hash == again.hash
    assert (first.frames == slower.frames).all()
    assert len({first.hash, slower.hash, fewer.hash}) == 3
    assert re.fullmatch("[0-9a-f]{64}", first.hash)


def test_an_open_file_is_read_too(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "clip.mp4", 8)
    with path.open("rb") as file:
        assert open_video(file).name == "clip.mp4"
    bare = open_video(io.BytesIO(path.read_bytes()))
    assert bare.name == "video"
    assert bare.hash == open_video(path).hash
    assert np.asarray(bare.picture(1)).tolist() == bare.frames[1].tolist()


def test_a_video_refuses_parts_that_disagree() -> None:
    frames = np.zeros((2, 3, 5, 3), np.uint8)
    for wrong, times, said in (
        (frames[0], (0.0, 1.0), "shape"),
        (frames[:0], (), "shape"),
        (frames, (0.0,), "2 frames and 1 times"),
        (frames, (1.0, 0.0), "order"),
    ):
        with pytest.raises(ValueError, match=said):
            Video("clip", wrong, times, 1.0, 2.0, (3, 5), "")
