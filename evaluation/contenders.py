"""What is measured: functions that make maps of an answer's tokens, each by a row or more of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from evaluation.removal import central
from methods import METHODS, Cost, Options, token_maps, top_heads
from model import Processor
from records.capture import Capture
from utils import Watch

CENTRE = "centre prior"
BLIND = (CENTRE, "random", "uniform")


@dataclass(frozen=True, eq=False)
class Case:
    """An answer, and the tokens whose maps are wanted."""

    model: Any
    processor: Processor
    image: Image.Image
    capture: Capture
    tokens: tuple[int, ...]  # ascending
    rng: np.random.Generator
    watch: Watch = field(default_factory=Watch)


class Made(NamedTuple):
    """Maps (token, h, w) of a case's tokens, for each row of the table, and what they took together."""

    maps: Mapping[str, NDArray[np.floating]]
    cost: Cost = Cost()


Contender = Callable[[Case], Made]


def by_method(name: str, label: str | None = None, **options: Unpack[Options]) -> Contender:
    """Return the contender for one of `METHODS`, its row under that method's label or another."""
    if name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {name!r}")
    row = METHODS[name].label if label is None else label

    def make(case: Case) -> Made:
        found = token_maps(
            name,
            case.capture,
            model=case.model,
            processor=case.processor,
            image=case.image,
            tokens=case.tokens,
            stop=case.watch.stop,
            **options,
        )
        return Made({row: found.maps}, found.cost)

    return make


def most_local(count: int) -> Contender:
    """Return the contender for attention in the most local heads, found for each answer."""
    row = f"Attention, {count} most local heads"

    def make(case: Case) -> Made:
        pairs = top_heads(case.capture, count)
        found = token_maps("attention", case.capture, tokens=case.tokens, pairs=pairs)
        return Made({row: found.maps}, found.cost)

    return make


def blind(case: Case) -> Made:
    """Return maps that know nothing of the answer: `blind_maps` of every token."""
    each = [blind_maps(case.capture.grid, case.rng) for _ in case.tokens]
    return Made({row: np.stack([maps[row] for maps in each]) for row in BLIND})


def blind_maps(grid: tuple[int, int], rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Return maps (h, w) of a centre prior, of random values, and of the same value everywhere."""
    return dict(zip(BLIND, (central(grid), rng.random(grid), np.ones(grid)), strict=True))
