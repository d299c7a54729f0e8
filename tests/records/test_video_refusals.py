"""Clips: what is said of one that cannot be used, in one line without a path."""

import io
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image

import config
from records import videos
from records.pictures import ImageError
from records.videos import VIDEO_FORMATS, VideoError, open_video
from tests.clips import picture, write_clip, write_sound

NOT_READ = f"The file is damaged, or no video in a format that is read: {', '.join(VIDEO_FORMATS)}."
DAMAGED = "The video file is damaged or incomplete."


def refusal(*arguments: Any, **keywords: Any) -> str:
    with pytest.raises(VideoError) as error:
        open_video(*arguments, **keywords)
    message = str(error.value)
    assert "\n" not in message
    assert "/" not in message
    return message


STREAM = SimpleNamespace(time_base=Fraction(1, 10), average_rate=None, frames=0)


def fake(stamps: list[int | None]) -> Any:
    """Return what stands for an open clip whose frames have these times."""
    frame = SimpleNamespace(format=SimpleNamespace(components=[]), side_data=[])
    frame.to_ndarray = lambda **_: picture(0, (48, 64))

    class Container:
        streams = SimpleNamespace(video=[])
        format = SimpleNamespace(name="avi")

        def __enter__(self) -> Any:
            return self

        def __exit__(self, *_: object) -> None: ...

        def demux(self, _: Any) -> list[Any]:
            packet = {"size": 9, "is_discard": False, "is_keyframe": True}
            return [SimpleNamespace(pts=stamp, dts=stamp, **packet) for stamp in stamps]

        def decode(self, _: Any) -> Any:
            return iter([SimpleNamespace(pts=stamp, **vars(frame)) for stamp in stamps])

    return Container()


@pytest.mark.parametrize("stamps", [[None, None, None], [0, None, 2], [5, 5, 5]])
def test_a_clip_without_times_is_refused(monkeypatch: pytest.MonkeyPatch, stamps: list[int | None]) -> None:
    monkeypatch.setattr(videos, "_container", lambda _: fake(stamps))
    monkeypatch.setattr(videos, "_stream", lambda _: STREAM)
    assert refusal(io.BytesIO()) == "The video does not say when its frames are shown; save it as MP4."
    monkeypatch.setattr(videos, "MOST_COUNTED", 2)
    if None not in stamps:
        assert refusal(io.BytesIO()).startswith("The video's more than 2 frames cannot be counted")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.mp4", b""),
        ("text.mp4", b"no clip at all " * 100),
        ("list.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nclip.ts\n#EXT-X-ENDLIST\n"),
        ("joined.mp4", b"ffconcat version 1.0\nfile clip.mp4\n"),
        ("raw.h264", None),
        ("picture.png", None),
    ],
)
def test_what_is_no_video_is_refused(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    write_clip(tmp_path / "clip.mp4", 4)
    write_clip(tmp_path / "clip.ts", 4)
    write_clip(tmp_path / "raw.h264", 4)
    Image.new("RGB", (20, 12)).save(tmp_path / "picture.png")
    if content is not None:
        path.write_bytes(content)
    assert refusal(path) == NOT_READ


def test_a_file_that_is_not_there_or_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (tmp_path / "none.mp4", tmp_path, tmp_path / ("long" * 500)):
        assert refusal(path) == "There is no such video file."
    path = write_clip(tmp_path / "clip.mp4", 4)

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError(13, "denied", str(path))

    monkeypatch.setattr(Path, "open", refused)
    assert refusal(path) == "The video file may not be read."


def test_sound_alone_is_refused(tmp_path: Path) -> None:
    assert refusal(write_sound(tmp_path / "sound.mp4")) == (
        "The file has no video in it, only other things such as sound."
    )


@pytest.mark.parametrize("share", [0.3, 0.7, 0.97])
@pytest.mark.parametrize("options", [{}, {"movflags": "+faststart"}])
def test_a_file_that_ends_too_early_is_refused(tmp_path: Path, share: float, options: dict[str, str]) -> None:
    whole = write_clip(tmp_path / "clip.mp4", 30, options=options).read_bytes()
    path = tmp_path / "cut.mp4"
    path.write_bytes(whole[: int(len(whole) * share)])
    assert refusal(path) in (DAMAGED, NOT_READ)


def test_a_recording_that_was_broken_off_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "clip.ts", 30).read_bytes()
    path = tmp_path / "cut.ts"
    path.write_bytes(whole[: len(whole) * 2 // 3 // 188 * 188])
    assert 1 < open_video(path).duration < 3


def test_a_clip_without_frames_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(videos, "_container", lambda _: fake([]))
    monkeypatch.setattr(videos, "_stream", lambda _: STREAM)
    assert refusal(io.BytesIO()) == "The video has no frames."


def test_a_codec_that_is_not_known_is_refused(tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "clip.mp4", 4).read_bytes()
    path = tmp_path / "odd.mp4"
    path.write_bytes(whole.replace(b"avc1", b"zzzz").replace(b"avcC", b"zzzC"))
    assert refusal(path) == "The video is compressed in a way that is not read; save it as MP4."


def test_a_damaged_stream_is_refused(tmp_path: Path) -> None:
    whole = bytearray(write_clip(tmp_path / "clip.mp4", 30, codec="mpeg4").read_bytes())
    start = whole.index(b"mdat") + 4
    whole[start : start + 400] = b"\xff" * 400
    path = tmp_path / "damaged.mp4"
    path.write_bytes(whole)
    assert refusal(path) == DAMAGED


@pytest.mark.parametrize(
    ("size", "said"),
    [((6, 64), "The video is too small (64 x 6)"), ((16, 640), "The video is too narrow (640 x 16)")],
)
def test_a_size_outside_the_bounds_is_refused(tmp_path: Path, size: tuple[int, int], said: str) -> None:
    assert refusal(write_clip(tmp_path / "clip.mp4", 2, size=size)).startswith(said)


def test_frames_with_too_many_pixels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_clip(tmp_path / "clip.mp4", 2)
    monkeypatch.setattr(config, "MAX_IMAGE_PIXELS", 3000)
    assert refusal(path) == "The video has 3,072 pixels (64 x 48); at most 3,000 are allowed."


@pytest.mark.parametrize("fps", [0, -1, 61, float("nan"), True, "2"])
def test_a_rate_that_cannot_be_is_refused(fps: Any) -> None:
    assert refusal("none.mp4", fps=fps) == f"{config.wrong('VIDEO_FPS', fps)}."


@pytest.mark.parametrize("most", [0, -1, 2.5, True, "4"])
def test_a_number_of_frames_that_cannot_be_is_refused(most: Any) -> None:
    assert refusal("none.mp4", max_frames=most) == f"{config.wrong('VIDEO_MAX_FRAMES', most)}."


def test_too_little_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> Any:
        raise MemoryError

    monkeypatch.setattr(videos, "_upright", full)
    assert refusal(write_clip(tmp_path / "clip.mp4", 2)) == "There is not enough memory to open the video."


def test_whoever_handles_a_picture_that_cannot_be_used_handles_a_video_too() -> None:
    assert issubclass(VideoError, ImageError)
