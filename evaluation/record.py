"""What was measured: every word's metrics, and estimates of them with intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evaluation.metrics import Value, harmonic_mean
from records.measured import CENTRE

RESAMPLES = 2000
INTERVAL = (2.5, 97.5)  # percentiles of the resamples
PARTS = {"f1_iou": ("obj_iou", "func_iou")}  # metrics that are made of others' means


class Estimate(NamedTuple):
    """A mean over words, and where it would lie in 95 of 100 draws of other pictures."""

    mean: float
    low: float  # NaN where there is one picture only
    high: float
    words: int
    groups: int


class Spent(NamedTuple):
    """What an answer's maps took, the mean over answers; the memory is the highest of all."""

    forward: float
    backward: float
    seconds: float
    peak_bytes: int | None  # None: could not be measured
    answers: int


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The metrics of every word's maps, what the maps took, and what was left out."""

    values: tuple[Value, ...]
    spent: Mapping[str, Spent]  # of each row; several rows of one computation share it
    settings: Mapping[str, Any]  # JSON-ready
    answers: int
    skipped: Mapping[str, int]  # why words or pictures were left out: how many
    seed: int = 0

    @property
    def rows(self) -> tuple[str, ...]:
        """What made the maps, in the order of the explainers."""
        return tuple(self.spent)

    def groups(self, metric: str | None = None) -> tuple[str, ...]:
        """Return the groups with a value of the metric, or of any."""
        wanted = None if metric is None else PARTS.get(metric, (metric,))
        return tuple(dict.fromkeys(v.group for v in self.values if wanted is None or v.metric in wanted))

    def estimate(self, row: str, metric: str, kind: str | None = None) -> Estimate | None:
        """Return a row's metric over all words, or those of a kind; None if none was measured.

        The interval is a bootstrap's: groups are drawn with replacement, as many as there are, each with all
        of its words. F1-IoU is made of the two means, as published.
        """
        return self._estimate((row,), metric, kind)

    def above(self, row: str, metric: str, other: str = CENTRE) -> Estimate | None:
        """Return by how much a row's metric is above another's; both are resampled together."""
        return self._estimate((row, other), metric, None)

    def _estimate(self, rows: tuple[str, ...], metric: str, kind: str | None) -> Estimate | None:
        """Return the first row's metric, less that of the second if there is one."""
        parts = PARTS.get(metric, (metric,))
        found = [[self._found.get((row, part), []) for part in parts] for row in rows]
        found = [[[v for v in values if kind in (None, v.kind)] for values in of_row] for of_row in found]
        if not all(values for of_row in found for values in of_row):
            return None
        groups = list(dict.fromkeys(v.group for of_row in found for values in of_row for v in values))
        weights = _draws(len(groups), self.seed)  # (resample, group); all once first
        means = [[_means(values, groups, weights) for values in of_row] for of_row in found]
        each = [harmonic_mean(*of_row) if len(parts) == 2 else of_row[0] for of_row in means]
        drawn = each[0] - each[1] if len(each) == 2 else each[0]
        low, high = np.nanpercentile(drawn[1:], INTERVAL) if len(groups) > 1 else (np.nan, np.nan)
        return Estimate(float(drawn[0]), float(low), float(high), len(found[0][0]), len(groups))

    @cached_property
    def _found(self) -> dict[tuple[str, str], list[Value]]:
        found: dict[tuple[str, str], list[Value]] = {}
        for value in self.values:
            found.setdefault((value.row, value.metric), []).append(value)
        return found


def _draws(groups: int, seed: int) -> NDArray[np.int64]:
    """Return how often each group counts (1 + resample, group): once each, then drawn with replacement."""
    drawn = np.random.default_rng([seed, groups]).multinomial(groups, np.full(groups, 1 / groups), RESAMPLES)
    return np.vstack([np.ones(groups, dtype=np.int64), drawn])


def _means(values: list[Value], groups: list[str], weights: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the mean over words for each resample; NaN for one without a word."""
    places = {group: place for place, group in enumerate(groups)}
    sums, counts = np.zeros(len(groups)), np.zeros(len(groups))
    for value in values:
        sums[places[value.group]] += value.value
        counts[places[value.group]] += 1
    total = weights @ counts
    return np.divide(weights @ sums, total, out=np.full(len(weights), np.nan), where=total > 0)
