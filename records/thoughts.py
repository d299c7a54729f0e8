"""The thoughts of an answer: what a thinking checkpoint says between `<think>` and `</think>`.

Goes in: texts. Comes out: which tokens are thoughts. Knows nothing of models.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from records.capture import Capture

OPENS, CLOSES = "<think>", "</think>"
MARKS = (OPENS, CLOSES)
_MARK = re.compile("|".join(MARKS))


def leaves_open(text: str) -> bool:
    """Return whether a text ends in the middle of a thought."""
    return text.rfind(OPENS) > text.rfind(CLOSES)


def thoughts_in(tokens: Sequence[str], begun: bool = False) -> tuple[int, ...]:
    """Return which tokens of an answer are thoughts: the marks around them, and the white space after them.

    `tokens` are display texts, in which a mark may be one token or several. `begun` says that the template
    opened the thought already. A thought that is not closed goes to the end of the answer; one that is closed
    and was not opened goes back to its beginning, as where a server left the template's mark out.
    """
    text = "".join(tokens)
    starts = [0, *accumulate(map(len, tokens))]
    found: set[int] = set()
    at = 0 if begun else None  # where the thought at hand began
    for mark in _MARK.finditer(text):
        if mark[0] == OPENS:
            at = mark.start() if at is None else at
        elif at is not None or not found:
            end = mark.end() + len(text[mark.end() :]) - len(text[mark.end() :].lstrip())
            found |= _touched(starts, at or 0, mark.end()) | _within(starts, mark.end(), end)
            at = None
    if at is not None:
        found |= _touched(starts, at, len(text))
    return tuple(sorted(found))


def after_thoughts(tokens: Sequence[str]) -> tuple[int, str]:
    """Return the first token after the last thought that was closed, and the text between the two.

    That text is white space, or what a token says beside the mark. 0 and "" where no thought was closed.
    """
    text = "".join(tokens)
    if CLOSES not in text:
        return 0, ""
    end, starts = text.rindex(CLOSES) + len(CLOSES), [0, *accumulate(map(len, tokens))]
    end_of_space = end + len(text[end:]) - len(text[end:].lstrip())
    first = next(t for t in range(len(starts)) if starts[t] >= end)
    while first < len(tokens) and starts[first + 1] <= end_of_space:
        first += 1
    return first, text[end : starts[first]]


def _touched(starts: Sequence[int], begin: int, end: int) -> set[int]:
    """Return the tokens that have one of these characters."""
    first = bisect_right(starts, begin) - 1
    return {token for token in range(first, len(starts) - 1) if starts[token] < end}


def _within(starts: Sequence[int], begin: int, end: int) -> set[int]:
    """Return the tokens that have none but these characters."""
    return {t for t in range(len(starts) - 1) if begin <= starts[t] and starts[t + 1] <= end}


def thoughts(capture: Capture) -> tuple[int, ...]:
    """Return the tokens of an answer that are thoughts, ascending; none where it did not think aloud."""
    after = capture.context_tokens[max(capture.prompt_places, default=-1) + 1 :]
    return thoughts_in(capture.tokens, leaves_open("".join(after)))


def said(capture: Capture) -> tuple[int, ...]:
    """Return the tokens of an answer without its thoughts, ascending; none where it ended in them."""
    left_out = set(thoughts(capture))
    return tuple(token for token in range(len(capture.token_ids)) if token not in left_out)
