"""Glow: a picture that lights up where a map has more than an even share, and stays as it is elsewhere.

Goes in: maps (h, w), pixels of a picture, how warm its colours are. Comes out: heat v from 0 (an even share
or less) to 1, and pixels. viewer/js/state/glow.js draws the same in the browser, to within 2 of 255.

Negative values of a map count as 0. The share of a cell is n = value / sum; e, the even share, is the mean of
them: 1 / cells. The top t is the largest n, but at least 4e, so that a flat map stays flat. Then
v = clip((n - e) / (t - e), 0, 1), to the power gamma. A map without positive values has v = 0 everywhere.

Spotlight, the other way to let a picture speak for itself: it is dim and grey but where v says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from records.look import Whole

STEPS = np.array([0, 0.3, 0.6, 0.85, 1])  # v at which the ramp has these colours, straight lines between
RAMP = np.array([[196, 42, 106], [232, 69, 47], [255, 132, 16], [255, 176, 32], [255, 210, 60]])
LUMA = np.array([0.2126, 0.7152, 0.0722])  # Rec. 709, of the bytes as they are, not made linear first
LEAST_TOP = 4  # even shares that the hottest colour stands for, at least
ROUNDING = 1e-6  # what is so little over an even share is an even share that was rounded
GROUND = (247, 247, 245)  # under a map that is drawn without its picture
WARM_SIDE = 48  # longer side, in pixels, of the thumbnail that is looked at for warm colours
RETURN = 2.5  # a picture has its own colours again from v = 1 / RETURN on
DIM = 0.38  # what is left of the light outside the spotlight


# --- Values -------------------------------------------------------------------------------------------------


def shares(values: NDArray[np.float64], whole: Whole | None = None) -> NDArray[np.float64]:
    """Shares n (h, w): each cell's part of the map's positive mass, 0..1; all 0 where there is none.

    Where the map is a part of another, the `whole`, it is the part of that one's mass.
    """
    positive = np.maximum(values, 0)
    if whole is not None:
        return np.asarray(positive / whole.mass if whole.mass > 0 else positive)
    largest = positive.max()
    if largest == 0:
        return np.zeros(values.shape)
    positive = positive / largest  # the sum of enormous values would be infinite
    return np.asarray(positive / positive.sum())


def glow_scale(values: NDArray[np.float64], whole: Whole | None = None) -> tuple[float, float]:
    """(e, t): the even share, up to which a cell stays clear, and the share with the hottest colour."""
    if whole is not None:
        even = 1 / whole.cells
        return even, max(whole.highest / whole.mass if whole.mass > 0 else 0.0, LEAST_TOP * even)
    even = 1 / values.size
    return even, max(float(shares(values).max()), LEAST_TOP * even)


def shared_top(maps: Iterable[NDArray[np.float64]]) -> float:
    """The largest t of some maps: by it each is still a map of its own shares, and all can be compared."""
    return max(glow_scale(one)[1] for one in maps)


def heat(
    values: NDArray[np.float64], top: float | None = None, gamma: float = 1.0, whole: Whole | None = None
) -> NDArray[np.float64]:
    """Heat v (h, w), 0..1: how hot each cell is; `top` is t, by default the map's own, or its whole's.

    Raises:
        ValueError: one line, if the top is not above an even share.
    """
    even, own = glow_scale(values, whole)
    top = own if top is None else top
    if top <= even:
        raise ValueError(f"under glow vmax must be above an even share of the map, {even:g}; got {top:g}")
    over = shares(values, whole) - even
    over[over <= ROUNDING * even] = 0
    return np.asarray(np.minimum(over / (top - even), 1) ** gamma)


# --- Pixels -------------------------------------------------------------------------------------------------


def warmth(image: Image.Image) -> float:
    """q, 0..1: how much of the picture has the glow's own colours, which then have to stand back.

    f is the part of a thumbnail's pixels with a hue of 335 to 360 or 0 to 62 degrees, saturation above 0.28
    and value above 0.25; q = min(1, f / 0.3). The thumbnail's pixels are means of the picture's.
    """
    scale = WARM_SIDE / max(image.size)
    size_wh = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    small = np.asarray(image.convert("RGB").resize(size_wh, Image.Resampling.BOX), np.float32) / 255
    hue, saturation, value = np.moveaxis(cv2.cvtColor(small, cv2.COLOR_RGB2HSV), -1, 0)
    warm = ((hue >= 335) | (hue <= 62)) & (saturation > 0.28) & (value > 0.25)
    return min(1.0, float(warm.mean()) / 0.3)


def painted(
    picture: NDArray[np.uint8], v: NDArray[np.float64], warm: float, strength: float = 1.0
) -> NDArray[np.uint8]:
    """The glow over pixels (..., 3), v (...): where v and the picture's warmth are 0 they stay as they are.

    Cold: the picture mixed 0.65q with its grey, times 1 - 0.16q; its full colour returns with min(1, 2.5v).
    Hot: ramp(v) · (0.58 + 0.48 L^0.7), where L is the pixel's own luminance, so that detail stays.
    The result is cold · (1 - alpha) + hot · alpha with alpha = strength · 0.88 v^0.85.
    """
    result = picture.copy()
    seen = np.ones(v.shape, bool) if warm else v > 0
    own, heated = picture[seen].astype(np.float64), v[seen][:, None]  # (pixel, 3), (pixel, 1)
    grey = own @ LUMA[:, None]
    cold = (own + 0.65 * warm * (grey - own)) * (1 - 0.16 * warm)
    cold += (own - cold) * np.minimum(1, RETURN * heated)
    hot = np.minimum(ramp(heated[:, 0]) * (0.58 + 0.48 * (grey / 255) ** 0.7), 255)
    alpha = strength * 0.88 * heated**0.85
    result[seen] = np.rint(cold * (1 - alpha) + hot * alpha)
    return result


def ramp(v: NDArray[np.float64]) -> NDArray[np.float64]:
    """The glow's colours (..., 3) for v, RGB 0..255: from crimson to yellow, by straight lines."""
    return np.stack([np.interp(v, STEPS, channel) for channel in RAMP.T], -1)


def spotlit(picture: NDArray[np.uint8], v: NDArray[np.float64], strength: float = 1.0) -> NDArray[np.uint8]:
    """The spotlight on pixels (..., 3), v (...), 0..1: dim and grey where v is 0, as they are from 0.4 on.

    With b = min(1, 2.5v) a pixel is (grey + b (own - grey)) · (0.38 + 0.62b), and only `strength` of the way
    there.
    """
    own, back = picture.astype(np.float64), np.minimum(1, RETURN * v)[..., None]
    grey = own @ LUMA[:, None]
    shown = (grey + back * (own - grey)) * (DIM + (1 - DIM) * back)
    return np.rint(own + strength * (shown - own)).astype(np.uint8)


def bar_colours(count: int, *, spotlight: bool = False) -> NDArray[np.uint8]:
    """Colours (count, 3) of a white picture for v from 0 to 1: what a colour bar shows."""
    v, white = np.linspace(0, 1, count), np.full((count, 3), 255, np.uint8)
    return spotlit(white, v) if spotlight else painted(white, v, 0)
