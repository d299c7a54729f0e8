"""Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901): how far a word falls when a region is covered.

`covering` and `covered` work on the pixels as the model reads them, and serve whoever wants to see a word's
probability with some patches gone.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from internals.teacher_forcing import TeacherForced
from methods.question import Maps, Question
from records.choices import Fill
from records.visuals import planes_of

BLUR = 1.0  # σ of the Gaussian blur, in merged patches


def occlusion(
    question: Question, size: int | None = None, stride: int | None = None, fill: Fill = "mean"
) -> Maps:
    """Return log p(t | picture) - log p(t | picture without r), spread over the cells of each region r.

    Regions are size × size cells, by default a quarter of the grids' shortest side, `stride` cells apart, by
    default half a region; those at the edge may overlap more. A cell's value is the mean over the regions
    that cover it. The answer is kept, and all tokens share the same passes: one for each region, and one for
    the picture as it is. Values can be negative: the word became likelier.
    """
    forced = question.forced
    grids = [plane.grid for plane in planes_of(forced.encoded.visuals)]
    size = max(1, round(min(map(min, grids)) / 4)) if size is None else size
    stride = max(1, size // 2) if stride is None else stride
    each = [_regions(grid, size, stride) for grid in grids]
    flat = [torch.from_numpy(some.reshape(len(some), -1).astype(np.uint8)) for some in each]
    regions = torch.block_diag(*flat).bool().numpy()  # (region, patch)
    filling = covering(forced, fill)
    pictures = [lambda: forced.pixels] + [partial(covered, forced, region, filling) for region in regions]
    logprobs = forced.logprobs(pictures, question.watch).numpy()  # (picture, token)
    falls = logprobs[0] - logprobs[1:]  # (region, token)
    maps = np.einsum("rt,rp->tp", falls, regions) / regions.sum(axis=0)
    settings: dict[str, Any] = {"size": size, "stride": stride, "regions": len(regions)}
    return Maps(maps.astype(np.float32), settings, forward=len(pictures))


def _regions(grid: tuple[int, int], size: int, stride: int) -> NDArray[np.bool_]:
    """Return the cells of each region (region, h, w); every cell is in one at least."""
    for name, value in (("size", size), ("stride", stride)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of at least 1; got {value!r}")
    if stride > size:
        raise ValueError(f"stride must be at most the region's size, {size}; got {stride}")
    starts = [sorted({*range(0, max(1, n - size + 1), stride), max(0, n - size)}) for n in grid]
    regions = np.zeros((len(starts[0]) * len(starts[1]), *grid), dtype=bool)
    for region, (row, col) in zip(regions, product(*starts), strict=True):
        region[row : row + size, col : col + size] = True
    return regions


def covering(forced: TeacherForced, fill: Fill = "mean") -> Tensor:
    """Return what covers each picture, as `pixel_values` (patch, value): its mean colour, or a blur of it."""
    if fill not in get_args(Fill):
        raise ValueError(f"fill must be one of {', '.join(get_args(Fill))}; got {fill!r}")
    planes = planes_of(forced.encoded.visuals)
    of_cell = len(forced.pixels) // planes[-1].patches.stop  # a cell's unmerged patches are neighbours
    return torch.cat(
        [
            _filling(forced, forced.pixels[of_cell * some.start : of_cell * some.stop], grid, fill)
            for some, grid in planes
        ]
    )


def _filling(forced: TeacherForced, pixels: Tensor, grid: tuple[int, int], fill: Fill) -> Tensor:
    """Return what covers one picture, from its `pixel_values` (patch, value)."""
    picture = _picture(forced, pixels, grid)  # (h, w, merge row, merge col, channel, copy, row, col)
    if fill == "mean":
        mean = picture.float().mean(dim=(0, 1, 2, 3, 5, 6, 7), keepdim=True).to(picture.dtype)
        return mean.expand_as(picture).reshape(pixels.shape)
    plain = picture.permute(4, 5, 0, 2, 6, 1, 3, 7)  # (channel, copy, h, merge row, row, w, merge col, col)
    channels, copies, h, merge, side, w, _, _ = plain.shape
    blurred = _blurred(plain.reshape(channels * copies, h * merge * side, w * merge * side), merge * side)
    back = blurred.reshape(plain.shape).permute(2, 5, 3, 6, 0, 1, 4, 7)
    return back.reshape(pixels.shape)


def covered(forced: TeacherForced, cells: NDArray[np.bool_], filling: Tensor) -> Tensor:
    """Return the pictures' `pixel_values` with these cells, (h, w) or (patch,), replaced by the filling."""
    of_cell = len(forced.pixels) // cells.size  # the unmerged patches of a cell stand together
    chosen = torch.from_numpy(np.repeat(cells.reshape(-1), of_cell)).to(forced.pixels.device)
    return torch.where(chosen[:, None], filling, forced.pixels)


def _picture(forced: TeacherForced, pixels: Tensor, grid: tuple[int, int]) -> Tensor:
    """Return the pixels with their axes apart."""
    vision, (h, w) = forced.model.config.vision_config, grid
    merge, side = vision.spatial_merge_size, vision.patch_size
    shape = (h, w, merge, merge, vision.in_channels, vision.temporal_patch_size, side, side)
    return pixels.reshape(shape)


def _blurred(planes: Tensor, cell: int) -> Tensor:
    """Return planes (plane, row, col) under a Gaussian blur; the border's pixels go on beyond it."""
    sigma = BLUR * cell
    reach = round(3 * sigma)
    steps = torch.arange(-reach, reach + 1, device=planes.device)
    weights = torch.exp(-(steps**2) / (2 * sigma**2))
    weights, found = weights / weights.sum(), planes.float()[:, None]
    for shape, pad in (((1, 1, -1, 1), (0, 0, reach, reach)), ((1, 1, 1, -1), (reach, reach, 0, 0))):
        padded = torch.nn.functional.pad(found, pad, mode="replicate")
        found = torch.nn.functional.conv2d(padded, weights.reshape(shape))
    return found[:, 0].to(planes.dtype)
