"""Several pictures in one, in rows, each with its label.

Goes in: Pillow pictures and labels. Comes out: one picture, where each stands as boxes in `.info["boxes"]`.
Knows nothing of maps.
"""

import math
from collections.abc import Sequence

from PIL import Image, ImageDraw

from drawing.colour_bar import Scale
from drawing.colours import INK, WHITE
from drawing.figure import Box, figure, moved
from drawing.fonts import font, text_size
from records.pictures import rgb


def overlay_grid(
    pictures: Sequence[Image.Image],
    labels: Sequence[str],
    columns: int | None = None,
    *,
    title: str | None = None,
    subtitle: str | None = None,
    scale: Scale | None = None,
) -> Image.Image:
    """Several pictures in rows, in the order given, each with its label above; boxes in `.info["boxes"]`.

    Without `columns` the result comes out about 4:3. `scale` adds one colour bar for pictures that share it.
    """
    if not pictures or len(pictures) != len(labels):
        raise ValueError(
            f"a grid needs as many labels as pictures; got {len(pictures)} pictures, {len(labels)} labels"
        )
    if columns is not None and columns < 1:
        raise ValueError(f"columns must be at least 1; got {columns}")
    cell_w, cell_h = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    face = font(text_size((cell_w, cell_h)) + 1)
    gap, strip = 2 * face.size // 2 + 4, round(1.5 * face.height)
    step_w, step_h = cell_w + gap, cell_h + strip + gap
    columns = min(columns or _balanced_columns(len(pictures), step_w, step_h), len(pictures))
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * step_w - gap, rows * step_h - gap), WHITE)
    boxes: list[Box] = []
    for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
        x, y = index % columns * step_w, index // columns * step_h
        face.write(ImageDraw.Draw(sheet), (x, y), face.shortened(label, cell_w), INK)
        sheet.paste(rgb(picture), (x, y + strip))
        boxes.append((x, y + strip, x + picture.width, y + strip + picture.height))
    framed = figure(sheet, scale, title, subtitle, max(face.size, text_size(sheet.size) // 2))
    corner = framed.info["picture_box"][:2]
    framed.info["boxes"] = [moved(box, corner) for box in boxes]
    return framed


def _balanced_columns(count: int, step_w: int, step_h: int) -> int:
    """Columns for which the whole is closest to 4:3."""

    def imbalance(columns: int) -> float:
        return abs(math.log(columns * step_w / (-(-count // columns) * step_h) * 3 / 4))

    return min(range(1, count + 1), key=imbalance)
