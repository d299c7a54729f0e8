"""Boxes and points over a picture: blue lines between dark ones, and the number and label of each.

Goes in: a Pillow picture and `Boxes`. Comes out: nothing; they are drawn onto it. Knows nothing of maps.
viewer/css/boxes.css draws them alike.
"""

from __future__ import annotations

from typing import NamedTuple

from PIL import Image, ImageDraw

from drawing.colours import WHITE
from drawing.figure import Box as Place
from drawing.fonts import drawable, font, text_size
from records.boxes import Box

BLUE, ON_BLUE, DARK = (90, 208, 255), (11, 27, 36), (16, 16, 18)
FEW = 8  # boxes whose labels have room
DOT = 6  # half the width of a point, in lines
SIDE = 640  # pixels of a picture's longer side under which lines are 2 pixels wide


class Boxes(NamedTuple):
    """The boxes of an answer, for a picture of `size` (h, w) in pixels, and which of them stand out."""

    boxes: tuple[Box, ...] = ()
    size: tuple[int, int] = (1, 1)
    chosen: tuple[int, ...] = ()


NO_BOXES = Boxes()


def draw_boxes(picture: Image.Image, found: Boxes, place: Place | None = None, *, all_: bool = True) -> None:
    """Draw the boxes onto a picture, or onto that part of a figure (x0, y0, x1, y1) which is the picture.

    The chosen ones have thicker lines and a white name, and are drawn last; with `all_` false they are alone.
    """
    left, top, right, bottom = place or (0, 0, *picture.size)
    height, width = found.size
    scales = ((right - left) / width, (bottom - top) / height) * 2
    order = sorted(range(len(found.boxes)), key=lambda number: number in found.chosen)
    for number in order:
        if not all_ and number not in found.chosen:
            continue
        box = found.boxes[number]
        at = [side * scale for side, scale in zip(box.xyxy, scales, strict=True)]
        corners = (left + at[0], top + at[1], left + at[2], top + at[3])
        name = f"{number + 1}" + f" {box.label}" * (bool(box.label) and len(found.boxes) <= FEW)
        thick = max(1, round(max(right - left, bottom - top) / SIDE)) * (2 if number in found.chosen else 1)
        _draw_lines(ImageDraw.Draw(picture), corners, thick, box.is_point)
        beyond = DOT * thick if box.is_point else 0
        named = (corners[0] - beyond, corners[1] - beyond, corners[2] + beyond, corners[3] + beyond)
        _draw_name(picture, name, named, (left, top, right, bottom), is_chosen=number in found.chosen)


def _draw_lines(draw: ImageDraw.ImageDraw, corners: tuple[float, ...], thick: int, is_point: bool) -> None:
    """Draw the blue line of a box between two dark ones; of a point, a dot."""
    x0, y0, x1, y1 = (round(side) for side in corners)
    if is_point:
        for size, colour in ((DOT * thick, DARK), (5 * thick, WHITE), (3 * thick, BLUE)):
            draw.ellipse((x0 - size, y0 - size, x0 + size, y0 + size), fill=colour)
        return
    for inset, wide, colour in ((-thick, 4 * thick, DARK), (0, 2 * thick, BLUE)):
        outer = (x0 + inset, y0 + inset, max(x0, x1 - 1) - inset, max(y0, y1 - 1) - inset)
        draw.rectangle(outer, outline=colour, width=wide)


def _draw_name(
    picture: Image.Image, name: str, corners: tuple[float, ...], place: Place, is_chosen: bool
) -> None:
    """Write the name above a box, or inside where there is no room above it; never beyond the picture."""
    face = font(text_size((place[2] - place[0], place[3] - place[1])))
    pad = max(2, face.height // 5)
    shown = face.shortened(drawable(name), max(40, (place[2] - place[0]) // 3))
    wide, high = round(face.width(shown)) + 2 * pad, face.height + pad
    x = max(place[0], min(round(corners[0]), place[2] - wide))
    above = round(corners[1]) - high - pad
    y = above if above >= place[1] else max(place[1], round(corners[1]))
    draw = ImageDraw.Draw(picture)
    draw.rectangle((x, y, x + wide, y + high), fill=WHITE if is_chosen else BLUE, outline=DARK)
    face.write(draw, (x + pad, y + pad // 2), shown, ON_BLUE)
