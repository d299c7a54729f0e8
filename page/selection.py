"""What a person chose on the page, parsed once: words, method, layers, heads and look.

Goes in: values as the page's components and the viewer sent them, which may be anything. Comes out: a `Pick`,
`Controls`, a `Selection`; or one line that says why not. Numbers stay numbers. Knows nothing of Gradio and of
maps.
"""

from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import config
from methods import METHODS, Method
from page.inputs import RefusedError
from records.capture import Capture
from records.choices import Aggregation
from records.look import LARGEST, Look
from records.selection import Selection, key_of, parsed_selection, parsed_tokens

ATTENTION = "attention"  # what an answer begins with: it is there at once
WHOLE_ANSWER = "all"
LONGEST = 2000  # characters or numbers of a list of layers or heads


@dataclass(frozen=True)
class Pick:
    """One or more tokens of the answer, or of the prompt."""

    tokens: tuple[int, ...]
    of_prompt: bool = False

    @property
    def key(self) -> str:
        """The pick as it can be typed: "3", "3-5", for the prompt "p3"."""
        return key_of(self.tokens, self.of_prompt)


def pick_of(key: Any, capture: Capture) -> Pick:
    """Return the pick that a key names: "all", "3", "-1", "0-3,5", or of the prompt "p0", "p1-2", "pall".

    Raises:
        ValueError: one line, for a token that is not there or a key that is none.
    """
    if not isinstance(key, str):
        raise RefusedError("Pick a word first.")
    return Pick(*parsed_tokens(capture, key))


# --- Method, layers and heads -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Controls:
    """What is chosen for every word alike: layers, heads (as they can be typed), aggregation, method."""

    layers: str = "all"
    heads: str = "all"
    aggregation: Aggregation = "mean"
    method: str = ATTENTION
    no_sinks: bool = False  # leave out patches that nearly every word looks at

    @classmethod
    def of(cls, wanted: Any) -> "Controls":
        """Return what the viewer asks for; None is everything, by attention.

        That is {method, layers, heads, aggregation, no_sinks}. Layers and heads are a list of numbers, a text
        such as "0-3,5", or null for all of them.

        Raises:
            RefusedError: for what is none of these.
        """
        if wanted is None:
            return cls(aggregation=_folded(None))
        if not isinstance(wanted, dict):
            raise RefusedError("The choice must have a method, layers, heads and how they are folded.")
        row = method_asked(wanted.get("method"))
        return cls(
            layers=_typed(wanted.get("layers"), "layers"),
            heads=_typed(wanted.get("heads"), "heads"),
            aggregation=_folded(wanted.get("aggregation")),
            method=row.name,
            no_sinks=row.sinks and wanted.get("no_sinks") is True,
        )

    @property
    def row(self) -> Method:
        """The method's row in the catalogue."""
        return METHODS[self.method]

    def selection(self, capture: Capture, key: Any = None, by: Any = "word", look: Any = None) -> Selection:
        """Return what of an answer is shown.

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
            self.layers,
            self.heads,
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


def _typed(numbers: Any, what: str) -> str:
    """Return a list of numbers as it can be typed; a text is returned as it is."""
    if numbers is None or numbers == []:
        return "all"
    if isinstance(numbers, str) and len(numbers) <= LONGEST:
        return numbers
    if isinstance(numbers, list) and len(numbers) <= LONGEST and all(map(_is_whole, numbers)):
        return ",".join(map(str, numbers))
    raise RefusedError(f"The {what} must be numbers, such as 0-3,5.")


def _folded(aggregation: Any) -> Aggregation:
    """Return how layers and heads are folded; None is config's way."""
    chosen, known = aggregation or config.AGGREGATION, get_args(Aggregation)
    if chosen not in known:
        raise RefusedError(f"The aggregation must be one of {', '.join(known)}.")
    return cast(Aggregation, chosen)


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
    if look.get("cells") not in ("cells", "smooth"):
        raise RefusedError("The cells must be drawn as cells or smooth.")
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
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) < LARGEST:
        raise RefusedError(f"The {name} must be a number.")
    return float(value)
