"""A map of few cells at the size of a picture: flat cells, a blend between centres, or bicubic.

Goes in: values (h, w) and a size (H, W). Comes out: values at some of the pixel rows. Knows nothing of
colours. Each way is the same along rows and columns, so that a few rows can be had without the others.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def cell_index(pixels: int, cells: int) -> NDArray[np.intp]:
    """Cell of each pixel along one axis: pixel y is in cell r if r·pixels/cells <= y < (r+1)·pixels/cells."""
    return np.arange(pixels) * cells // pixels


def _between(pixels: NDArray[np.intp], size: int, cells: int) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For pixels along one axis: the cell centre before each, and the weight of the next one."""
    position = np.clip((pixels + 0.5) * cells / size - 0.5, 0, cells - 1)
    before = np.minimum(position.astype(np.intp), max(cells - 2, 0))
    share = position - before
    return before, share * share * (3 - 2 * share)


def smooth_rows(values: NDArray[np.float64], size_hw: tuple[int, int], rows: slice) -> NDArray[np.float64]:
    """Those pixel rows of the map at size (H, W), blended between cell centres.

    The weights are a cubic with level ends (3t² - 2t³). Unlike bicubic interpolation it never leaves the
    range of the cells around a pixel: no value is invented, and a peak stays at the centre of its own cell.
    """
    (h, w), (height, width) = values.shape, size_hw
    row, down = _between(np.arange(height)[rows], height, h)
    col, right = _between(np.arange(width), width, w)
    upper, lower = values[row], values[np.minimum(row + 1, h - 1)]
    lines = upper + down[:, None] * (lower - upper)  # (pixel row, cell column)
    before, after = lines[:, col], lines[:, np.minimum(col + 1, w - 1)]
    return before + right * (after - before)


def cubic_weights(pixels: int, cells: int) -> NDArray[np.float64]:
    """Weights (pixel, cell) of bicubic interpolation along one axis: OpenCV's, whose a is -0.75.

    Pixel and cell centres are half a step from the ends, where the outermost cell goes on. A map (h, w) at
    (H, W) pixels is cubic_weights(H, h) @ map @ cubic_weights(W, w).T, for it is linear and separable.
    """
    size_wh = (cells, pixels)
    return np.asarray(cv2.resize(np.eye(cells), size_wh, interpolation=cv2.INTER_CUBIC), np.float64)


def flat_weights(pixels: int, cells: int) -> NDArray[np.float64]:
    """Weights (pixel, cell) of flat cells along one axis: 1 for the cell that a pixel is in."""
    return np.eye(cells)[cell_index(pixels, cells)]
