"""Scenes with known answers: pictures of a few coloured things, with masks, a caption and questions.

In: a seed and, if wanted, the number of things and the size. Out: a `Scene`, the same for the same seed.
Knows nothing about models: the bundled model is trained on these scenes and measured on others of them.

Training draws its seeds from below `HELD_OUT_SEED`; every measurement draws from `HELD_OUT_SEED` upwards.
"""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from dataclasses import dataclass, field
from math import cos, pi, sin
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

HELD_OUT_SEED = 10_000_000
CAPTION_PROMPT = "Describe this image."
CELL = 28  # pixels of one visual token; every side is a multiple of it, so that no scene is resampled
SIDES = tuple(range(6 * CELL, 12 * CELL + 1, CELL))  # 168 … 336
SUPERSAMPLING = 3
FRAME = (110, 116, 128)  # colour of the thin frame round every scene

# hue in degrees, saturation and value in 0..1, each jittered a little for every object
COLORS: dict[str, tuple[float, float, float]] = {
    "red": (358, 0.88, 0.84),
    "orange": (27, 0.95, 0.97),
    "yellow": (52, 0.92, 0.96),
    "green": (128, 0.80, 0.62),
    "blue": (218, 0.85, 0.88),
    "purple": (275, 0.72, 0.62),
    "pink": (330, 0.48, 0.98),
    "black": (220, 0.15, 0.14),
}
PLACES = (
    "top left",
    "top",
    "top right",
    "left",
    "center",
    "right",
    "bottom left",
    "bottom",
    "bottom right",
)  # row by row; the place of third (row, col) is PLACES[3 * row + col]
NUMBERS = ("none", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")

Shade = tuple[int, int, int, int]


class Pen:
    """Draws in a unit square, finer than the picture, in a main, a dark and a light shade of one colour."""

    def __init__(self, side: int, main: tuple[int, int, int]) -> None:
        self.side = side * SUPERSAMPLING
        self.tile = Image.new("RGBA", (self.side, self.side), (0, 0, 0, 0))
        self.draw = ImageDraw.Draw(self.tile)
        self.main: Shade = (*main, 255)
        self.dark: Shade = (*(round(c * 0.55) for c in main), 255)  # type: ignore[assignment]
        self.light: Shade = (*(round(c * 0.25 + 255 * 0.75) for c in main), 255)  # type: ignore[assignment]

    def polygon(self, points: list[tuple[float, float]], shade: Shade) -> None:
        """A filled polygon."""
        self.draw.polygon([(x * self.side, y * self.side) for x, y in points], fill=shade)

    def ellipse(self, x0: float, y0: float, x1: float, y1: float, shade: Shade) -> None:
        """A filled ellipse in a box."""
        self.draw.ellipse([v * self.side for v in (x0, y0, x1, y1)], fill=shade)

    def rectangle(self, x0: float, y0: float, x1: float, y1: float, shade: Shade) -> None:
        """A filled rectangle."""
        self.draw.rectangle([v * self.side for v in (x0, y0, x1, y1)], fill=shade)

    def line(self, points: list[tuple[float, float]], width: float, shade: Shade) -> None:
        """A line; its width is a share of the square."""
        scaled = [(x * self.side, y * self.side) for x, y in points]
        self.draw.line(scaled, fill=shade, width=max(1, round(width * self.side)), joint="curve")


def _spokes(n: int, inner: float, outer: float, start: float = -pi / 2) -> list[tuple[float, float]]:
    """Corners of a star with n points around the middle of the unit square."""
    radii = (outer, inner)
    angles = [start + pi * k / n for k in range(2 * n)]
    return [(0.5 + radii[k % 2] * cos(a), 0.5 + radii[k % 2] * sin(a)) for k, a in enumerate(angles)]


def _circle(pen: Pen) -> None:
    pen.ellipse(0.04, 0.04, 0.96, 0.96, pen.main)


def _square(pen: Pen) -> None:
    pen.rectangle(0.08, 0.08, 0.92, 0.92, pen.main)


def _triangle(pen: Pen) -> None:
    pen.polygon([(0.5, 0.06), (0.98, 0.92), (0.02, 0.92)], pen.main)


def _star(pen: Pen) -> None:
    pen.polygon(_spokes(5, 0.2, 0.5), pen.main)


def _heart(pen: Pen) -> None:
    turns = [2 * pi * k / 80 for k in range(80)]
    outline = [
        (
            0.5 + 0.03 * 16 * sin(t) ** 3,
            0.47 - 0.03 * (13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t)),
        )
        for t in turns
    ]
    pen.polygon(outline, pen.main)


def _house(pen: Pen) -> None:
    pen.rectangle(0.14, 0.42, 0.86, 0.96, pen.main)
    pen.polygon([(0.5, 0.03), (0.98, 0.44), (0.02, 0.44)], pen.dark)
    pen.rectangle(0.42, 0.62, 0.60, 0.96, pen.light)
    pen.rectangle(0.21, 0.52, 0.35, 0.66, pen.light)
    pen.rectangle(0.66, 0.52, 0.80, 0.66, pen.light)


def _tree(pen: Pen) -> None:
    pen.rectangle(0.43, 0.58, 0.57, 0.98, pen.dark)
    for x0, y0, x1, y1 in ((0.25, 0.02, 0.75, 0.46), (0.06, 0.22, 0.56, 0.68), (0.44, 0.22, 0.94, 0.68)):
        pen.ellipse(x0, y0, x1, y1, pen.main)


def _car(pen: Pen) -> None:
    pen.polygon([(0.22, 0.46), (0.34, 0.22), (0.70, 0.22), (0.82, 0.46)], pen.main)
    pen.rectangle(0.02, 0.44, 0.98, 0.72, pen.main)
    pen.polygon([(0.30, 0.44), (0.38, 0.28), (0.50, 0.28), (0.50, 0.44)], pen.light)
    pen.polygon([(0.54, 0.44), (0.54, 0.28), (0.66, 0.28), (0.74, 0.44)], pen.light)
    for x in (0.14, 0.60):
        pen.ellipse(x, 0.58, x + 0.28, 0.86, pen.dark)
        pen.ellipse(x + 0.09, 0.67, x + 0.19, 0.77, pen.light)


def _fish(pen: Pen) -> None:
    pen.polygon([(0.66, 0.50), (0.99, 0.20), (0.99, 0.80)], pen.dark)
    pen.ellipse(0.01, 0.22, 0.78, 0.78, pen.main)
    pen.ellipse(0.15, 0.36, 0.29, 0.50, pen.light)
    pen.ellipse(0.19, 0.40, 0.25, 0.46, pen.dark)


def _sun(pen: Pen) -> None:
    for k in range(8):
        a = 2 * pi * k / 8
        tip = (0.5 + 0.5 * cos(a), 0.5 + 0.5 * sin(a))
        base = [(0.5 + 0.36 * cos(a + d), 0.5 + 0.36 * sin(a + d)) for d in (-0.26, 0.26)]
        pen.polygon([tip, *base], pen.dark)
    pen.ellipse(0.21, 0.21, 0.79, 0.79, pen.main)


def _flower(pen: Pen) -> None:
    pen.line([(0.5, 0.40), (0.5, 0.99)], 0.07, pen.dark)
    pen.polygon([(0.5, 0.92), (0.74, 0.66), (0.84, 0.76)], pen.dark)
    for k in range(5):
        a = 2 * pi * k / 5 - pi / 2
        x, y = 0.5 + 0.21 * cos(a), 0.34 + 0.21 * sin(a)
        pen.ellipse(x - 0.145, y - 0.145, x + 0.145, y + 0.145, pen.main)
    pen.ellipse(0.39, 0.23, 0.61, 0.45, pen.light)


def _boat(pen: Pen) -> None:
    pen.rectangle(0.47, 0.04, 0.53, 0.70, pen.dark)
    pen.polygon([(0.56, 0.08), (0.56, 0.62), (0.94, 0.62)], pen.main)
    pen.polygon([(0.44, 0.16), (0.44, 0.62), (0.14, 0.62)], pen.light)
    pen.polygon([(0.01, 0.68), (0.99, 0.68), (0.80, 0.95), (0.20, 0.95)], pen.main)


def _cup(pen: Pen) -> None:
    pen.ellipse(0.56, 0.28, 0.98, 0.74, pen.main)
    pen.draw.ellipse([v * pen.side for v in (0.67, 0.39, 0.87, 0.63)], fill=(0, 0, 0, 0))
    pen.polygon([(0.04, 0.14), (0.76, 0.14), (0.66, 0.92), (0.14, 0.92)], pen.main)
    pen.ellipse(0.04, 0.06, 0.76, 0.24, pen.light)


def _moon(pen: Pen) -> None:
    pen.ellipse(0.06, 0.03, 0.98, 0.97, pen.main)
    pen.draw.ellipse([v * pen.side for v in (0.36, -0.06, 1.14, 0.78)], fill=(0, 0, 0, 0))


THINGS: dict[str, Callable[[Pen], None]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "house": _house,
    "tree": _tree,
    "car": _car,
    "fish": _fish,
    "sun": _sun,
    "flower": _flower,
    "boat": _boat,
    "cup": _cup,
    "moon": _moon,
}


@dataclass(frozen=True, eq=False)
class SceneObject:
    """One thing in a scene, and exactly where it is."""

    name: str
    color: str
    place: str
    box: tuple[int, int, int, int]  # x0, y0, x1, y1 in pixels; x1 and y1 are just outside
    mask: np.ndarray  # bool (H, W): the pixels it covers


class Question(NamedTuple):
    """A question about a scene with its one right answer."""

    question: str
    answer: str


@dataclass(frozen=True, eq=False)
class Scene:
    """A picture with everything that is true of it. Objects are in reading order of their places."""

    image: Image.Image
    objects: tuple[SceneObject, ...]
    seed: int
    questions: list[Question] = field(default_factory=list)

    @property
    def caption(self) -> str:
        """The one right answer to `CAPTION_PROMPT`: every object, in reading order."""
        phrases = [f"{described(o)} {located(o.place)}" for o in self.objects]
        listed = phrases[0] if len(phrases) == 1 else ", ".join(phrases[:-1]) + " and " + phrases[-1]
        return listed[0].upper() + listed[1:] + "."


def described(thing: SceneObject) -> str:
    """The object with its colour and article: "an orange fish"."""
    return f"{'an' if thing.color[0] in 'aeiou' else 'a'} {thing.color} {thing.name}"


def located(place: str) -> str:
    """The place with its preposition: "at the top left"."""
    return f"in the {place}" if place == "center" else f"at the {place}"


def make_scene(seed: int, n_objects: int | None = None, size: tuple[int, int] | None = None) -> Scene:
    """A scene of `n_objects` things with different names, each in a place of its own.

    Args:
        seed: any integer from 0; `HELD_OUT_SEED` and above are never used for training.
        n_objects: 1 to 9; by default 1 to 4.
        size: (height, width) in pixels, each one of `SIDES`; by default any pair of them.

    Raises:
        ValueError: a number of objects or a size outside these.
    """
    rng = np.random.default_rng([seed, 20_240])
    if size is None:
        size = (int(rng.choice(SIDES)), int(rng.choice(SIDES)))
    if n_objects is None:
        n_objects = int(rng.integers(1, 5))
    if not 1 <= n_objects <= len(PLACES):
        raise ValueError(f"a scene holds 1 to {len(PLACES)} objects; got {n_objects}")
    if any(side not in SIDES for side in size):
        raise ValueError(f"a scene's height and width are multiples of {CELL} from 168 to 336; got {size}")

    canvas = _background(rng, size)
    places = sorted(int(p) for p in rng.choice(len(PLACES), n_objects, replace=False))
    names = [list(THINGS)[i] for i in rng.choice(len(THINGS), n_objects, replace=False)]
    colors = [list(COLORS)[i] for i in rng.integers(0, len(COLORS), n_objects)]
    objects = [_place_object(rng, canvas, n, c, p) for n, c, p in zip(names, colors, places, strict=True)]
    return Scene(canvas, tuple(objects), seed, _questions(rng, objects))


def _shade(rng: np.random.Generator, color: str) -> tuple[int, int, int]:
    hue, saturation, value = COLORS[color]
    hue = (hue + rng.uniform(-5, 5)) % 360
    saturation = float(np.clip(saturation + rng.uniform(-0.06, 0.06), 0, 1))
    value = float(np.clip(value + rng.uniform(-0.05, 0.05), 0.08, 1))
    r, g, b = colorsys.hsv_to_rgb(hue / 360, saturation, value)
    return round(r * 255), round(g * 255), round(b * 255)


def _place_object(
    rng: np.random.Generator, canvas: Image.Image, name: str, color: str, place: int
) -> SceneObject:
    """Draw one thing into its third of the picture; the mask is what its tile covers by at least half."""
    width, height = canvas.size
    third_h, third_w = height / 3, width / 3
    room = min(third_h, third_w)
    side = round(rng.uniform(max(0.72 * room, 44), 0.93 * room))
    row, col = divmod(place, 3)
    slack_h, slack_w = (third_h - side) * 0.8, (third_w - side) * 0.8
    y0 = round((row + 0.5) * third_h - side / 2 + rng.uniform(-0.5, 0.5) * slack_h)
    x0 = round((col + 0.5) * third_w - side / 2 + rng.uniform(-0.5, 0.5) * slack_w)
    y0, x0 = int(np.clip(y0, 0, height - side)), int(np.clip(x0, 0, width - side))

    pen = Pen(side, _shade(rng, color))
    THINGS[name](pen)
    tile = pen.tile
    if rng.random() < 0.5:
        tile = tile.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    tile = tile.rotate(rng.uniform(-8, 8), Image.Resampling.BILINEAR)
    tile = tile.resize((side, side), Image.Resampling.BOX)
    canvas.paste(tile, (x0, y0), tile)

    mask = np.zeros((height, width), bool)
    mask[y0 : y0 + side, x0 : x0 + side] = np.asarray(tile)[..., 3] >= 128
    rows, cols = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = (int(cols[0]), int(rows[0]), int(cols[-1]) + 1, int(rows[-1]) + 1)
    return SceneObject(name, color, PLACES[place], box, mask)


def _pale(rng: np.random.Generator) -> np.ndarray:
    """A light, weakly coloured shade, so that things stand out from any background."""
    rgb = colorsys.hsv_to_rgb(rng.uniform(), rng.uniform(0.02, 0.16), rng.uniform(0.84, 0.99))
    return np.array(rgb) * 255


def is_framed(image: Image.Image) -> bool:
    """Return whether a picture has the thin grey frame that every scene has: a cheap sign that it is none.

    That is so if nine in ten of its outermost pixels are within 24 of 255 of the frame's colour.
    """
    pixels = np.asarray(image.convert("RGB"))
    border = np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]]).astype(int)
    return bool((np.abs(border - FRAME).max(axis=1) <= 24).mean() >= 0.9)


def _background(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Plain, gradient, hills, stripes, dots or a soft cloud of two pale shades, inside a thin grey frame."""
    height, width = size
    first, second = _pale(rng), _pale(rng)
    rows, cols = np.mgrid[0:height, 0:width].astype(np.float64)
    kind = rng.integers(6)
    if kind == 0:
        blend = np.zeros(size)
    elif kind == 1:
        angle = rng.uniform(0, 2 * pi)
        slope = cos(angle) * rows / height + sin(angle) * cols / width
        blend = (slope - slope.min()) / (np.ptp(slope) or 1)
    elif kind == 2:
        horizon = height * (rng.uniform(0.4, 0.7) + 0.06 * np.sin(cols / width * rng.uniform(3, 9)))
        blend = np.clip(rows - horizon, 0, 1)
    elif kind == 3:
        angle, period = rng.uniform(0, pi), rng.uniform(18, 44)
        blend = 0.5 + 0.5 * np.sin((cos(angle) * rows + sin(angle) * cols) * 2 * pi / period)
    elif kind == 4:
        pitch = rng.uniform(20, 36)
        distance = np.hypot(rows % pitch - pitch / 2, cols % pitch - pitch / 2)
        blend = np.clip(pitch * 0.22 - distance, 0, 1)
    else:
        coarse = Image.fromarray(rng.integers(0, 256, (5, 5)).astype(np.uint8))
        blend = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)) / 255
    pixels = first + (second - first) * blend[..., None] * rng.uniform(0.4, 1)
    pixels += rng.normal(0, rng.uniform(0, 3), (height, width, 1))
    image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
    if rng.random() < 0.3:
        image = image.filter(ImageFilter.GaussianBlur(0.8))
    ImageDraw.Draw(image).rectangle((0, 0, width - 1, height - 1), outline=FRAME, width=3)
    return image


def _questions(rng: np.random.Generator, objects: list[SceneObject]) -> list[Question]:
    """Every question the scene can answer: colour, place and thing of each object, presence, the count."""
    asked: list[Question] = []
    for thing in objects:
        asked.append(Question(f"What color is the {thing.name}?", f"It is {thing.color}."))
        asked.append(Question(f"Where is the {thing.name}?", f"It is {located(thing.place)}."))
        asked.append(Question(f"What is {located(thing.place)}?", f"It is {described(thing)}."))
        asked.append(Question(f"Is there a {thing.name}?", f"Yes, {located(thing.place)}."))
    count = len(objects)
    are = f"There is {NUMBERS[1]}." if count == 1 else f"There are {NUMBERS[count]}."
    asked.append(Question("How many things are there?", are))
    present = {thing.name for thing in objects}
    absent = [name for name in THINGS if name not in present]
    chosen = rng.choice(absent, min(2, len(absent)), replace=False)
    return asked + [Question(f"Is there a {name}?", "No.") for name in chosen]
