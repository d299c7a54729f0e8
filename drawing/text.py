"""Text on a picture of its own: paragraphs, and small lines below a figure.

Goes in: texts and a width in pixels. Comes out: Pillow RGB pictures. Knows nothing of maps.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from PIL import Image, ImageDraw

from drawing.colours import FAINT, INK, MARKED, WHITE
from drawing.fonts import font, text_size


def paragraph(
    text: str,
    width: int,
    size: int,
    *,
    mark: tuple[int, int] | None = None,
    lines: int | None = None,
    colour: tuple[int, int, int] = INK,
) -> Image.Image:
    """The text in lines of `width` pixels, with letters `size` pixels high.

    Characters mark[0] up to mark[1] stand on a coloured ground. With `lines` it is at most so many lines
    high; of a longer text, those around the mark are shown, without a mark the first.
    """
    face = font(size)
    broken = _broken(text, width, size)
    shown = broken if lines is None else broken[_first_line(broken, mark, lines) :][:lines]
    step = round(1.35 * face.height)
    canvas = Image.new("RGB", (width, step * max(1, len(shown))), WHITE)
    draw = ImageDraw.Draw(canvas)
    for row, (start, end) in enumerate(shown):
        ends = sorted({start, end, *(min(max(at, start), end) for at in mark or ())})
        x, y = 0.0, row * step
        for left, right in pairwise(ends):
            wide = face.width(text[left:right])
            if mark is not None and mark[0] <= left < mark[1]:
                draw.rectangle((round(x), y, round(x + wide), y + face.height), fill=MARKED)
            face.write(draw, (x, y), text[left:right], colour)
            x += wide
    return canvas


def _first_line(broken: Sequence[tuple[int, int]], mark: tuple[int, int] | None, lines: int) -> int:
    """First of so many lines to show: the marked one in the middle where there are more."""
    at = 0 if mark is None else next((i for i, (_, end) in enumerate(broken) if mark[0] < end), len(broken))
    return max(0, min(at - lines // 2, len(broken) - lines))


@lru_cache(maxsize=16)
def _broken(text: str, width: int, size: int) -> tuple[tuple[int, int], ...]:
    """Start and end in the text of each line: broken between words, or inside one wider than a line."""
    face, lines, start, end = font(size), [], 0, 0
    for word in re.finditer(r"\S+\s*|\s+", text):
        if face.width(text[start : word.end()].rstrip()) > width:
            if end > start:
                lines.append((start, end))
            start = word.start()
            for at in range(word.start() + 1, word.end()):
                if face.width(text[start : at + 1].rstrip()) > width:
                    lines.append((start, at))
                    start = at
        end = word.end()
    return (*lines, (start, end)) if end > start else tuple(lines)


def with_notes(figure: Image.Image, notes: Sequence[str]) -> Image.Image:
    """The figure with small lines of text below it, broken at its width; its boxes stay where they are."""
    size = text_size(figure.size)
    parts = [paragraph(note, figure.width, max(11, round(0.8 * size)), colour=FAINT) for note in notes]
    canvas = Image.new(
        "RGB", (figure.width, figure.height + size + sum(part.height for part in parts)), WHITE
    )
    canvas.paste(figure, (0, 0))
    y = figure.height + size
    for part in parts:
        canvas.paste(part, (0, y))
        y += part.height
    canvas.info.update(figure.info)
    return canvas
