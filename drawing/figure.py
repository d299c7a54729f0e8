"""What stands around a picture: its colour bar beside it, its title above, nothing over it.

Goes in: a Pillow picture. Comes out: a larger one; where the picture and the bar are in it, as boxes in
`.info`. Knows nothing of maps.
"""

import math

from PIL import Image, ImageDraw

from drawing.colour_bar import Scale, colour_bar
from drawing.colours import FAINT, INK, WHITE
from drawing.fonts import font

Box = tuple[int, int, int, int]  # (x0, y0, x1, y1) in pixels, x1 and y1 outside
BOXES = ("picture_box", "original_box", "bar_box")  # kept in a result's .info


def figure(
    content: Image.Image, scale: Scale | None, title: str | None, subtitle: str | None, size: int
) -> Image.Image:
    """Content with its colour bar beside it and its title above; nothing is covered. Boxes in `.info`."""
    framed = content if scale is None else _with_bar(content, scale, size)
    heading = [(title, font(round(1.25 * size)), INK), (subtitle, font(size), FAINT)]
    lines = [(text, face, colour) for text, face, colour in heading if text]
    top = sum(round(1.35 * face.height) for _, face, _ in lines) + (size // 2 if lines else 0)
    widest = max((math.ceil(face.width(text)) for text, face, _ in lines), default=0)
    width = max(framed.width, min(widest, 24 * size))  # a narrow picture still has room for a few words
    canvas = Image.new("RGB", (width, top + framed.height), WHITE)
    canvas.paste(framed, (0, top))
    y = 0
    for text, face, colour in lines:
        face.write(ImageDraw.Draw(canvas), (0, y), face.shortened(text, width), colour)
        y += round(1.35 * face.height)
    boxes = {"picture_box": (0, 0, *content.size), **_boxes(framed)}
    canvas.info.update({name: moved(box, (0, top)) for name, box in boxes.items()})
    return canvas


def _with_bar(content: Image.Image, scale: Scale, size: int) -> Image.Image:
    """Content with its colour bar at the right, or below where it is too flat for one."""
    width, height = content.size
    below = width > height and height < 12 * size
    bar = colour_bar(scale, max(width if below else height, 10 * size), size, below)
    place = (0, height + size // 2) if below else (width + size, 0)
    size_wh = (max(width, place[0] + bar.width), max(height, place[1] + bar.height))
    canvas = Image.new("RGB", size_wh, WHITE)
    canvas.paste(content, (0, 0))
    canvas.paste(bar, place)
    canvas.info.update(_boxes(content) | {"bar_box": moved(bar.info["bar_box"], place)})
    return canvas


def _boxes(image: Image.Image) -> dict[str, Box]:
    return {name: box for name, box in image.info.items() if name in BOXES}


def moved(box: Box, by: tuple[int, int]) -> Box:
    """Return the box, so many pixels (x, y) further."""
    return box[0] + by[0], box[1] + by[1], box[2] + by[0], box[3] + by[1]
