"""A conversation in a checkpoint's chat template, with the places in it where texts and answers stand.

Goes in: a processor, and turns: texts, pictures, and answers by their token ids. Comes out: what the template
writes around them, or the token ids of all. Knows nothing of pixels.

An earlier answer never goes through text and back: a mark stands for it in the template, and its ids take
the mark's place. What the template leaves out of an earlier answer, its thoughts, is left out of the ids.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import islice, zip_longest
from typing import Any, NamedTuple

from jinja2 import TemplateError

from model.errors import PromptError
from model.families import Processor
from model.thinking import template_keywords
from records.thoughts import CLOSES, after_thoughts
from records.tokens import Vocabulary
from records.visuals import Kind
from utils import one_line

PRIVATE = range(0xE000, 0xF900)  # characters that stand for texts and answers; they are for private use


class Slot(NamedTuple):
    """A place in a question where a picture or a clip stands."""

    kind: Kind


class Answer(NamedTuple):
    """An answer given before."""

    ids: tuple[int, ...]  # all that was said
    after: tuple[int, ...]  # what of it was said after the last thought
    gap: str | None  # what stands between that thought and this; None where no thought was closed

    def marked(self, mark: str, thought: str) -> str:
        """Return what the template is given in its place."""
        return mark if self.gap is None else f"{thought}{CLOSES}{self.gap}{mark}"


class Message(NamedTuple):
    """One turn of a chat, as a template takes it."""

    role: str
    parts: Sequence[str | Slot | Answer]


class Hole(NamedTuple):
    """A place in a chat where an answer stands."""

    mark: str
    ids: tuple[int, ...]


class Around(NamedTuple):
    """What a template writes before, between and after the texts and answers of a chat; and these."""

    around: list[str]
    between: list[str | Hole]


def answer_of(tokenizer: Any, ids: Sequence[int]) -> Answer:
    """Return an earlier answer, what follows its thoughts known apart."""
    vocabulary = Vocabulary(tokenizer)
    first, gap = after_thoughts([vocabulary.shown(token) for token in ids])
    return Answer(tuple(ids), tuple(ids[first:]), gap if first else None)


def chat_of(
    question: Sequence[str | Slot],
    system: str | None = None,
    history: Sequence[tuple[Sequence[str | Slot], Answer]] = (),
) -> list[Message]:
    """Return a question with what stands before it: a system turn, earlier questions and their answers."""
    chat = [] if system is None else [Message("system", [system])]
    for asked, answer in history:
        chat += [Message("user", asked), Message("assistant", [answer])]
    return [*chat, Message("user", question)]


def template_around(processor: Processor, chat: Sequence[Message], thinking: bool) -> Around:
    """Return what the chat template writes around the texts and answers of a chat.

    An empty text, that of an empty system turn, stands in what is around.

    Raises:
        PromptError: one line, for a template that leaves out, repeats or changes one of them.
    """
    parts, (thought, *marks) = _filled(chat), _marks(chat)
    pairs = list(zip(parts, marks, strict=True))
    marked = _rendered(processor, chat, thinking, [_given(part, mark, thought) for part, mark in pairs])
    between = [part if isinstance(part, str) else _hole(part, mark, thought, marked) for part, mark in pairs]
    places = [mark if isinstance(part, str) else part.mark for part, mark in zip(between, marks, strict=True)]
    if any(marked.count(place) != 1 for place in places):
        is_system = chat[0].role == "system" and places[0] not in marked
        what = "a system prompt; leave it out" if is_system else "earlier turns; leave them out"
        raise PromptError(f"The checkpoint's chat template has no place for {what}.")
    around = _split(marked, places)
    _check_thoughts(around, thought)
    said = [part if isinstance(part, str) else part.mark for part in between]
    whole = "".join(part for pair in zip(around, [*said, ""], strict=True) for part in pair)
    given = [part if isinstance(part, str) else _given(part, mark, thought) for part, mark in pairs]
    if _rendered(processor, chat, thinking, given) != whole:
        raise PromptError("The checkpoint's chat template changes the prompt; leave out spaces around it.")
    return Around(around, between)


def chat_ids(processor: Processor, chat: Sequence[Message], thinking: bool) -> list[int]:
    """Return the token ids of a chat without pictures, up to where the answer begins.

    Raises:
        PromptError: one line, for a template that leaves out an earlier answer or changes it.
    """
    parts, (thought, *marks) = _filled(chat), _marks(chat)
    pairs = list(zip(parts, marks, strict=True))
    given = [part if isinstance(part, str) else _given(part, mark, thought) for part, mark in pairs]
    text = _rendered(processor, chat, thinking, given)
    holes = [_hole(part, mark, thought, text) for part, mark in pairs if isinstance(part, Answer)]
    around = _split(text, [hole.mark for hole in holes])
    if len(around) != len(holes) + 1:
        raise PromptError("The checkpoint's chat template has no place for earlier turns; leave them out.")
    _check_thoughts(around, thought)
    found: list[int] = []
    for piece, hole in zip_longest(around, holes):
        found += processor.tokenizer(piece, add_special_tokens=False)["input_ids"]
        found += hole.ids if hole else ()
    return found


def _filled(chat: Sequence[Message]) -> list[str | Answer]:
    """Return the texts and answers of a chat in order, without empty texts."""
    return [part for turn in chat for part in turn.parts if part and not isinstance(part, Slot)]


def _marks(chat: Sequence[Message]) -> list[str]:
    """Return characters that no text has: one for a thought, and one for each text and answer."""
    parts = _filled(chat)
    texts = {letter for part in parts if isinstance(part, str) for letter in part}
    return list(islice((chr(code) for code in PRIVATE if chr(code) not in texts), len(parts) + 1))


def _given(part: str | Answer, mark: str, thought: str) -> str:
    """Return what the template is given in the place of a text or an answer."""
    return mark if isinstance(part, str) else part.marked(mark, thought)


def _hole(answer: Answer, mark: str, thought: str, text: str) -> Hole:
    """Return where an answer stands in a rendered chat: whole, or without its thoughts."""
    whole = answer.marked(mark, thought)
    return Hole(whole, answer.ids) if whole in text else Hole(mark, answer.after)


def _split(text: str, places: Sequence[str]) -> list[str]:
    """Return what stands before, between and after the places."""
    return re.split("|".join(map(re.escape, places)), text) if places else [text]


def _check_thoughts(around: Sequence[str], thought: str) -> None:
    """Raise PromptError where a thought is left of which the template changed something."""
    if thought in "".join(around):
        raise PromptError(
            "The checkpoint's chat template rewrites the thoughts of an earlier answer: they cannot be read "
            "as they were said; ask without history."
        )


def _rendered(processor: Processor, chat: Sequence[Message], thinking: bool, filled: Sequence[str]) -> str:
    """Return a chat in the template, up to where the answer begins, with these for its texts and answers."""
    rest = iter(filled)
    turns: list[Mapping[str, Any]] = []
    for turn in chat:
        content: list[dict[str, str]] = []
        for part in turn.parts:
            if isinstance(part, Slot):
                content.append({"type": part.kind})
            else:
                content.append({"type": "text", "text": next(rest) if part else ""})
        turns.append({"role": turn.role, "content": content})
    keywords = template_keywords(processor.chat_template, thinking)
    try:
        return str(
            processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **keywords)
        )
    except TemplateError as error:  # what a template raises of its own accord
        why = one_line(error, 80)
        raise PromptError(f"The checkpoint's chat template refuses the conversation: {why}.") from error
