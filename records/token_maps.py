"""The record that every method returns: a map of each token, and how it was made.

Goes in: arrays, and what a method says of them. Comes out: `TokenMaps`, which refuses parts that disagree.
Knows nothing of models, captures and pictures.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from methods.catalog import Method, method_named
from records.choices import chosen_indices
from records.shown import cell
from records.visuals import part_of_map, shape_of_map
from utils import as_ranges

if TYPE_CHECKING:
    from records.capture import Capture

SINKS_NAMED = 6  # of those left out, in words


@dataclass(frozen=True)
class Cost:
    """What a computation took. A pass is one reading of prompt and answer, however many share a batch."""

    forward: int = 0
    backward: int = 0
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """As it is said: "4 forward, 12 backward passes, 1.3 s", without what was none; empty for nothing."""
        counts = [
            f"{count} {name}"
            for count, name in ((self.forward, "forward"), (self.backward, "backward"))
            if count
        ]
        if not counts:
            return ""
        passes = f"{', '.join(counts)} pass{'es' if self.forward + self.backward > 1 else ''}"
        return f"{passes}, {self.seconds:.1f} s" if self.seconds >= 0.05 else passes

    def __add__(self, other: Cost) -> Cost:
        """Return what two computations took together."""
        return Cost(
            self.forward + other.forward, self.backward + other.backward, self.seconds + other.seconds
        )


@dataclass(frozen=True, eq=False)
class TokenMaps:
    """A map of each token, by whatever method, with all that is needed to say how it was made."""

    method: str  # of the catalogue
    tokens: tuple[int, ...]  # of the answer, or of the prompt; ascending, each once
    maps: NDArray[np.float32]  # (token, h, w), raw and un-normalised; of several pictures (token, patch)
    cost: Cost = Cost()
    settings: dict[str, Any] = field(default_factory=dict)  # JSON-ready
    notes: tuple[str, ...] = ()  # what a person should know, in sentences
    of_prompt: bool = False  # the tokens are the prompt's
    removed: tuple[int, ...] | None = None  # patches (row * w + col) left out as sinks; None: nobody asked
    capture: Capture | None = field(default=None, repr=False)  # the answer that they explain

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        method_named(self.method)
        if not self.tokens or list(self.tokens) != sorted(set(self.tokens)) or self.tokens[0] < 0:
            raise ValueError(f"expected tokens ascending, each once, from 0; got {self.tokens}")
        axes = 3 if self.capture is None else 1 + len(shape_of_map(self.capture.visuals))
        if self.maps.ndim != axes or len(self.maps) != len(self.tokens) or self.maps.size == 0:
            raise ValueError(
                f"expected maps of shape (token, h, w)=({len(self.tokens)}, h, w), at least one cell each; "
                f"got {self.maps.shape}"
            )
        if self.maps.dtype != np.float32:
            raise ValueError(f"expected maps in float32; got {self.maps.dtype}")
        if not np.isfinite(self.maps).all():
            raise ValueError("the maps have NaN or infinite values; bfloat16 or float32 may help")

    def _repr_html_(self) -> str | None:
        """Return the viewer for a cell of a notebook, with these maps; a picture of them if they are some."""
        return cell(self.capture, self)

    def token_map(
        self, tokens: int | Sequence[int], visual: int = 0, frame: int | None = None
    ) -> NDArray[np.float32]:
        """Return the map (h, w) of a token, or of several: the mean of their maps.

        `visual` is the number of a picture or clip among several; of a clip it is the map of its step
        `frame`, or without one (t, h, w) of all its steps.

        Raises:
            ValueError: for a token that is not among those computed, and a picture that is not there.
        """
        heat = self.mean_map(tokens)
        if self.capture is None:
            return heat
        return part_of_map(heat.reshape(-1), self.capture.visuals, visual, frame)

    def mean_map(self, tokens: int | Sequence[int]) -> NDArray[np.float32]:
        """Return the mean of the tokens' maps as they are: (h, w), of several pictures (patch,)."""
        last = self.tokens[-1] + 1
        places = []
        for token in chosen_indices(tokens, last, "token"):
            if token not in self.tokens:
                raise ValueError(
                    f"token {token} is not among those computed: {', '.join(map(str, self.tokens))}"
                )
            places.append(self.tokens.index(token))
        return self.maps[places].mean(axis=0)

    def hottest_visual(self, tokens: int | Sequence[int], *, clips: bool = True) -> int:
        """Return the number of the picture or clip on which most of the tokens' map is: values above 0.

        Without `clips` it is that of a picture.

        Raises:
            ValueError: as `token_map`; without `clips` where there are no pictures.
        """
        visuals = () if self.capture is None else self.capture.visuals
        if not visuals:
            return 0
        numbers = [number for number, one in enumerate(visuals) if clips or one.kind == "image"]
        if not numbers:
            raise ValueError("No part of a clip can be hidden or cut out: this needs a picture.")
        parts = (self.token_map(tokens, number) for number in numbers)
        return numbers[int(np.argmax([np.maximum(part, 0).sum() for part in parts]))]

    def merged_with(self, other: TokenMaps) -> TokenMaps:
        """Return the maps of the tokens of both, by the same method with the same settings.

        Where both have a token it is the other's map. What the two computations took is added up. Every
        method of the catalogue gives a token the same map whether it is computed alone or with others, but
        for rounding: no token's map depends on which others were asked for.

        Raises:
            ValueError: for maps that were made in another way, or of another answer.
        """
        if (self.key, self.of_prompt, self.maps.shape[1:]) != (
            other.key,
            other.of_prompt,
            other.maps.shape[1:],
        ):
            raise ValueError(f"{other.line} cannot be merged with {self.line}")
        answers = [one.capture for one in (self, other) if one.capture is not None]
        if len({(one.visuals, one.history, one.prompt_token_ids, one.token_ids) for one in answers}) > 1:
            raise ValueError("maps of different answers cannot be merged")
        each = dict(zip(self.tokens, self.maps, strict=True)) | dict(
            zip(other.tokens, other.maps, strict=True)
        )
        tokens = tuple(sorted(each))
        return replace(
            self,
            tokens=tokens,
            maps=np.stack([each[token] for token in tokens]),
            cost=self.cost + other.cost,
            notes=tuple(dict.fromkeys((*self.notes, *other.notes))),
            capture=answers[0] if answers else None,
        )

    def joined_to(self, known: TokenMaps | None) -> TokenMaps:
        """Return these with what was known before, if that was made in the same way; else these alone."""
        return known.merged_with(self) if known is not None and known.key == self.key else self

    @property
    def key(self) -> str:
        """What tells these maps from others of the answer: method, settings, and what was left out."""
        how = json.dumps([self.settings, self.removed], sort_keys=True)
        return f"{self.method}-{hashlib.sha256(how.encode()).hexdigest()[:12]}"

    @property
    def as_it_is(self) -> bool:
        """Whether this is attention, folded as a person chose and with nothing left out."""
        return self.row.folds and self.removed is None

    @property
    def row(self) -> Method:
        """The method's row in the catalogue."""
        return method_named(self.method)

    @property
    def label(self) -> str:
        """What the maps are, in a few words: the method's label, and that sinks are left out."""
        return self.row.label if self.removed is None else f"{self.row.label} without sinks"

    @property
    def line(self) -> str:
        """What the maps are and what they were made of; of attention as it is, what was folded and how."""
        return self.how if self.as_it_is else f"{self.label} · {self.how}"

    @property
    def how(self) -> str:
        """What the maps were made of, on one line: layers or heads, settings, sinks left out, the cost."""
        settings, parts = self.settings, []
        if pairs := settings.get("pairs"):
            parts.append("layer.head " + ", ".join(f"{layer}.{head}" for layer, head in pairs))
        elif layers := settings.get("layers"):
            parts.append(f"layers {as_ranges(layers)}")
        if self.row.folds and (heads := settings.get("heads")):
            parts += [f"heads {as_ranges(heads)}", settings["aggregation"]]
        if settings.get("noise_std"):
            parts.append(f"{settings['num_samples']} samples, noise {settings['noise_std']:g}")
        if size := settings.get("size"):
            parts.append(f"regions of {size} × {size} cells")
        if self.removed is not None:
            parts.append(self._sinks())
        if cost := self.cost.text:
            parts.append(cost)
        return " · ".join(parts) or "all layers"

    def _sinks(self) -> str:
        """Return which sinks were left out: "2 sinks left out: row 0 column 3 (9 ×), …"."""
        sinks: list[tuple[int, float]] = self.settings["sinks"]
        if not sinks:
            return "no sinks found"
        places = [f"{self._place(patch)} ({strength:.0f} ×)" for patch, strength in sinks]
        named, more = places[:SINKS_NAMED], len(places) - SINKS_NAMED
        rest = f" and {more} more" if more > 0 else ""
        return f"{len(sinks)} sink{'s' * (len(sinks) > 1)} left out: {', '.join(named)}{rest}"

    def _place(self, patch: int) -> str:
        """Return where a patch is: "row 0 column 3", among several pictures with the picture's name."""
        if self.capture is None or len(self.capture.visuals) == 1:
            row, column = divmod(patch, self.maps.shape[-1])
            return f"row {row} column {column}"
        visual = next(one for one in self.capture.visuals if patch < one.patches.stop)
        row, column = divmod(patch - visual.first, visual.grid[-1])
        return f"{visual.name} row {row} column {column}"


class SelectedMaps(NamedTuple):
    """The maps of every token of an answer and of its prompt; None where there are no tokens, or no maps."""

    answer: TokenMaps | None
    prompt: TokenMaps | None = None
