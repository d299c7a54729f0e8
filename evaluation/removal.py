"""Does this map mean anything, here? What removing its hottest patches does to the word.

Goes in: a `Capture`, its model, processor and picture, some tokens, and a map. Comes out: a `MapCheck`, the
word's probability while patches are removed. The answer is never generated again: the model reads what it
said (teacher forcing). Knows nothing of files and pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from methods.occlusion import Fill, covered, covering
from methods.question import Question
from model import Processor
from records.capture import Capture
from records.choices import chosen_indices
from utils import OnProgress, Watch

Cells = NDArray[np.bool_]  # (h, w)


def hottest_first(heat: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the cells of a map (h, w), row * w + col, the hottest first; equally hot ones in random order.

    Otherwise a flat map would be the top of the picture.
    """
    return np.lexsort((rng.permutation(heat.size), -heat.reshape(-1)))


def central(grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return a map (h, w) that is hottest in the middle: a Gaussian, σ a fifth of each side."""
    rows, cols = ((np.arange(n) + 0.5) / n - 0.5 for n in grid)
    return np.exp(-(rows[:, None] ** 2 + cols**2) / (2 * 0.2**2))


def doubling(most: int) -> tuple[int, ...]:
    """Return 0, 1, 2, 4, 8, … up to `most`."""
    return (0, *(2**power for power in range(most.bit_length())))


def first_cells(order: NDArray[np.intp], count: int, grid: tuple[int, int]) -> Cells:
    """Return which cells (h, w) are among the first so many of an order."""
    cells = np.zeros(len(order), dtype=bool)
    cells[order[:count]] = True
    return cells.reshape(grid)


def logprobs_without(
    question: Question, removed: Iterable[Cells], filling: Fill = "blur"
) -> NDArray[np.float32]:
    """Return log p of each token of the question with these cells of the picture covered (picture, token).

    Each different picture is read once, and serves all tokens.
    """
    forced, cover = question.forced, covering(question.forced, filling)
    places: dict[bytes, int] = {}
    pictures: list[Callable[[], Tensor]] = []
    indices = []
    for cells in removed:
        key = cells.tobytes()
        if key not in places:
            places[key] = len(pictures)
            pictures.append(partial(covered, forced, cells, cover))
        indices.append(places[key])
    return forced.logprobs(pictures, question.watch).numpy()[indices]


@dataclass(frozen=True, eq=False)
class MapCheck:
    """The probability of a word while patches of the picture are removed."""

    text: str
    tokens: tuple[int, ...]
    counts: tuple[int, ...]  # patches removed, ascending, from 0
    hottest: NDArray[np.float64]  # (count,): the word's probability without the map's hottest patches
    random: NDArray[np.float64]  # (repeat, count): without random ones
    central: NDArray[np.float64]  # (count,): without the most central ones
    patches: int  # of the picture
    filling: Fill
    seed: int

    def at(self, count: int) -> int:
        """Return the place of a number of patches among those that were removed; ValueError if it is not."""
        if count not in self.counts:
            raise ValueError(f"{count} patches were not removed; removed were {self.counts}")
        return self.counts.index(count)

    def sentence(self, count: int) -> str:
        """Return in a sentence what removing so many patches does."""
        at = self.at(count)
        drawn = self.random[:, at]
        these = "this patch" if count == 1 else f"these {count} patches"
        return (
            f"Removing {these} takes “{self.text}” from {probability_text(self.hottest[0])} to "
            f"{probability_text(self.hottest[at])}; random {count}: {probability_text(drawn.mean())} "
            f"({probability_text(drawn.min())} to {probability_text(drawn.max())} in {len(drawn)} draws); "
            f"centre {count}: {probability_text(self.central[at])}."
        )

    @property
    def telling(self) -> int:
        """The number of patches at which hottest and random ones differ most."""
        apart = self.random.mean(axis=0) - self.hottest
        return self.counts[int(np.argmax(np.abs(apart)))] or self.counts[-1]

    def csv_text(self) -> str:
        """Return the curve as CSV, a line for each number of patches."""
        mean, std = self.random.mean(axis=0), self.random.std(axis=0)
        rows = zip(self.counts, self.hottest, mean, std, self.central, strict=True)
        lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
        return "\n".join(["patches,hottest,random_mean,random_std,centre", *lines, ""])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return {
            "text": self.text,
            "tokens": list(self.tokens),
            "patches": list(self.counts),
            "patches_in_all": self.patches,
            "hottest": self.hottest.tolist(),
            "random_mean": self.random.mean(axis=0).tolist(),
            "random_std": self.random.std(axis=0).tolist(),
            "random": self.random.tolist(),
            "centre": self.central.tolist(),
            "filling": self.filling,
            "seed": self.seed,
        }


def probability_text(probability: float) -> str:
    """Return a probability to read; small ones as such, not as 0."""
    return f"{probability:.2f}" if probability >= 0.005 or probability == 0 else f"{probability:.0e}"


def check_map(
    model: Any,
    processor: Processor,
    image: Image.Image,
    capture: Capture,
    tokens: int | Sequence[int],
    heat: NDArray[np.floating],
    *,
    patches: int | Sequence[int] | None = None,
    repeats: int = 8,
    filling: Fill = "blur",
    seed: int = 0,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> MapCheck:
    """Return how the probability of a word falls while the hottest patches of its map (h, w) are removed.

    Beside it: as many random patches, the first of `repeats` random orders, and as many central ones.
    Removing is covering, by a blur of the picture or by its mean colour. `patches` are the numbers that are
    removed, by default 1, 2, 4, 8, … up to half of all. The probability of a word of several tokens is the
    product of theirs, each after those that were really said.

    Raises:
        ValueError: for a token, a number of patches or a map that does not fit the capture.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    chosen = tuple(sorted(set(chosen_indices(tokens, len(capture.token_ids), "token"))))
    if heat.shape != capture.grid or not np.isfinite(heat).all():
        raise ValueError(f"expected a map of finite values (h, w)={capture.grid}; got shape {heat.shape}")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ValueError(f"repeats must be a whole number of at least 1; got {repeats!r}")
    counts = _counts(patches, heat.size)
    rng = np.random.default_rng(seed)
    orders = [hottest_first(heat, rng), hottest_first(central(capture.grid), rng)]
    orders += [rng.permutation(heat.size) for _ in range(repeats)]
    removed = [first_cells(order, count, capture.grid) for order in orders for count in counts]
    question = Question(capture, chosen, model, processor, image, Watch(on_progress, stop))
    found = np.exp(logprobs_without(question, removed, filling).astype(np.float64).sum(axis=1))
    hottest, centre, *drawn = found.reshape(len(orders), len(counts))
    return MapCheck(
        text=said(capture, chosen),
        tokens=chosen,
        counts=counts,
        hottest=hottest,
        random=np.stack(drawn),
        central=centre,
        patches=heat.size,
        filling=filling,
        seed=seed,
    )


def _counts(patches: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Return the numbers of patches to remove, ascending, from 0."""
    if patches is None:
        return doubling(count // 2)
    asked = {patches} if isinstance(patches, int) else set(patches)
    for number in asked:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= count:
            raise ValueError(f"a number of patches must be 0 to {count}; got {number!r}")
    if not asked - {0}:
        raise ValueError("choose at least one number of patches above 0")
    return tuple(sorted({0, *asked}))


def said(capture: Capture, tokens: Sequence[int]) -> str:
    """Return what some tokens say: the part of the answer that they span."""
    spans = [capture.token_spans[token] for token in tokens]
    text = capture.text[spans[0][0] : spans[-1][1]].strip()
    return text or " ".join(capture.tokens[token] for token in tokens)
