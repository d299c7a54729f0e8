"""What is chosen of layers, heads and tokens, as indices, and how layers and heads become one map.

Goes in: numbers that a caller chose. Comes out: indices that are there, and the numpy function that folds.
Knows nothing of captures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Literal, get_args

import numpy as np

from utils import shown

Aggregation = Literal["mean", "max", "min"]
Fill = Literal["mean", "blur"]  # what covers a patch of the picture: its mean colour, or a blur of it
Positions = int | Sequence[int]


def fold_of(aggregation: Aggregation) -> Callable[..., np.ndarray]:
    """Return the numpy function that folds axes; ValueError for an unknown aggregation."""
    folds: dict[str, Callable[..., np.ndarray]] = {"mean": np.mean, "max": np.max, "min": np.min}
    if not isinstance(aggregation, str) or aggregation not in folds:
        raise ValueError(
            f"aggregation must be one of {', '.join(get_args(Aggregation))}; got {shown(aggregation)}"
        )
    return folds[aggregation]


def chosen_indices(indices: Positions, count: int, name: str) -> list[int]:
    """Return the indices as a list, negative ones counted from the last.

    Raises:
        ValueError: for none, or one beyond `count`; the message names the count.
    """
    listed = list(indices) if isinstance(indices, Iterable) else [indices]
    if not listed:
        raise ValueError(f"choose at least one {name}")
    for index in listed:
        if isinstance(index, (bool, np.bool_)) or not isinstance(index, (int, np.integer)):
            raise ValueError(f"a {name} must be a whole number; got {shown(index)}")
        if not -count <= index < count:
            allowed = f"0 to {count - 1}" if count else "none"
            raise ValueError(f"there is no {name} {index}: there are {count} ({allowed})")
    return [int(index) % count for index in listed]
