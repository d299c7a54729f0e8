"""Glow and spotlight one pixel at a time, as they are defined; nothing is taken from drawing/."""

import colorsys
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

RAMP = {0: "C42A6A", 0.3: "E8452F", 0.6: "FF8410", 0.85: "FFB020", 1: "FFD23C"}

Pixel = tuple[float, ...]


def slow_scale(values: NDArray[Any]) -> tuple[float, float]:
    """(e, t) of a map, in shares of it."""
    positive = [max(0.0, float(value)) for value in values.ravel()]
    even, mass = 1 / len(positive), math.fsum(positive)
    return even, max(max(positive) / mass if mass else 0, 4 * even)


def slow_heat(values: NDArray[Any], top: float | None = None, gamma: float = 1) -> list[list[float]]:
    """Heat v of each cell."""
    even, own = slow_scale(values)
    mass = math.fsum(max(0.0, float(value)) for value in values.ravel())
    place = lambda value: ((max(0, value) / mass if mass else 0) - even) / ((top or own) - even)  # noqa: E731
    return [[min(1, max(0, place(float(value)))) ** gamma for value in row] for row in values]


def slow_cubic(v: list[list[float]], y: float, x: float) -> float:
    """Heat v between cells, y and x counted from the first cell's centre: bicubic, a = -0.75, within 0..1."""

    def weight(distance: float) -> float:
        s = abs(distance)
        if s <= 1:
            return 1.25 * s**3 - 2.25 * s**2 + 1
        return -0.75 * (s**3 - 5 * s**2 + 8 * s - 4) if s < 2 else 0

    held = lambda cell, cells: min(cells - 1, max(0, cell))  # noqa: E731
    rows, columns = range(math.floor(y) - 1, math.floor(y) + 3), range(math.floor(x) - 1, math.floor(x) + 3)
    total = sum(
        v[held(row, len(v))][held(column, len(v[0]))] * weight(y - row) * weight(x - column)
        for row in rows
        for column in columns
    )
    return min(1, max(0, total))


def slow_pixels_of_heat(v: list[list[float]], size: tuple[int, int], smooth: bool) -> list[list[float]]:
    """Heat v at each pixel of (H, W)."""
    height, width = size
    if not smooth:
        return [
            [v[y * len(v) // height][x * len(v[0]) // width] for x in range(width)] for y in range(height)
        ]
    return [
        [
            slow_cubic(v, (y + 0.5) * len(v) / height - 0.5, (x + 0.5) * len(v[0]) / width - 0.5)
            for x in range(width)
        ]
        for y in range(height)
    ]


def slow_warmth(image: Image.Image) -> float:
    """Warmth q of a picture that is so many times 48 pixels long: each thumbnail pixel is a mean."""
    pixels, step = np.asarray(image.convert("RGB"), float) / 255, max(image.size) // 48
    warm = count = 0
    for y in range(0, image.height, step):
        for x in range(0, image.width, step):
            hue, saturation, value = colorsys.rgb_to_hsv(
                *pixels[y : y + step, x : x + step].mean((0, 1)).tolist()
            )
            count += 1
            warm += (360 * hue >= 335 or 360 * hue <= 62) and saturation > 0.28 and value > 0.25
    return min(1, warm / count / 0.3)


def slow_ramp(v: float) -> Pixel:
    """The hot colour at v, before the picture's light."""
    stops = list(RAMP)
    above = next(stop for stop in stops[1:] if v <= stop)
    below = stops[stops.index(above) - 1]
    first, last = (bytes.fromhex(RAMP[stop]) for stop in (below, above))
    return tuple(a + (v - below) / (above - below) * (b - a) for a, b in zip(first, last, strict=True))


def slow_glow(own: Pixel, v: float, warmth: float, strength: float) -> Pixel:
    """One pixel under the glow."""
    grey = 0.2126 * own[0] + 0.7152 * own[1] + 0.0722 * own[2]
    alpha, back = strength * 0.88 * v**0.85, min(1, 2.5 * v)
    result = []
    for part, colour in zip(own, slow_ramp(v), strict=True):
        mixed = ((1 - 0.65 * warmth) * part + 0.65 * warmth * grey) * (1 - 0.16 * warmth)
        cold = (1 - back) * mixed + back * part
        hot = min(255, colour * (0.58 + 0.48 * (grey / 255) ** 0.7))
        result.append(cold * (1 - alpha) + hot * alpha)
    return tuple(result)


def slow_spotlight(own: Pixel, v: float, strength: float) -> Pixel:
    """One pixel under the spotlight."""
    grey = 0.2126 * own[0] + 0.7152 * own[1] + 0.0722 * own[2]
    back = min(1, 2.5 * v)
    shown = [((1 - back) * grey + back * part) * (0.38 + 0.62 * back) for part in own]
    return tuple((1 - strength) * part + strength * lit for part, lit in zip(own, shown, strict=True))


def slow_half(values: NDArray[Any]) -> set[tuple[int, int]]:
    """The fewest cells that hold half of a map: the largest first, of equal ones in reading order."""
    if not any(place > 1e-6 for row in slow_heat(values) for place in row):
        return set()
    cells = sorted(np.ndindex(values.shape), key=lambda cell: (-float(values[cell]), cell))
    mass, held, found = math.fsum(max(0.0, float(value)) for value in values.ravel()), 0.0, set()
    for cell in cells:
        found.add((cell[0], cell[1]))
        held += float(values[cell])
        if held >= mass / 2 * (1 - 1e-9):
            break
    return found


# --- Maps and pictures to draw ------------------------------------------------------------------------------


def spiky(shape: tuple[int, int], seed: int = 3) -> NDArray[np.float32]:
    """A map with few high cells, some below 0 and many of about an even share."""
    random = np.random.default_rng(seed)
    return (random.random(shape) ** 6 - 0.02).astype(np.float32)


def scene(height: int, width: int, *, warm: bool) -> Image.Image:
    """A picture with black, white, grey and colours in it; most of a warm one is orange."""
    noise = np.random.default_rng(5).integers(0, 256, (height, width, 3)).astype(np.uint8)
    noise[: height // 2] = (226, 128, 40) if warm else (60, 110, 200)
    noise[:2, : width // 3], noise[:2, -(width // 3) :] = 0, 255
    return Image.fromarray(noise)
