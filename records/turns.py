"""One earlier turn of a conversation: what was asked and what was said, a plain record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from records.visuals import Kind


@dataclass(frozen=True)
class Turn:
    """A question with its answer, as they stand before a later question."""

    prompt: str  # the person's text as the model read it
    kinds: tuple[Kind, ...]  # of the visuals that the question brought, in the order of the prompt
    token_ids: tuple[int, ...]  # of the answer as it was said, without the token that ended it
    text: str  # the answer, special tokens left out

    def __post_init__(self) -> None:
        """Refuse a turn in which nothing was said."""
        if not self.token_ids:
            raise ValueError("an earlier answer is empty: leave it out of the history")


def kinds_of_turns(turns: Iterable[Turn]) -> list[Kind]:
    """Return what the visuals of some turns are, in the order of the prompt."""
    return [kind for turn in turns for kind in turn.kinds]


def turn_of_json(facts: Mapping[str, Any]) -> Turn:
    """Return the turn that `asdict` wrote, read back from JSON."""
    sequences: dict[str, Any] = {name: tuple(facts[name]) for name in ("kinds", "token_ids")}
    return Turn(**{**facts, **sequences})
