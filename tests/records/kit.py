"""What several tests of records share."""

from typing import Any

import numpy as np

from records.map_check import MapCheck


def map_check(*tokens: int, **parts: Any) -> MapCheck:
    """Return the test of a map of these tokens, in which two patches of a grid of 5 × 7 were hidden."""
    given: dict[str, Any] = {
        "text": "red",
        "tokens": tokens,
        "counts": (0, 2),
        "hottest": np.array([0.9, 0.1]),
        "random": np.array([[0.9, 0.8], [0.9, 0.7], [0.9, 1 / 3]]),
        "central": np.array([0.9, 0.6]),
        "hottest_cells": np.array([7, 34]),
        "random_cells": np.array([[1, 2], [3, 4], [5, 6]]),
        "patches": 35,
        "ranked": 9,
        "filling": "mean",
        "seed": 1,
        "map_key": "tam-1",
    }
    return MapCheck(**{**given, **parts})
