"""How a map is drawn, as a record: colours, transparency, what is beside what.

Goes in: names and numbers. Comes out: a `Look` that can be drawn. It asks matplotlib which colour maps there
are, and knows nothing of pixels.

There are two kinds of look. Under "glow" the picture lights up where a map has more than an even share
(`drawing/glow.py`); under a colour map of matplotlib each value has its colour, from `vmin` to `vmax`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import matplotlib
import numpy as np

import config
from utils import shown

View = Literal["overlay", "side by side", "heatmap", "spotlight"]
VIEWS: tuple[str, ...] = get_args(View)
GLOW, SPOTLIGHT = "glow", "spotlight"
PERCEPTUAL = ("viridis", "cividis", "plasma", "inferno", "magma")  # read in the right order, also in grey
LARGEST = 1e300  # so that a range of values, and 100 times one, are still numbers


def check_colormap(name: object) -> None:
    """Return if it is "glow" or a colour map of matplotlib; else raise ValueError."""
    if name != GLOW and (not isinstance(name, str) or name not in matplotlib.colormaps):
        raise ValueError(
            f"unknown colour map {shown(name)}; {GLOW!r} works, and matplotlib's names, such as "
            f"{', '.join(PERCEPTUAL)}"
        )


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float | np.integer | np.floating):
        return False
    try:
        return bool(abs(float(value)) < LARGEST)
    except OverflowError:  # a whole number of more than 300 digits
        return False


_FROM_CONFIG: Any = None  # and from the other fields: see `Look`


class Whole(NamedTuple):
    """What a map over several pictures holds: its part on one of them glows by the measure of all."""

    mass: float  # the sum of its positive values
    cells: int
    lowest: float  # value
    highest: float
    half: float  # the lowest value among the fewest cells that hold half of the mass; infinite in a flat map


@dataclass(frozen=True)
class Look:
    """How a map is drawn. It refuses to exist with a colour map, view or alpha that cannot be drawn.

    None for colormap, alpha, view and smooth is config's; for alpha and smooth it is 1 and True under "glow".
    Whoever gives alpha, vmin or vmax and no colormap means a colour map: config's, or viridis if that is
    "glow". There vmin is None (an even share is where it begins), and vmax is the share of a map with the
    hottest colour: above an even share, and None for each map's own.
    """

    colormap: str = _FROM_CONFIG  # "glow", or a name of matplotlib's
    alpha: float = _FROM_CONFIG  # 0 shows the picture, 1 the map alone; under "glow" its strength
    view: str = _FROM_CONFIG  # one of VIEWS
    smooth: bool = _FROM_CONFIG  # False: one flat cell a visual token
    vmin: float | None = None  # value of the lowest colour; None: the map's lowest
    vmax: float | None = None  # value of the highest colour; None: the map's highest
    gamma: float = 1.0  # contrast: below 1 lifts faint values, above 1 leaves only strong ones
    crossed: tuple[int, ...] = ()  # cells (row * w + col) that are crossed out: nothing is claimed of them
    whole: Whole | None = None  # under "glow", of a map that is one picture's part of another: that one

    def __post_init__(self) -> None:
        self._fill_in()
        check_colormap(self.colormap)
        if not (_is_number(self.alpha) and 0 <= self.alpha <= 1):
            raise ValueError(f"alpha must be a number from 0 (picture) to 1 (map); got {shown(self.alpha)}")
        if self.view not in VIEWS:
            raise ValueError(f"view must be one of {', '.join(map(repr, VIEWS))}; got {shown(self.view)}")
        if not (_is_number(self.gamma) and 0.1 <= self.gamma <= 10):
            raise ValueError(f"gamma must be a number from 0.1 to 10; got {shown(self.gamma)}")
        if not isinstance(self.smooth, (bool, np.bool_)):
            raise ValueError(f"smooth must be True or False; got {shown(self.smooth)}")
        for name in ("vmin", "vmax"):
            value = getattr(self, name)
            if value is not None and not _is_number(value):
                raise ValueError(f"{name} must be a finite number; got {shown(value)}")
        if self.is_glow and self.vmin is not None:
            raise ValueError("under glow there is no vmin: an even share of the map is where it begins")

    def _fill_in(self) -> None:
        """Set what is None and depends on other fields."""
        colormap = config.HEATMAP_COLORMAP
        if colormap == GLOW and any(given is not None for given in (self.alpha, self.vmin, self.vmax)):
            colormap = PERCEPTUAL[0]
        self._default("colormap", colormap)
        self._default("alpha", 1.0 if self.is_glow else config.HEATMAP_ALPHA)
        self._default("smooth", self.is_glow or config.HEATMAP_SMOOTH)
        self._default("view", config.HEATMAP_VIEW)

    def _default(self, name: str, value: object) -> None:
        if getattr(self, name) is None:
            object.__setattr__(self, name, value)

    @property
    def is_glow(self) -> bool:
        """Whether the picture glows; else values have the colours of a colour map."""
        return self.colormap == GLOW

    @property
    def has_range(self) -> bool:
        """Whether the look says which values its colours span; else each map has its own."""
        return self.vmax is not None and (self.is_glow or self.vmin is not None)

    @property
    def bar(self) -> str:
        """The colours of the bar: of the colour map, of the glow, or from dim to bright in the spotlight."""
        return SPOTLIGHT if self.view == SPOTLIGHT else self.colormap
