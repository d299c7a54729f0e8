"""What of an answer is to be explained, as a person types it: read, before a model or an answer is there.

Goes in: a text such as "all", "2-5", "word:2", "text:a red boat" or "contrast:red/blue". Comes out: a
`Chosen`. Knows nothing of models and answers, and imports only the standard library, so that mistyped
arguments wait for nothing.
"""

import re
from typing import Any, NamedTuple


class Chosen(NamedTuple):
    """What is to be explained: its kind, and what stands after it."""

    kind: str  # "all", "tokens", "word", "text" or "contrast"
    value: Any = None  # None, ranges such as "2-5,7", the word's number, the text, or the two words


def target_choice(text: str) -> Chosen:
    """Return what is to be explained.

    Raises:
        ValueError: one line, for anything else.
    """
    kind, _, rest = text.partition(":")
    if text == "all":
        return Chosen("all")
    if kind == "word" and re.fullmatch(r"\d{1,9}", rest):
        return Chosen("word", int(rest))
    if kind == "text" and rest.strip():
        return Chosen("text", rest)
    if kind == "contrast" and re.fullmatch(r"[^/]*[^/\s][^/]*/[^/]*[^/\s][^/]*", rest):
        return Chosen("contrast", tuple(rest.split("/")))
    if re.fullmatch(r"\s*\d{1,9}(-\d{1,9})?\s*(,\s*\d{1,9}(-\d{1,9})?\s*)*", text):
        return Chosen("tokens", text)
    wanted = "all, tokens such as 3, 2-5 or 1,4, word:2, text:a red boat, or contrast:red/blue"
    raise ValueError(f"{text!r} is not {wanted}")
