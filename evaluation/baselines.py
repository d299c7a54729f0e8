"""Maps that know nothing of the answer: what a method has to beat."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evaluation.explainers import Case, Rows
from evaluation.removal import central
from records.measured import CENTRE

BLIND = (CENTRE, "random", "uniform")


def blind(case: Case) -> Rows:
    """Return maps that know nothing of the answer: `blind_maps` of every token."""
    each = [blind_maps(case.capture.grid, case.rng) for _ in case.tokens]
    return Rows({row: np.stack([maps[row] for maps in each]) for row in BLIND})


def blind_maps(grid: tuple[int, int], rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return maps (h, w) of a centre prior, of random values, and of the same value everywhere."""
    return dict(zip(BLIND, (central(grid), rng.random(grid), np.ones(grid)), strict=True))
