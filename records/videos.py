"""Opening a clip safely: some of its frames, spread evenly over all of it.

Goes in: a file that a person handed over. Comes out: a `Video`, its frames in RGB with 8 bits a channel,
upright, each with its time. Knows nothing of models; sound is not read.

A clip is read twice. First its packets are counted, which takes no decoding: how many frames it has, and the
time of each, follow from them, whatever its header says. Then the frames that are wanted are decoded, from
the last one before each that stands for itself (a key frame), so that a clip of ten hours costs little more
than one of ten minutes. What comes out of the decoder is compared with what was counted, frame by frame, and
where they disagree the clip is decoded as a whole, to count. No more than the frames that are wanted is ever
held, and those with `config.MAX_IMAGE_PIXELS` together.
"""

from __future__ import annotations

import hashlib
import math
import os
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import config
from records.pictures import ImageError, check_image_size, rgb, size_within

# What is read, by FFmpeg's names, and for people. Playlists are not: they have other files opened.
DEMUXERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpegts,mpeg,asf,flv,ogg,gif"
VIDEO_FORMATS = ("MP4", "MOV", "WebM", "Matroska", "AVI", "MPEG", "WMV", "FLV", "Ogg", "GIF")
MOST_COUNTED = 200_000  # frames decoded only to count them: two hours of 25 a second
WORTH_A_JUMP = 24  # frames that are left out at least where decoding goes on at a key frame further on
STEADY = Fraction(1, 100)  # how far the rate in a header may be from that of the frames, to count

NO_VIDEO_FILE = "There is no such video file."
NO_PICTURES = "The file has no video in it, only other things such as sound."
NO_FRAMES = "The video has no frames."
NO_TIMES = "The video does not say when its frames are shown; save it as MP4."
DAMAGED_VIDEO = "The video file is damaged or incomplete."
SCALED_FRAMES_NOTE = "Its {} frames are scaled down from {} x {} to {} x {}."


class VideoError(ImageError):
    """A video cannot be used; the message is one line and names no path."""


@dataclass(frozen=True, eq=False)
class Video:
    """Frames of a clip, evenly spread over it. Sizes are (h, w)."""

    name: str  # of its file, without the folder
    frames: NDArray[np.uint8]  # (frame, h, w, rgb)
    times: tuple[float, ...]  # of each frame, in seconds from the clip's first, as its file says
    fps: float  # frames here for each second of the clip
    duration: float  # of the clip, in seconds
    size: tuple[int, int]  # (h, w) of the clip, upright; the frames here are smaller where that was too much
    hash: str  # of size, times and pixels: equal frames at equal times have equal hashes
    note: str = ""  # for the person, where something was left out

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        if self.frames.ndim != 4 or self.frames.shape[3] != 3 or len(self.frames) == 0:
            raise ValueError(f"expected frames of shape (frame, h, w, 3); got {self.frames.shape}")
        if len(self.times) != len(self.frames):
            raise ValueError(f"there are {len(self.frames)} frames and {len(self.times)} times")
        if list(self.times) != sorted(self.times):
            raise ValueError("expected times in their order")

    def picture(self, frame: int) -> Image.Image:
        """Return one frame as a picture."""
        return Image.fromarray(self.frames[frame])


def frames_a_step(clip: Video, steps: int) -> int:
    """Return how many frames of a clip are one of its steps in time; the last one may have fewer."""
    return math.ceil(len(clip.frames) / steps)


def moment(clip: Video, step: int, steps: int) -> Image.Image:
    """Return what is shown of one of a clip's steps in time: its first frame."""
    return clip.picture(step * frames_a_step(clip, steps))


def video_hash(frames: NDArray[np.uint8], times: Sequence[float]) -> str:
    """Return the hash of frames (frame, h, w, rgb) and their times: equal ones have equal hashes."""
    digest = hashlib.sha256(f"{frames.shape}:{tuple(times)}:".encode())
    digest.update(np.ascontiguousarray(frames).data)
    return digest.hexdigest()


def open_video(
    source: str | os.PathLike[str] | BinaryIO, fps: float | None = None, max_frames: int | None = None
) -> Video:
    """Return frames of the clip, about `fps` for each second of it and at most `max_frames`.

    These two are `config.VIDEO_FPS` and `VIDEO_MAX_FRAMES` by default. Which frames, `frame_indices` says;
    a rotation that the file asks for is applied; transparent parts are laid on white. Where all frames
    together have more than `config.MAX_IMAGE_PIXELS`, each is scaled down, and `note` says so.

    Raises:
        VideoError: one line, without a path.
    """
    fps = _allowed("VIDEO_FPS", config.VIDEO_FPS if fps is None else fps)
    most = int(_allowed("VIDEO_MAX_FRAMES", config.VIDEO_MAX_FRAMES if max_frames is None else max_frames))
    try:
        if isinstance(source, (str, os.PathLike)):
            with _opened(Path(source)) as file:
                return _read(file, Path(source).name, fps, most)
        return _read(source, Path(str(getattr(source, "name", "video"))).name, fps, most)
    except MemoryError:
        raise VideoError("There is not enough memory to open the video.") from None


def _allowed(setting: str, value: float) -> float:
    """Return the value; VideoError for one that the setting may not have."""
    if not config.RULES[setting][1](value):
        raise VideoError(f"{config.wrong(setting, value)}.")
    return value


def frame_indices(total: int, rate: float | Fraction, fps: float, least: int, most: int) -> list[int]:
    """Return which of a clip's frames are looked at, ascending; `rate` are its own frames a second.

    As Qwen's own code (qwen-vl-utils) has it: as many as `fps` gives, between `least` and `most`, and an even
    number, since the model takes two at a time, evenly spaced from the first to the last. One frame is taken
    where there is only one.
    """
    wanted = min(max(total / rate * Fraction(str(fps)), least), most, total)
    count = max(int(wanted // 2) * 2, min(2, total, most))
    return np.linspace(0, total - 1, count).round().astype(int).tolist()


# --- Files --------------------------------------------------------------------------------------------------


def _opened(path: Path) -> BinaryIO:
    try:
        if path.is_file():
            return path.open("rb")
    except PermissionError:
        raise VideoError("The video file may not be read.") from None
    except OSError:
        pass
    raise VideoError(NO_VIDEO_FILE)


class _Clip(NamedTuple):
    """A file and what its packets say."""

    file: BinaryIO
    base: Fraction  # seconds in one unit of the stamps
    stamps: list[int]  # when each frame is shown, ascending
    keys: list[int]  # those of frames that stand for themselves
    rate: Fraction | None  # frames a second, as the header says it


def _read(file: BinaryIO, name: str, fps: float, most: int) -> Video:
    """Return the clip in a file."""
    import av  # 35 MB of codecs, which is loaded when there is a clip to read

    try:
        clip = _counted_packets(file)
        found = _sampled(clip, fps, most)
        if found is None:
            clip = _counted_frames(clip)
            found = _sampled(clip, fps, most)
    except av.error.DecoderNotFoundError:
        raise VideoError("The video is compressed in a way that is not read; save it as MP4.") from None
    except (av.error.FFmpegError, OSError) as error:  # a dozen kinds, with paths and numbers in their texts
        raise VideoError(DAMAGED_VIDEO) from error
    if found is None:
        raise VideoError(DAMAGED_VIDEO)
    return _video(name, clip, *found)


def _container(file: BinaryIO) -> Any:
    """Return the file, open at its start; VideoError for what is no video in a format that is read."""
    import av

    file.seek(0)
    try:
        # No name is looked up and no other file opened, whatever this one says.
        options = {"format_whitelist": DEMUXERS, "protocol_whitelist": ""}
        return av.open(file, container_options=options, metadata_errors="ignore")
    except (av.error.FFmpegError, OSError):  # the latter for an empty file
        raise VideoError(
            f"The file is damaged, or no video in a format that is read: {', '.join(VIDEO_FORMATS)}."
        ) from None


def _stream(container: Any) -> Any:
    """Return the clip's pictures; VideoError where there are none, or none that can be decoded."""
    covers = container.streams.video  # a song's cover is one too
    if not len(container.streams):
        raise VideoError(DAMAGED_VIDEO)
    streams = [one for one in covers if not one.disposition & type(one.disposition).attached_pic]
    if not streams:
        raise VideoError(NO_PICTURES)
    stream = max(streams, key=lambda one: one.width * one.height if one.codec_context else 0)
    if stream.codec_context is None:
        raise VideoError("The video is compressed in a way that is not read; save it as MP4.")
    if stream.width and stream.height:
        _check_size((stream.width, stream.height))
    stream.thread_type = "AUTO"
    return stream


def _check_size(size_wh: tuple[int, int]) -> None:
    try:
        check_image_size(size_wh, "video")
    except ImageError as error:
        raise VideoError(str(error)) from None


# --- Counting -----------------------------------------------------------------------------------------------


def _counted_packets(file: BinaryIO) -> _Clip:
    """Return a clip whose frames are counted by its packets; the stamps are none where they are of no use."""
    with _container(file) as container:
        stream = _stream(container)
        stamps: list[int | None] = []
        keys, packets = [], 0
        for packet in container.demux(stream):
            packets += packet.dts is not None or packet.size > 0  # the last one is empty: nothing follows
            if packet.size and not packet.is_discard:  # of a trimmed clip, what goes before its start
                stamps.append(packet.pts)
                if packet.is_keyframe and packet.pts is not None:
                    keys.append(packet.pts)
        if "mp4" in container.format.name and packets < len(stream.index_entries):
            raise VideoError(DAMAGED_VIDEO)  # the file ends before what it lists
        if not stamps:
            raise VideoError(DAMAGED_VIDEO if stream.frames else NO_FRAMES)
        known = sorted({stamp for stamp in stamps if stamp is not None})
        if len(known) < len(stamps):
            known = []
        return _Clip(file, stream.time_base, known, sorted(keys), stream.average_rate)


def _counted_frames(clip: _Clip) -> _Clip:
    """Return the clip with its frames counted by decoding all of them."""
    stamps: list[int] = []
    with _container(clip.file) as container:
        for frame in container.decode(_stream(container)):
            if frame.pts is None:
                raise VideoError(NO_TIMES)
            stamps.append(frame.pts)
            if len(stamps) > MOST_COUNTED:
                raise VideoError(
                    f"The video's more than {MOST_COUNTED:,} frames cannot be counted; save it as MP4."
                )
    if not stamps:
        raise VideoError(NO_FRAMES)
    if len(stamps) > 1 and min(stamps) == max(stamps):
        raise VideoError(NO_TIMES)
    # Frames come in the order in which they are shown, also where a format has no room for their times (AVI).
    return clip._replace(stamps=sorted(stamps), keys=[])


def _rate(clip: _Clip) -> Fraction:
    """Return the clip's frames a second: the header's, where it is true, since times are rounded."""
    span = (clip.stamps[-1] - clip.stamps[0]) * clip.base
    if not span:
        return clip.rate or Fraction(1)
    measured = (len(clip.stamps) - 1) / span
    if clip.rate and abs(clip.rate / measured - 1) <= STEADY:
        return clip.rate
    return measured


# --- Decoding -----------------------------------------------------------------------------------------------

Sampled = tuple[
    list[int], NDArray[np.uint8], tuple[int, int]
]  # numbers of the frames, them, (h, w) in the file


def _sampled(clip: _Clip, fps: float, most: int) -> Sampled | None:
    """Return the frames that are wanted; None where the decoder's are not those that were counted."""
    if not clip.stamps:
        return None
    wanted = frame_indices(len(clip.stamps), _rate(clip), fps, config.VIDEO_MIN_FRAMES, most)
    frames: NDArray[np.uint8] | None = None
    size_wh = (0, 0)
    decoded = _at(clip, wanted) if clip.keys else _at_numbers(clip, wanted)
    for place, frame in enumerate(decoded):
        if frame is None:
            return None
        picture = _upright(frame)
        if frames is None:
            size_wh = picture.size
            _check_size(size_wh)
            width, height = size_within(size_wh, config.MAX_IMAGE_PIXELS // len(wanted))
            frames = np.empty((len(wanted), height, width, 3), np.uint8)
        if picture.size != (frames.shape[2], frames.shape[1]):
            picture = picture.resize((frames.shape[2], frames.shape[1]), Image.Resampling.LANCZOS)
        frames[place] = np.asarray(picture)
    assert frames is not None
    return wanted, frames, (size_wh[1], size_wh[0])


def _at(clip: _Clip, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the frames with these numbers; None, and an end, where the decoder gives others."""
    numbers = {stamp: number for number, stamp in enumerate(clip.stamps)}
    with _container(clip.file) as container:
        stream = _stream(container)
        decoded, following, jumped = container.decode(stream), 0, False
        for number in wanted:
            before = bisect_right(clip.keys, clip.stamps[number]) - 1
            key = numbers[clip.keys[before]] if before >= 0 else 0
            if key - following >= WORTH_A_JUMP:
                container.seek(clip.stamps[key], stream=stream)
                decoded, jumped = container.decode(stream), True
            for frame in decoded:
                here = numbers.get(frame.pts)
                if here is None or here > number or (here != following and not jumped):
                    yield None
                    return
                following, jumped = here + 1, False
                if here == number:
                    yield frame
                    break
            else:
                yield None
                return
        if following == len(clip.stamps) and next(decoded, None) is not None:
            yield None


def _at_numbers(clip: _Clip, wanted: Sequence[int]) -> Iterator[Any]:
    """Yield the frames with these numbers, of a clip decoded from its start."""
    with _container(clip.file) as container:
        remaining = set(wanted)
        for number, frame in enumerate(container.decode(_stream(container))):
            if number in remaining:
                yield frame
            if number >= wanted[-1]:
                return
    yield None


def _upright(frame: Any) -> Image.Image:
    """Return a decoded frame in RGB, turned as its file asks for."""
    see_through = any(part.is_alpha for part in frame.format.components)
    pixels = frame.to_ndarray(format="rgba" if see_through else "rgb24")  # (row, col, channel)
    matrix = next((bytes(data) for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    if matrix is not None:
        # Three rows of three: a place (x, y) is shown at (a x + c y, b x + d y).
        a, b, _, c, d, *_ = np.frombuffer(matrix[:36], np.int32).tolist()
        if abs(a) < abs(b):
            pixels, a, d = pixels.swapaxes(0, 1), c, b
        pixels = pixels[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]
    return rgb(Image.fromarray(np.ascontiguousarray(pixels)))


def _video(
    name: str, clip: _Clip, numbers: Sequence[int], frames: NDArray[np.uint8], size: tuple[int, int]
) -> Video:
    times = tuple(float((clip.stamps[number] - clip.stamps[0]) * clip.base) for number in numbers)
    duration = len(clip.stamps) / _rate(clip)
    note = ""
    if frames.shape[1:3] != size:
        note = SCALED_FRAMES_NOTE.format(len(frames), *size[::-1], *frames.shape[2:0:-1])
    fps, known = float(len(frames) / duration), video_hash(frames, times)
    return Video(name, frames, times, fps, float(duration), size, known, note)
