"""Small clips, written by PyAV, whose frames can be told apart.

`write_clip(path, frames=20, ...)` writes one; the grey of its frame n is `shade(n)`, but for a red corner at
the top left, so that a turned frame is seen.
"""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

TICKS = Fraction(1, 1000)  # in which times of one's own are given
Matrix = tuple[int, int, int, int]


def shade(number: int) -> int:
    """Return the grey of a frame, 16 steps from the next one's."""
    return 20 + 16 * number % 208


def picture(number: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return frame n (h, w, rgb): grey, but red at its top left, a third of it high, half of it wide."""
    frame = np.full((*size, 3), shade(number), np.uint8)
    frame[: size[0] // 3, : size[1] // 2] = (220, 30, 30)
    return frame


def write_clip(
    path: Path,
    frames: int = 20,
    *,
    size: tuple[int, int] = (48, 64),
    rate: Fraction | int = 10,
    codec: str = "libx264",
    times: Sequence[int] | None = None,
    matrix: Matrix | None = None,
    **others: Any,
) -> Path:
    """Write a clip of (h, w), in the format that its name ends with, and return its path.

    `times` are the frames' own, in milliseconds, in place of an even rate. `matrix` (a, b, c, d) has a place
    (x, y) shown at (a x + c y, b x + d y). `others`: `keys` every so many frames, `back` frames that need
    later ones, `pixels`, the format of a pixel, `sound`, `options` of the format.
    """
    with av.open(str(path), "w", options=others.get("options", {})) as container:
        stream: Any = container.add_stream(codec, rate=Fraction(rate))
        stream.height, stream.width = size
        stream.pix_fmt = others.get("pixels", "yuv420p")
        stream.codec_context.gop_size = others.get("keys", 12)
        stream.codec_context.max_b_frames = others.get("back", 0)
        if times is not None:
            stream.codec_context.time_base = TICKS
        if matrix is not None:
            a, b, c, d = (65_536 * entry for entry in matrix)
            stream.set_display_matrix([a, b, 0, c, d, 0, 0, 0, 1 << 30])
        if others.get("sound"):
            _add_sound(container)
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(number, size), format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = times[number], TICKS
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def _add_sound(container: Any) -> None:
    stream = container.add_stream("aac", rate=8000)
    silence = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.float32), format="fltp", layout="mono")
    silence.rate = 8000
    container.mux(stream.encode(silence))
    container.mux(stream.encode())


def write_sound(path: Path) -> Path:
    """Write a file with nothing to see in it, and return its path."""
    with av.open(str(path), "w") as container:
        _add_sound(container)
    return path
