"""The colours of ink, and of colour bars: matplotlib's colour maps, glow and spotlight as tables.

Goes in: the name of such colours, values. Comes out: RGB colours. Knows nothing of pictures.
"""

from functools import lru_cache

import matplotlib
import numpy as np
from numpy.typing import NDArray

from drawing.glow import bar_colours
from records.look import GLOW, PERCEPTUAL, SPOTLIGHT, check_colormap

WHITE, INK, FAINT = (255, 255, 255), (32, 33, 36), (110, 114, 120)
MARKED = (255, 214, 102)  # ground of the words that a paragraph marks


def colormaps() -> list[str]:
    """Names of colours to choose: glow, then matplotlib's, even ones first, reversed ones ("_r") last."""
    others = sorted(
        set(matplotlib.colormaps) - set(PERCEPTUAL), key=lambda name: (name.endswith("_r"), name.lower())
    )
    return [GLOW, *PERCEPTUAL, *others]


@lru_cache(maxsize=32)
def palette(colormap: str) -> NDArray[np.uint8]:
    """Colours (n, 3), RGB, lowest value first: a colour map's, or "glow" or "spotlight" on white."""
    if colormap in (GLOW, SPOTLIGHT):
        table = bar_colours(256, spotlight=colormap == SPOTLIGHT)
    else:
        check_colormap(colormap)
        colours = matplotlib.colormaps[colormap]
        table = np.array(colours(np.arange(colours.N), bytes=True)[:, :3], dtype=np.uint8)
    table.flags.writeable = False
    return table


def places(values: NDArray[np.float64], low: float, high: float, gamma: float = 1.0) -> NDArray[np.float64]:
    """Where values stand between low and high, 0..1 and to the power gamma; all 0 if low == high."""
    if high <= low:
        return np.zeros_like(values)
    return np.asarray(np.clip((values - low) / (high - low), 0, 1) ** gamma)


def colours(
    values: NDArray[np.float64], colormap: str, low: float, high: float, gamma: float = 1.0
) -> NDArray[np.uint8]:
    """RGB (..., 3) of the values from low to high, clipped there; the lowest if low == high.

    The place of a value between the ends is raised to the power gamma; 1 is linear.
    """
    table, share = palette(colormap), places(values, low, high, gamma)
    return table[np.minimum((share * len(table)).astype(np.intp), len(table) - 1)]
