"""The colours of ink, and matplotlib's colour maps as tables.

Goes in: the name of a colour map, values. Comes out: RGB colours. Knows nothing of pictures.
"""

from functools import lru_cache

import matplotlib
import numpy as np
from numpy.typing import NDArray

from records.look import PERCEPTUAL, check_colormap

WHITE, INK, FAINT = (255, 255, 255), (32, 33, 36), (110, 114, 120)
MARKED = (255, 214, 102)  # ground of the words that a paragraph marks


def colormaps() -> list[str]:
    """Names of matplotlib's colour maps: perceptually even ones first, reversed ones ("_r") last."""
    others = sorted(
        set(matplotlib.colormaps) - set(PERCEPTUAL), key=lambda name: (name.endswith("_r"), name.lower())
    )
    return [*PERCEPTUAL, *others]


@lru_cache(maxsize=32)
def palette(colormap: str) -> NDArray[np.uint8]:
    """Colours (n, 3) of a matplotlib colour map, RGB, lowest value first."""
    check_colormap(colormap)
    colours = matplotlib.colormaps[colormap]
    table = np.array(colours(np.arange(colours.N), bytes=True)[:, :3], dtype=np.uint8)
    table.flags.writeable = False
    return table


def colours(
    values: NDArray[np.float64], colormap: str, low: float, high: float, gamma: float = 1.0
) -> NDArray[np.uint8]:
    """RGB (..., 3) of the values from low to high, clipped there; the lowest if low == high.

    The place of a value between the ends is raised to the power gamma; 1 is linear.
    """
    table = palette(colormap)
    share = np.clip((values - low) / (high - low), 0, 1) ** gamma if high > low else np.zeros_like(values)
    return table[np.minimum((share * len(table)).astype(np.intp), len(table) - 1)]
