"""What became of a word while patches of the picture were hidden: the test of a map, as a plain record.

Goes in: probabilities that were read, and the patches that were hidden for each. Comes out: `MapCheck`, with
a verdict and in sentences. Knows nothing of models, captures and pages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from records.choices import Fill

Verdict = Literal["Holds up", "Partly", "Does not hold"]
FALL = 0.3  # of the probability, 0..1: what a map that holds up takes from the word at least
NEARLY = 0.9  # of the largest difference between hottest and random patches
BEYOND = 0.01  # of the word's own probability: less than that between two falls is taken for none


@dataclass(frozen=True, eq=False)
class MapCheck:
    """The probability of a word while patches of the picture are hidden.

    The probability of several tokens is the product of theirs, each after those that were really said.
    """

    text: str
    tokens: tuple[int, ...]
    counts: tuple[int, ...]  # patches hidden, ascending, from 0
    hottest: NDArray[np.float64]  # (count,): the word's probability without the map's hottest patches
    random: NDArray[np.float64]  # (repeat, count): without random ones
    central: NDArray[np.float64]  # (count,): without the most central ones
    # (cell,): row * w + col, of a clip (step * h + row) * w + col; the first n are hidden at the count n
    hottest_cells: NDArray[np.intp]
    random_cells: NDArray[np.intp]  # (repeat, cell): likewise of each random order
    patches: int  # of the picture, of a clip those of all its steps
    ranked: int  # of them, above the map's lowest value: beyond these, "hottest" is drawn at random
    filling: Fill
    seed: int
    map_key: str = ""  # which map it was: `TokenMaps.key`
    visual: int = 0  # the number of the picture or clip that was covered, of several

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        if len(self.counts) < 2 or self.counts[0] != 0 or list(self.counts) != sorted(set(self.counts)):
            raise ValueError(f"expected counts ascending, each once, from 0; got {self.counts}")
        repeats, counts, most = len(self.random), len(self.counts), self.counts[-1]
        expected = {
            "hottest": (counts,),
            "random": (repeats, counts),
            "central": (counts,),
            "hottest_cells": (most,),
            "random_cells": (repeats, most),
        }
        for name, shape in expected.items():
            values: NDArray[Any] = getattr(self, name)
            if values.shape != shape or not repeats or not np.isfinite(values).all():
                raise ValueError(f"expected {name} of finite values with shape {shape}; got {values.shape}")
        cells = (self.hottest_cells, self.random_cells)
        if most > self.patches or any(one.min() < 0 or one.max() >= self.patches for one in cells):
            raise ValueError(f"expected cells of a picture of {self.patches} patches")

    def at(self, count: int) -> int:
        """Return the place of a number of patches among those that were hidden; ValueError if it is not."""
        if count not in self.counts:
            raise ValueError(f"{count} patches were not removed; removed were {self.counts}")
        return self.counts.index(count)

    @property
    def telling(self) -> int:
        """The fewest patches at which hottest and random ones differ nearly as much as at any number.

        Nearly as much is nine tenths of the largest difference. It is looked for among at most a quarter of
        all patches, where such were tried: nearly any word falls once much of the picture is gone, so a
        difference at few patches says more. Where none differs it is the most of these.
        """
        few = [count for count in self.counts[1:] if count <= self.patches / 4] or list(self.counts[1:])
        apart = np.abs(self.random.mean(axis=0) - self.hottest)[[self.at(count) for count in few]]
        return few[int(np.argmax(apart >= NEARLY * apart.max()))] if apart.max() > 0 else few[-1]

    @property
    def fall(self) -> float:
        """By how much the probability falls without the hottest patches, at the telling count."""
        return float(self.hottest[0] - self.hottest[self.at(self.telling)])

    @property
    def beyond(self) -> bool:
        """Whether it falls further than without any of the random patches, at the telling count.

        By more than `BEYOND` of the word's probability: what rounding leaves between two readings is nothing.
        """
        at = self.at(self.telling)
        return bool(self.random[:, at].min() - self.hottest[at] > BEYOND * self.hottest[0])

    @property
    def verdict(self) -> Verdict:
        """What the test says: it falls by `FALL` and beyond all random draws; one of the two; or neither."""
        return ("Does not hold", "Partly", "Holds up")[(self.fall >= FALL) + self.beyond]

    @property
    def sentences(self) -> tuple[str, str, str]:
        """What hiding its hottest patches did, what random ones did instead, and what follows."""
        count, at = self.telling, self.at(self.telling)
        hottest = "its hottest patch" if count == 1 else f"its {count} hottest patches"
        others = "a random one" if count == 1 else f"{count} random ones"
        drawn = self.random[:, at]
        tried = "1 try" if len(drawn) == 1 else f"{span_text(drawn)} in {len(drawn)} tries"
        return (
            f"Hide {hottest}: “{self.text}” {change_text(self.hottest[0], self.hottest[at])}.",
            f"Hide {others} instead: {probability_text(drawn.mean())} ({tried}).",
            self._conclusion(),
        )

    def _conclusion(self) -> str:
        """Return what follows from the test, in a sentence."""
        if self.verdict == "Holds up":
            return "This map points at what counts."
        if self.hottest[0] < FALL:
            began = f"it began at {probability_text(self.hottest[0])}, too low to fall by {FALL:g}"
            return (
                f"{'Further than with any random ones, but' if self.beyond else 'This says little:'} {began}."
            )
        if self.beyond:
            return "Further than with any random ones, but not by much: these patches alone do not decide it."
        if self.verdict == "Partly":
            return "It falls, but random ones can do as much: this map is no better than a guess here."
        return "No more than random ones do: this map does not show what counts here."

    @property
    def note(self) -> str:
        """What to know beside the sentences; empty where there is nothing."""
        parts = []
        if len(self.tokens) > 1:
            parts.append(f"The probability is that of all {len(self.tokens)} tokens: the product of theirs.")
        if self.ranked == 0:
            parts.append("The map is flat: its hottest patches are drawn at random.")
        elif self.ranked < self.telling:
            stands = "stands" if self.ranked == 1 else "stand"
            parts.append(f"Only {self.ranked} of them {stands} out in the map; the rest are drawn at random.")
        return " ".join(parts)

    def sentence(self, count: int) -> str:
        """Return in a sentence what hiding so many patches does, the most central ones included."""
        at = self.at(count)
        drawn = self.random[:, at]
        these = "this patch" if count == 1 else f"these {count} patches"
        return (
            f"Removing {these} takes “{self.text}” from {probability_text(self.hottest[0])} to "
            f"{probability_text(self.hottest[at])}; random {count}: {probability_text(drawn.mean())} "
            f"({span_text(drawn)} in {len(drawn)} draws); "
            f"centre {count}: {probability_text(self.central[at])}."
        )

    def csv_text(self) -> str:
        """Return the curve as CSV, a line for each number of patches."""
        mean, std = self.random.mean(axis=0), self.random.std(axis=0)
        rows = zip(self.counts, self.hottest, mean, std, self.central, strict=True)
        lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
        return "\n".join(["patches,hottest,random_mean,random_std,centre", *lines, ""])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready, with what follows from it; `from_dict` reads it back."""
        return {
            "text": self.text,
            "tokens": list(self.tokens),
            "map_key": self.map_key,
            "visual": self.visual,
            "patches": list(self.counts),
            "patches_in_all": self.patches,
            "patches_ranked": self.ranked,
            "hottest": self.hottest.tolist(),
            "random_mean": self.random.mean(axis=0).tolist(),
            "random_std": self.random.std(axis=0).tolist(),
            "random": self.random.tolist(),
            "centre": self.central.tolist(),
            "cells": {"hottest": self.hottest_cells.tolist(), "random": self.random_cells.tolist()},
            "filling": self.filling,
            "seed": self.seed,
            "telling": self.telling,
            "fall": self.fall,
            "verdict": self.verdict,
            "sentences": list(self.sentences),
            "note": self.note,
        }

    @classmethod
    def from_dict(cls, known: Mapping[str, Any]) -> MapCheck:
        """Return the test that `as_dict` wrote; what follows from it is worked out again.

        Raises:
            KeyError, TypeError, ValueError: if it is none.
        """
        return cls(
            text=str(known["text"]),
            tokens=tuple(map(int, known["tokens"])),
            counts=tuple(map(int, known["patches"])),
            hottest=np.asarray(known["hottest"], np.float64),
            random=np.asarray(known["random"], np.float64),
            central=np.asarray(known["centre"], np.float64),
            hottest_cells=np.asarray(known["cells"]["hottest"], np.intp),
            random_cells=np.asarray(known["cells"]["random"], np.intp),
            patches=int(known["patches_in_all"]),
            ranked=int(known["patches_ranked"]),
            filling=known["filling"],
            seed=int(known["seed"]),
            map_key=str(known["map_key"]),
            visual=int(known.get("visual", 0)),  # tests that were kept before know one picture
        )


def probability_text(probability: float) -> str:
    """Return a probability to read: two decimals, three for small ones, then "<0.001": as the viewer does."""
    if probability >= 0.01 or probability == 0:
        return f"{probability:.2f}"
    return f"{probability:.3f}" if probability >= 0.001 else "<0.001"


def span_text(drawn: NDArray[np.float64]) -> str:
    """Return the lowest and the highest of some probabilities."""
    return f"{probability_text(drawn.min())} to {probability_text(drawn.max())}"


def change_text(before: float, after: float) -> str:
    """Return what became of a probability: falls, rises, or stays as far as can be read."""
    first, last = probability_text(before), probability_text(after)
    if first == last:
        return f"stays at {first}"
    return f"{'falls' if after < before else 'rises'} from {first} to {last}"
