"""What of an answer is shown: which tokens, by which method, of which layers and heads, and how it is drawn.

Goes in: what a person chose, clicked or typed, and the `Capture` that it is about. Comes out: a `Selection`,
which is parsed here, once, for page, shell and API. Knows nothing of maps and files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from methods.catalog import Method, method_named
from records.choices import Aggregation
from records.keep import every_head
from records.look import GLOW, Look
from records.thoughts import said
from utils import as_ranges, numbers_of, shown

if TYPE_CHECKING:
    from records.capture import Capture

ANSWER = "answer"  # names the tokens of an answer that are no thoughts
Numbers = str | Sequence[int]  # "all", "0-3,-1", or numbers that are known to be there
SCALES = {
    "own": "each map from its own lowest to its own highest value",
    "shared": "one range for all tokens of question and answer",
}
GLOW_SCALES = {
    "own": "each map from an even share of it to its own largest, at least four even shares",
    "shared": "each map from an even share of it to one share for all tokens of question and answer",
}


@dataclass(frozen=True)
class Selection:
    """What of an answer is shown, and how. It refuses what a method has no maps of."""

    layers: tuple[
        int, ...
    ]  # decoder layer numbers: what attention is folded over, and the shares on the image
    heads: tuple[int, ...] | None  # None: those of each layer that were kept, where only pairs were
    aggregation: Aggregation = "mean"
    tokens: tuple[int, ...] | None = None  # None: all of them
    by: Literal["token", "word"] = "word"  # what gets a map of its own where there are several
    of_prompt: bool = False  # the tokens are those of the prompt
    method: str = "attention"  # of the catalogue
    no_sinks: bool = False  # leave out patches that nearly every word looks at
    visual: int = 0  # the number of the picture or clip that is shown, of several
    frame: int = 0  # of a clip the step that is shown
    look: Look = field(default_factory=Look)
    scale: Literal["own", "shared"] = "own"

    def __post_init__(self) -> None:
        row = self.row
        if self.by not in ("token", "word"):
            raise ValueError("A map is for each word or token.")
        if not isinstance(self.scale, str) or self.scale not in SCALES:
            raise ValueError(f"scale must be one of {', '.join(SCALES)}; got {shown(self.scale)}")
        if self.of_prompt and not row.of_prompt:
            raise ValueError(f"{row.label} explains words of the answer, not of the prompt")
        if self.no_sinks and not row.sinks:
            raise ValueError(f"{row.label} has no sinks to leave out: they belong to attention")

    @property
    def row(self) -> Method:
        """The method's row in the catalogue."""
        return method_named(self.method)


def scale_text(scale: str, colormap: str) -> str:
    """Return a scale, "own" or "shared", with what the colours of maps span under it, in words."""
    return f"{scale}: {(GLOW_SCALES if colormap == GLOW else SCALES)[scale]}"


def parsed_selection(
    capture: Capture, tokens: str = "all", layers: Numbers = "all", heads: Numbers = "all", **rest: Any
) -> Selection:
    """Return what was typed, clicked or slid to: tokens such as "3-5" or "p1", layers such as "0-3,-1".

    Tokens are read as `parsed_tokens` does. Layers that were not recorded are left out. `rest` are other
    fields of `Selection`.

    Raises:
        ValueError: one line, if nothing is left or something is not there.
    """
    asked = _numbers(layers, capture.layer_count, "layer")
    recorded = tuple(layer for layer in asked if layer in capture.layers)
    if not recorded:
        raise ValueError(f"None of these layers was recorded; recorded: {as_ranges(capture.layers, '–')}.")
    chosen, of_prompt = parsed_tokens(capture, tokens)
    is_every = isinstance(heads, str) and heads.strip() == "all"
    return Selection(
        layers=recorded,
        heads=every_head(capture) if is_every else _numbers(heads, capture.head_count, "head"),
        tokens=chosen if tokens.strip() not in ("all", "pall") else None,
        of_prompt=of_prompt,
        **rest,
    )


def key_of(tokens: Sequence[int], of_prompt: bool) -> str:
    """Return tokens as they can be typed and `parsed_tokens` reads them: "3", "3-5", of the prompt "p3"."""
    return "p" * of_prompt + as_ranges(tokens)


def parsed_tokens(capture: Capture, text: str) -> tuple[tuple[int, ...], bool]:
    """Return the tokens that a text names, and whether they are the prompt's.

    "all", "3", "-1", "0-3,5" are tokens of the answer, "answer" are those that are no thoughts; "p0", "p1-2",
    "pall" are tokens of the prompt.

    Raises:
        ValueError: one line, for a token that is not there or a text that names none.
    """
    of_prompt = text.strip().startswith("p")
    count = len(capture.prompt_token_ids if of_prompt else capture.token_ids)
    if count == 0:
        raise ValueError("The answer is empty: there is no token to show.")
    if text.strip() == ANSWER:
        if not (tokens := said(capture)):
            raise ValueError("The answer ended in its thoughts: nothing stands after them.")
        return tokens, False
    name = "prompt token" if of_prompt else "token"
    return numbers_of(text.strip().removeprefix("p"), count, name), of_prompt


def _numbers(asked: Numbers, count: int, name: str) -> tuple[int, ...]:
    return numbers_of(asked, count, name) if isinstance(asked, str) else tuple(sorted(set(asked)))
