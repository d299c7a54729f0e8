"""What a person chose on the page, parsed once: words, method, layers, heads and look.

Goes in: values as the page's components and the viewer sent them, which may be anything. Comes out: a `Pick`,
`Controls`, a `Selection`; or one line that says why not. Numbers stay numbers. Knows nothing of Gradio and of
maps.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

import config
from methods import METHODS, Method
from page.inputs import RefusedError, number_within
from records.capture import Capture
from records.choices import Aggregation
from records.look import Look
from records.selection import Selection, parsed_selection, parsed_tokens
from utils import as_ranges, numbers_of

ATTENTION = "attention"  # what an answer begins with: it is there at once
WHOLE_ANSWER = "all"


@dataclass(frozen=True)
class Pick:
    """One or more tokens of the answer, or of the prompt."""

    tokens: tuple[int, ...]
    of_prompt: bool = False

    @property
    def key(self) -> str:
        """The pick as it can be typed: "3", "3-5", for the prompt "p3"."""
        return ("p" if self.of_prompt else "") + as_ranges(self.tokens)


def pick_of(key: str, capture: Capture) -> Pick:
    """Return the pick that a key names: "all", "3", "-1", "0-3,5", or of the prompt "p0", "p1-2", "pall".

    Raises:
        ValueError: one line, for a token that is not there or a key that is none.
    """
    return Pick(*parsed_tokens(capture, key))


# --- Method, layers and heads -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Controls:
    """What sliders and lists say of every answer alike. Ends are first and last, both included."""

    layers: tuple[int, int]
    heads: tuple[int, int]
    aggregation: Aggregation
    method: str = ATTENTION
    no_sinks: bool = False  # leave out patches that nearly every word looks at

    @classmethod
    def of(cls, values: Sequence[Any]) -> "Controls":
        """Return two ends of layers, of heads, the aggregation, and where they are given method and sinks.

        Raises:
            RefusedError: for what is no number or no method, and for a range that runs backwards.
        """
        layer_from, layer_to, head_from, head_to, aggregation, *explained_by = values
        method, no_sinks = explained_by or (ATTENTION, False)
        return cls(
            layers=_ends(layer_from, layer_to, "layer"),
            heads=_ends(head_from, head_to, "head"),
            aggregation=cast(Aggregation, aggregation),
            method=method,
            no_sinks=method_asked(method).sinks and no_sinks is True,
        )

    @property
    def row(self) -> Method:
        """The method's row in the catalogue."""
        return METHODS[self.method]

    @property
    def of_attention(self) -> "Controls":
        """The same layers and heads, by attention as it is."""
        return replace(self, method=ATTENTION, no_sinks=False)

    def selection(self, capture: Capture, key: Any = None, by: Any = "word", look: Any = None) -> Selection:
        """Return what of an answer is shown; sliders of a larger model end at its last layer and head.

        `key` is a pick; None is all of the answer, or of the prompt where the answer is empty. `look` is what
        the viewer says of itself.

        Raises:
            ValueError: one line, for what is none or not there.
        """
        every = "pall" if self.row.of_prompt and not capture.token_ids else WHOLE_ANSWER
        drawn_as, scale = look_of(look)
        return parsed_selection(
            capture,
            key if isinstance(key, str) else every,
            _numbers(self.layers, capture.layer_count),
            _numbers(self.heads, capture.attention.shape[2]),
            aggregation=self.aggregation,
            by=by,
            method=self.method,
            no_sinks=self.no_sinks,
            look=drawn_as,
            scale=scale,
        )


def method_asked(name: Any) -> Method:
    """Return the method of that name; RefusedError for none of the catalogue."""
    if not isinstance(name, str) or name not in METHODS:
        raise RefusedError(f"The method must be one of {', '.join(METHODS)}.")
    return METHODS[name]


def alone_of(chosen: Any, capture: Capture) -> list[int]:
    """Return the ends of layers and of heads for [layer, head]; None is all of them."""
    if not isinstance(chosen, list) or len(chosen) != 2:
        raise RefusedError("Choose a layer and a head.")
    counts = {"layer": capture.layer_count, "head": capture.attention.shape[2]}
    ends: list[int] = []
    for number, (name, count) in zip(chosen, counts.items(), strict=True):
        numbers = range(count) if number is None else numbers_of(str(number), count, name)
        ends += [numbers[0], numbers[-1]]
    return ends


def _ends(first: Any, last: Any, what: str) -> tuple[int, int]:
    low, high = (int(number_within(end, f"The {what} range", 0, 10_000)) for end in (first, last))
    if low > high:
        raise RefusedError(f"The range of {what}s runs backwards: from {low} to {high}.")
    return low, high


def _numbers(ends: tuple[int, int], count: int) -> tuple[int, ...]:
    first, last = (min(end, count - 1) for end in ends)
    return tuple(range(first, last + 1))


# --- Look ---------------------------------------------------------------------------------------------------


def look_of(look: Any) -> tuple[Look, Literal["own", "shared"]]:
    """Return how the viewer draws, and its scale, from what it says of itself; None is config's look.

    Raises:
        ValueError: one line, for what is no look.
    """
    if look is None:
        return Look(), config.HEATMAP_SCALE  # type: ignore[return-value]
    if not isinstance(look, dict) or look.get("scale") not in ("own", "shared"):
        raise RefusedError("The look must have opacity, contrast, colormap, view, cells and scale.")
    contrast, opacity = (_number(look.get(name), name) for name in ("contrast", "opacity"))
    if not -3 <= contrast <= 3:
        raise RefusedError("The contrast must be a number from -3 to 3.")
    view = "overlay" if look.get("view") == "wipe" else str(look.get("view"))
    drawn_as = Look(
        str(look.get("colormap")),
        opacity,
        view,
        look.get("cells") == "smooth",
        gamma=2.0**contrast,
    )
    return drawn_as, look["scale"]


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise RefusedError(f"The {name} must be a number.")
    return float(value)
