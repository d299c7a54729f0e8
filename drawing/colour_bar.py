"""The colour bar: colours from lowest to highest, and the numbers that they stand for.

Goes in: a `Scale`. Comes out: a Pillow RGB picture, its coloured part in `.info["bar_box"]`; numbers as text.
Knows nothing of maps and pictures.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.ticker import MaxNLocator
from PIL import Image, ImageDraw

from drawing.colours import FAINT, INK, WHITE, colours
from drawing.fonts import Font, font
from records.look import GLOW, SPOTLIGHT

FRAME = (190, 192, 196)


@dataclass(frozen=True)
class Scale:
    """What a colour bar says: colours, the values at its two ends, and what the numbers are."""

    colormap: str  # of matplotlib; "glow" and "spotlight" have colours of their own
    vmin: float
    vmax: float
    label: str = "share of attention"
    unit: str = (
        "%"  # "%": values are shares and are printed times 100; else printed as they are, before the unit
    )
    below: bool = False  # values under vmin were drawn in the lowest colour
    above: bool = False  # values over vmax were drawn in the highest colour
    gamma: float = 1.0  # colours stand for values by this power of their place between the ends


def colour_bar(scale: Scale, length: int, size: int, horizontal: bool = False) -> Image.Image:
    """A colour bar with its numbers, about `length` pixels long; the coloured part is `.info["bar_box"]`.

    Highest value at the top, or at the right. The ends carry the real vmin and vmax, round values stand
    between.
    """
    face, thick, tick, gap = font(size), round(1.1 * size), max(3, size // 3), max(3, size // 4)
    values, labels = _ticks(scale, min(7, max(2, length // ((8 if horizontal else 4) * size))))
    widths = [math.ceil(face.width(label)) for label in labels]
    along, across = (widths, face.height) if horizontal else ([face.height] * len(widths), max(widths))
    margin = max(along[0], along[-1]) // 2 + 1  # half of an end's label stands out beyond the coloured part
    length = max(length, 2 * margin + along[0] + along[-1])
    span = length - 2 * margin  # pixels from the lowest colour to the highest, both counted
    depth = thick + tick + gap + across
    canvas = Image.new("RGB", (length, depth) if horizontal else (depth, length), WHITE)
    ramp = _ramp(scale, span, thick)
    box = (margin, 0, margin + span, thick) if horizontal else (0, margin, thick, margin + span)
    canvas.paste(ramp if horizontal else ramp.transpose(Image.Transpose.ROTATE_90), box)
    canvas.info["bar_box"] = box

    draw = ImageDraw.Draw(canvas)
    if scale.colormap in (GLOW, SPOTLIGHT):  # one end is white, as the paper is
        draw.rectangle((box[0], box[1], box[2] - 1, box[3] - 1), outline=FRAME)
    places = [_place(value, scale, span) for value in values]
    for index in _apart(places, along, size):
        at, text = places[index], labels[index]
        if horizontal:
            x = margin + at
            start = (x - widths[index] / 2, float(thick + tick + gap))
            draw.line((x, thick, x, thick + tick - 1), fill=FAINT)
        else:
            y = margin + span - 1 - at
            start = (float(thick + tick + gap), y - face.middle)
            draw.line((thick, y, thick + tick - 1, y), fill=FAINT)
        face.write(draw, start, text, INK)
    return _with_caption(canvas, scale.label, face, horizontal)


def _ramp(scale: Scale, span: int, thick: int) -> Image.Image:
    """The colours from lowest (left) to highest (right); only the lowest where there is one value."""
    share = np.linspace(0, 1, span) if scale.vmax > scale.vmin else np.zeros(span)
    return Image.fromarray(np.repeat(colours(share, scale.colormap, 0, 1)[None], thick, 0))


def _place(value: float, scale: Scale, span: int) -> int:
    """Pixels from the low end of the bar; one value alone stands in the middle."""
    if scale.vmax == scale.vmin:
        return span // 2
    return round(((value - scale.vmin) / (scale.vmax - scale.vmin)) ** scale.gamma * (span - 1))


def _apart(places: list[int], extents: list[int], gap: int) -> list[int]:
    """Indices of labels that do not touch: both ends always, others where there is room."""
    kept = sorted({0, len(places) - 1})
    for index in range(1, len(places) - 1):
        if all(abs(places[index] - places[k]) >= (extents[index] + extents[k]) / 2 + gap for k in kept):
            kept.append(index)
    return kept


def _with_caption(bar: Image.Image, caption: str, face: Font, horizontal: bool) -> Image.Image:
    """The bar with what its numbers are: under a horizontal bar, upright at the right of a vertical one."""
    strip = Image.new("RGB", (math.ceil(face.width(caption)) + 2, round(1.2 * face.height)), WHITE)
    if not caption or strip.width > (bar.width if horizontal else bar.height):
        return bar
    face.write(ImageDraw.Draw(strip), (1, strip.height - face.height), caption, FAINT)
    if not horizontal:
        strip = strip.transpose(Image.Transpose.ROTATE_90)
    width, height = bar.size
    size_wh = (width, height + strip.height) if horizontal else (width + strip.width, height)
    canvas = Image.new("RGB", size_wh, WHITE)
    canvas.paste(bar, (0, 0))
    canvas.paste(
        strip, ((width - strip.width) // 2, height) if horizontal else (width, (height - strip.height) // 2)
    )
    canvas.info.update(bar.info)
    return canvas


def _ticks(scale: Scale, about: int) -> tuple[list[float], list[str]]:
    """Values, lowest first, and their labels: the two ends as they are, round values between."""
    if scale.vmin == scale.vmax:
        return [scale.vmin], number_labels([scale.vmin], scale.unit)
    inner = MaxNLocator(nbins=about, steps=[1, 2, 2.5, 5, 10]).tick_values(scale.vmin, scale.vmax)
    values = [scale.vmin, *(float(v) for v in inner if scale.vmin < v < scale.vmax), scale.vmax]
    labels = number_labels(values, scale.unit)
    labels[0] = f"≤ {labels[0]}" if scale.below else labels[0]
    labels[-1] = f"≥ {labels[-1]}" if scale.above else labels[-1]
    return values, labels


def number_labels(values: Sequence[float], unit: str = "%") -> list[str]:
    """The numbers as text with their unit, with as many decimals as show three figures of their range.

    Numbers that are all under a thousandth, or over a million, share a power of ten: 1.25×10⁻⁷ %.
    """
    shown = [100 * value if unit == "%" else value for value in values]
    largest = max(abs(value) for value in shown)
    spread = (max(shown) - min(shown)) or largest
    power = 0 if largest == 0 or 1e-3 <= largest < 1e6 else max(-300, _magnitude(largest))
    decimals = 0 if spread == 0 else min(9, max(0, 2 + power - _magnitude(spread)))
    superscript = str(power).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
    suffix = (f"×10{superscript}" if power else "") + (f" {unit}" if unit else "")
    texts = (f"{value / 10.0**power:z.{decimals}f}" if value else "0" for value in shown)
    return [f"0 {unit}".rstrip() if text == "0" else text.replace("-", "−") + suffix for text in texts]


def _magnitude(number: float) -> int:
    """Power of ten of the first figure: 2 for 123; just below a power counts as that power."""
    return math.floor(math.log10(number) + 1e-9)
