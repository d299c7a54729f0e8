"""Answers given before, as the conversation that a further question goes on from.

Goes in: captures. Comes out: a `Conversation`, their turns with all that they showed. Knows nothing of models
and templates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from records.capture import Capture
from records.turns import Turn
from utils import shown

if TYPE_CHECKING:
    from PIL.Image import Image

    from records.videos import Video


@dataclass(frozen=True, eq=False)
class Conversation:
    """Turns, and what they showed, in the order of the prompt."""

    turns: tuple[Turn, ...] = ()
    hashes: tuple[str, ...] = ()  # of each picture and clip
    pictures: tuple[Image | Video, ...] = ()  # as far as they are at hand
    system: str | None = None  # the text of its system turn; None leaves that to the template


History = Sequence[Capture] | Conversation


def conversation_before(capture: Capture) -> Conversation:
    """Return the conversation in which an answer's question was asked, to ask another there."""
    count = capture.earlier
    hashes = tuple(visual.hash for visual in capture.visuals[:count])
    return Conversation(capture.history, hashes, capture.pictures[:count], capture.system)


def with_parent(capture: Capture, parent: str | None) -> Capture:
    """Return the answer with the id of the kept one that it follows or asks again; None: as it is."""
    return capture if parent is None else replace(capture, settings={**capture.settings, "parent": parent})


def conversation_of(history: History, system: str | None = None) -> Conversation:
    """Return the conversation that captures make, one after the other; one that is made already as it is.

    Each brings the turns before it as well, unless these are what the captures before it made already.
    `system` is what was asked for; None takes that of the history.

    Raises:
        ValueError: one line, for what is no list of captures, for an empty answer, and for captures of
            different system prompts where none was asked for.
    """
    if isinstance(history, Conversation):
        return history if system is None else replace(history, system=system)
    if not isinstance(history, (list, tuple)) or not all(isinstance(one, Capture) for one in history):
        raise ValueError(f"history is a list of captures, the answers given before; got {shown(history)}")
    turns: tuple[Turn, ...] = ()
    hashes: tuple[str, ...] = ()
    pictures: tuple[Image | Video, ...] = ()
    for capture in history:
        showed = tuple(visual.hash for visual in capture.visuals)
        goes_on = capture.history == turns and showed[: capture.earlier] == hashes
        turns = capture.conversation if goes_on else (*turns, *capture.conversation)
        first = capture.earlier if goes_on else 0
        hashes += showed[first:]
        pictures += capture.pictures[first:]
    systems = {capture.system for capture in history}
    if system is None and len(systems) > 1:
        raise ValueError("the earlier answers had different system prompts; say which one counts (system=…)")
    return Conversation(turns, hashes, pictures, systems.pop() if system is None and systems else system)
