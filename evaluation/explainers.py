"""What is measured: functions that make maps of an answer's tokens, each by a row or more of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Unpack

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from methods import Options, token_maps
from methods.catalog import method_named
from model import Processor
from records.capture import Capture
from records.token_maps import Cost
from utils import Watch


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


class Rows(NamedTuple):
    """Maps (token, h, w) of a case's tokens, for each row of the table, and what they took together."""

    maps: Mapping[str, NDArray[np.floating]]
    cost: Cost = Cost()


Explainer = Callable[[Case], Rows]


def by_method(name: str, label: str | None = None, **options: Unpack[Options]) -> Explainer:
    """Return the explainer by one of `METHODS`, its row under that method's label or another."""
    row = method_named(name).label if label is None else label

    def explain(case: Case) -> Rows:
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
        return Rows({row: found.maps}, found.cost)

    return explain
