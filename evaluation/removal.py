"""Does this map mean anything, here? What removing its hottest patches does to the word.

Goes in: a `Capture`, its model, processor and picture, some tokens, and a map. Comes out: a `MapCheck`, the
word's probability while patches are removed. The answer is never generated again: the model reads what it
said (teacher forcing). Knows nothing of files and pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from methods.occlusion import covered, covering
from methods.question import Question
from model import Pictures, Processor
from records.capture import Capture
from records.choices import Fill, chosen_indices
from records.map_check import MapCheck
from utils import OnProgress, Watch

Cells = NDArray[np.bool_]  # (h, w), of a clip (t, h, w); among all patches of several pictures (patch,)
Grid = tuple[int, ...]  # (h, w), of a clip (t, h, w)


def hottest_first(heat: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the cells of a map, row * w + col, the hottest first; equally hot ones in random order.

    Of a clip's map (t, h, w) a cell is (step * h + row) * w + col. In their own order a flat map would be the
    top of the picture.
    """
    return np.lexsort((rng.permutation(heat.size), -heat.reshape(-1)))


def central(grid: Grid) -> NDArray[np.float64]:
    """Return a map that is hottest in the middle: a Gaussian, σ a fifth of each side; of a clip in each step.

    No moment of a clip is more central than another.
    """
    rows, cols = ((np.arange(n) + 0.5) / n - 0.5 for n in grid[-2:])
    return np.broadcast_to(np.exp(-(rows[:, None] ** 2 + cols**2) / (2 * 0.2**2)), grid)


def doubling(most: int) -> tuple[int, ...]:
    """Return 0, 1, 2, 4, 8, … up to `most`."""
    return (0, *(2**power for power in range(most.bit_length())))


def first_cells(order: NDArray[np.intp], count: int, grid: Grid) -> Cells:
    """Return which cells of a grid are among the first so many of an order."""
    cells = np.zeros(len(order), dtype=bool)
    cells[order[:count]] = True
    return cells.reshape(grid)


def among_all(cells: Cells, capture: Capture, visual: int) -> Cells:
    """Return which of all patches (patch,) are these cells of one picture or clip."""
    found = np.zeros(capture.patch_count, dtype=bool)
    found[capture.visuals[visual].patches] = cells.reshape(-1)
    return found


def logprobs_covered(
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


def check_map(
    model: Any,
    processor: Processor,
    image: Pictures,
    capture: Capture,
    tokens: int | Sequence[int],
    heat: NDArray[np.floating],
    *,
    visual: int = 0,
    patches: int | Sequence[int] | None = None,
    repeats: int = 8,
    filling: Fill = "blur",
    seed: int = 0,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> MapCheck:
    """Return how the probability of a word falls while the hottest patches of its map are removed.

    The map is (h, w), of a clip (t, h, w): there a patch is one place in one step, two frames, and is covered
    in both; hottest, random and central ones are drawn from all steps, central ones at any time.

    Beside it: as many random patches, the first of `repeats` random orders, and as many central ones.
    Removing is covering, by a blur of the picture (of a clip each frame by itself) or by its mean colour (of
    a clip the step's). `patches` are the numbers that are removed, by default 1, 2, 4, 8, … up to half of
    all. The map may be any method's and have values below 0: only their order counts, and equal ones are in
    random order. The probability of a word of several tokens, or of the whole answer, is the product of
    theirs, each after those that were really said. Of several pictures, `image` is their list, the map is
    that of the one numbered `visual`, and only its patches are removed.

    Raises:
        ValueError: for a token, a number of patches or a map that does not fit the capture.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    chosen = tuple(sorted(set(chosen_indices(tokens, len(capture.token_ids), "token"))))
    number, grid = _covered_in(capture, visual, heat)
    counts, orders = _counts(patches, heat.size), _orders(heat, grid, repeats, seed)
    cells = (first_cells(order, count, grid) for order in orders for count in counts)
    removed = [among_all(some, capture, number) for some in cells]
    question = Question(capture, chosen, model, processor, image, Watch(on_progress, stop))
    found = np.exp(logprobs_covered(question, removed, filling).astype(np.float64).sum(axis=1))
    hottest, centre, *drawn = found.reshape(len(orders), len(counts))
    return MapCheck(
        text=said(capture, chosen),
        tokens=chosen,
        counts=counts,
        hottest=hottest,
        random=np.stack(drawn),
        central=centre,
        hottest_cells=orders[0][: counts[-1]],
        random_cells=np.stack([order[: counts[-1]] for order in orders[2:]]),
        patches=heat.size,
        ranked=int((heat > heat.min()).sum()),
        filling=filling,
        seed=seed,
        visual=number,
    )


def _covered_in(capture: Capture, visual: int, heat: NDArray[np.floating]) -> tuple[int, Grid]:
    """Return the number of a picture or clip, and its grid; ValueError for a map that is not its own."""
    (number,) = chosen_indices(visual, len(capture.visuals), "picture")
    chosen = capture.visuals[number]
    axes, grid = ("(h, w)", chosen.grid[1:]) if chosen.kind == "image" else ("(t, h, w)", chosen.grid)
    if heat.shape != grid or not np.isfinite(heat).all():
        raise ValueError(f"expected a map of finite values {axes}={grid}; got shape {heat.shape}")
    return number, grid


def _orders(heat: NDArray[np.floating], grid: Grid, repeats: int, seed: int) -> list[NDArray[np.intp]]:
    """Return the orders in which cells are removed: hottest first, central first, and random ones."""
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ValueError(f"repeats must be a whole number of at least 1; got {repeats!r}")
    rng = np.random.default_rng(seed)
    orders = [hottest_first(heat, rng), hottest_first(central(grid), rng)]
    return [*orders, *(rng.permutation(heat.size) for _ in range(repeats))]


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
