"""How a map is drawn, as a record: colours, transparency, what is beside what.

Goes in: names and numbers. Comes out: a `Look` that can be drawn. It asks matplotlib which colour maps there
are, and knows nothing of pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, get_args

import matplotlib
import numpy as np

import config

View = Literal["overlay", "side by side", "heatmap"]
VIEWS: tuple[str, ...] = get_args(View)
PERCEPTUAL = ("viridis", "cividis", "plasma", "inferno", "magma")  # read in the right order, also in grey
LARGEST = 1e300  # so that a range of values, and 100 times one, are still numbers


def check_colormap(name: object) -> None:
    """Return if matplotlib has a colour map of that name; else raise ValueError."""
    if not isinstance(name, str) or name not in matplotlib.colormaps:
        raise ValueError(
            f"unknown colour map {name!r}; matplotlib's names work, such as {', '.join(PERCEPTUAL)}"
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    return bool(abs(float(value)) < LARGEST)


@dataclass(frozen=True)
class Look:
    """How a map is drawn. It refuses to exist with a colour map, view or alpha that cannot be drawn."""

    colormap: str = field(default_factory=lambda: config.HEATMAP_COLORMAP)
    alpha: float = field(default_factory=lambda: config.HEATMAP_ALPHA)  # 0 shows the picture, 1 the map alone
    view: str = field(default_factory=lambda: config.HEATMAP_VIEW)  # one of VIEWS
    smooth: bool = field(default_factory=lambda: config.HEATMAP_SMOOTH)  # False: one flat cell a visual token
    vmin: float | None = None  # value of the lowest colour; None: the map's lowest
    vmax: float | None = None  # value of the highest colour; None: the map's highest
    gamma: float = 1.0  # contrast: below 1 lifts faint values, above 1 leaves only strong ones
    crossed: tuple[int, ...] = ()  # cells (row * w + col) that are crossed out: nothing is claimed of them

    def __post_init__(self) -> None:
        check_colormap(self.colormap)
        if not (_is_number(self.alpha) and 0 <= self.alpha <= 1):
            raise ValueError(f"alpha must be a number from 0 (picture) to 1 (map); got {self.alpha!r}")
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(map(repr, VIEWS))}; got {self.view!r}")
        if not (_is_number(self.gamma) and 0.1 <= self.gamma <= 10):
            raise ValueError(f"gamma must be a number from 0.1 to 10; got {self.gamma!r}")
        for name in ("vmin", "vmax"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise ValueError(f"{name} must be a finite number; got {value!r}")
