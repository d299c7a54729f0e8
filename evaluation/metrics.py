"""One map against one mask, as a number. Pure functions of arrays.

A map is (h, w), a mask (H, W) of the picture's own pixels, True on the thing. What speaks against a word (a
value below zero) points nowhere: all metrics read the map's positive part. A map without one finds nothing.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

BINS = 256  # of the histogram that Otsu's threshold is searched in
SAME = 1e-9  # of a cell: less of a thing is rounding
FLAT = 1e-5  # of the highest value: smaller differences are rounding


class Metric(NamedTuple):
    """One number that a map is judged by."""

    label: str
    what: str
    higher: bool  # is better


METRICS = {
    "pointing": Metric("pointing game", "the hottest cell has a part of the thing in it", True),
    "energy": Metric("energy inside", "the share of the map that lies on the thing", True),
    "obj_iou": Metric("Obj-IoU", "overlap of the map above its Otsu threshold with the thing", True),
    "func_iou": Metric(
        "Func-IoU", "the share of a function word's map below the mean threshold of the answer's things", True
    ),
    "f1_iou": Metric("F1-IoU", "the harmonic mean of Obj-IoU and Func-IoU", True),
    "deletion": Metric(
        "deletion AUC", "the word's probability while the hottest cells are blurred, the hottest first", False
    ),
    "insertion": Metric(
        "insertion AUC", "the word's probability while the hottest cells return to a blurred picture", True
    ),
}


class Value(NamedTuple):
    """One metric of one word's map."""

    row: str  # of the table: what made the map
    metric: str
    kind: str  # of the word
    group: str  # words of one group (a scene, a picture) stand or fall together
    value: float


def coverage(mask: NDArray[np.bool_], grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return how much of each cell (h, w) the thing covers, 0..1, for a mask of any size."""
    rows, cols = (_overlap(pixels, cells) for pixels, cells in zip(mask.shape, grid, strict=True))
    return rows @ mask.astype(np.float64) @ cols.T


def _overlap(pixels: int, cells: int) -> NDArray[np.float64]:
    """Return how much of each cell each pixel is (cell, pixel); each row sums to 1."""
    edges = np.linspace(0, pixels, cells + 1)
    first = np.arange(pixels)
    ends = np.minimum(first + 1, edges[1:, None]) - np.maximum(first, edges[:-1, None])
    return np.clip(ends, 0, None) * cells / pixels


def positive(heat: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the map's positive part."""
    return np.clip(np.asarray(heat, dtype=np.float64), 0, None)


def pointing(heat: NDArray[np.floating], covered: NDArray[np.float64]) -> float:
    """Return 1 if the hottest cell has a part of the thing in it, else 0; of equally hot cells, the share.

    The pointing game (Zhang et al. 2018, arXiv 1608.00507) allows a miss by some pixels; here that is within
    the cell. `covered` is how much of each cell the thing covers.
    """
    heat = positive(heat)
    hottest = heat == heat.max()
    return float((covered[hottest] > SAME).mean()) if heat.any() else 0.0


def energy(heat: NDArray[np.floating], covered: NDArray[np.float64]) -> float:
    """Return the share of the map that lies on the thing, 0..1."""
    heat = positive(heat)
    return float((heat * covered).sum() / heat.sum()) if heat.any() else 0.0


def otsu(values: NDArray[np.floating]) -> float:
    """Return the lowest value that belongs to the upper of two classes (Otsu 1979).

    The values are put into 256 bins from the lowest to the highest; of the bins' edges, the one with the
    greatest variance between the classes; the first, if several have it. Values that are all equal are all of
    the upper class.
    """
    low, high = float(values.min()), float(values.max())
    if high - low <= FLAT * max(abs(low), abs(high)):
        return low
    counts, edges = np.histogram(values, bins=BINS, range=(low, high))
    middle = np.arange(BINS)
    below = counts.cumsum()[:-1]  # of the lower class, if it ends with this bin
    above = values.size - below
    total = counts * middle
    sums = total.cumsum()[:-1]
    apart = sums / below - (total.sum() - sums) / above
    return float(edges[1 + int(np.argmax(below * above * apart**2))])


def enlarged(heat: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the map at the size (H, W) of a mask, linear between the centres of cells."""
    return np.asarray(cv2.resize(np.asarray(heat, np.float32), size[::-1], interpolation=cv2.INTER_LINEAR))


def object_iou(heat: NDArray[np.floating], mask: NDArray[np.bool_]) -> tuple[float, float]:
    """Return Obj-IoU, 0..1, and the threshold, as in the TAM paper (Li et al. 2025, arXiv 2506.23270).

    The map is enlarged to the mask; what reaches Otsu's threshold is compared with the mask. Deviation: a
    word of several tokens is judged by the mean of their maps, not by the best of them.
    """
    heat = positive(heat)
    if not heat.any():
        return 0.0, 0.0
    large = enlarged(heat, mask.shape)
    threshold = otsu(large)
    found = large >= threshold
    return float((found & mask).sum() / (found | mask).sum()), threshold


def function_iou(heat: NDArray[np.floating], threshold: float) -> float:
    """Return Func-IoU, 0..1: the share of cells below the threshold."""
    return float((positive(heat) < threshold * (1 - FLAT)).mean())


def harmonic_mean(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return 2ab / (a + b), 0 where both are."""
    total = one + other
    return np.divide(2 * one * other, total, out=np.zeros_like(total), where=total > 0)


def area_under(probabilities: NDArray[np.floating], counts: NDArray[np.integer]) -> float:
    """Return the area under a curve of probabilities over the share of cells, by trapezoids: 0..1.

    `counts` are the cells removed or added, ascending, from none to all.
    """
    return float(np.trapezoid(probabilities, counts / counts[-1]))
