"""The boxes and points that an answer writes, as it writes them: JSON, or behind a `<|box_start|>`.

Goes in: a text. Comes out: `Written` boxes, with the numbers as they stand there, and how many could not be
read. Knows nothing of pictures and tokens. A text that is no box makes none, whatever it is.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

from records.tokens import Span

LONGEST = (
    2_000  # characters of a string that is looked through: what a hostile text costs stays in proportion
)
_NUMBER = re.compile(r"[+-]?[0-9]{1,7}(?:\.[0-9]{1,9})?")
_STRINGS = (
    rf'"(?:[^"\\\n]|\\.){{0,{LONGEST}}}"',
    rf"'(?:[^'\\\n]|\\.){{0,{LONGEST}}}'",
    rf'\\"(?:[^"\\\n]|\\\\\\?.){{0,{LONGEST}}}\\"',  # JSON that stands in a string itself
)
_STRING = "|".join(_STRINGS)
# What counts inside braces: a box's numbers, a label, and strings, in which a brace is none.
_LEXEME = re.compile(
    rf"""
    (?P<quote>\\?"|')(?P<kind>bbox_2d|point_2d)(?P=quote)\s*:\s*(?:\[(?P<numbers>[^\[\]{{}}"']*)\])?
    | (?P<named>\\?"|')(?:label|text_content)(?P=named)\s*:\s*(?P<label>{_STRING})
    | (?:{_STRING})
    | (?P<opens>\{{) | (?P<closes>\}})
    """,
    re.VERBOSE,
)
_MARKED = re.compile(
    r"<\|object_ref_start\|>(?P<label>[^<]*)<\|object_ref_end\|>"
    r"|<\|box_start\|>(?P<numbers>[^<]*)(?P<end><\|box_end\|>)?"
)
_BETWEEN = re.compile(r"[\s,;]*")  # two boxes of one label
_BRACKETS = re.compile(r"[\s,()\[\]]+")


@dataclass(frozen=True)
class Written:
    """A box or a point as an answer writes it, in numbers whose unit is the model's."""

    label: str  # on one line; "" where it has none
    numbers: tuple[float, ...]  # x0, y0, x1, y1 of a box, in any order of its corners; x, y of a point
    spans: tuple[Span, ...]  # of characters: its label and its numbers, in the order of the text


@dataclass
class _Braces:
    """What stands between two braces so far."""

    label: str = ""
    label_span: Span | None = None
    places: tuple[tuple[tuple[float, ...], Span], ...] = ()  # numbers, and where they stand


def written_boxes(text: str) -> tuple[list[Written], int]:
    """Return the boxes and points that a text writes, in its order, and how many could not be read.

    Read are objects with `bbox_2d` of four numbers or `point_2d` of two, alone, in a list or anywhere else,
    in a fence or not, with the quotes of JSON, of Python, or escaped ones; `label` or `text_content` names
    them. So are `<|box_start|>(x0,y0),(x1,y1)<|box_end|>`, and one pair for a point, named by
    `<|object_ref_start|>` before them. The last one may be cut off behind its numbers; one that is cut off
    within them is not read, since a number may go on.
    """
    found, unread = [], 0
    for one in chain(_in_braces(text), _marked(text)):
        if isinstance(one, Written):
            found.append(one)
        else:
            unread += 1
    return sorted(found, key=lambda one: one.spans[0]), unread


def _in_braces(text: str) -> Iterator[Written | None]:
    """Yield what JSON objects say, each when it closes; None for what says that it is a box and is none."""
    open_: list[_Braces] = []
    at = 0
    while True:
        if not open_:  # outside of braces, quotes are those of prose
            at = text.find("{", at)
            if at < 0:
                return
        lexeme = _LEXEME.search(text, at)
        if lexeme is None:
            break
        at = lexeme.end()
        if lexeme["opens"]:
            open_.append(_Braces())
        elif lexeme["closes"]:
            yield from _boxes_of(open_.pop())
        elif lexeme["kind"]:
            numbers = _numbers(lexeme["numbers"], 4 if lexeme["kind"] == "bbox_2d" else 2)
            if numbers is None:
                yield None
            else:
                open_[-1].places += ((numbers, lexeme.span("numbers")),)
        elif lexeme["label"] is not None and open_[-1].label_span is None:
            quote = len(lexeme["named"])
            start, end = lexeme.span("label")
            open_[-1].label = _unquoted(lexeme["label"])
            open_[-1].label_span = (start + quote, max(start + quote, end - quote))
    for braces in open_:  # the answer was cut off
        yield from _boxes_of(braces)


def _boxes_of(braces: _Braces) -> Iterator[Written]:
    label_spans = (braces.label_span,) if braces.label_span is not None and braces.label else ()
    for numbers, span in braces.places:
        yield Written(braces.label, numbers, tuple(sorted((span, *label_spans))))


def _marked(text: str) -> Iterator[Written | None]:
    """Yield what stands between the marks of boxes; None for what is no box there."""
    label, label_span, ends = "", (0, 0), -1  # and where what the label names ended
    for mark in _MARKED.finditer(text):
        if mark["label"] is not None:
            label, label_span, ends = one_line(mark["label"]), mark.span("label"), mark.end()
            continue
        if ends < 0 or not _BETWEEN.fullmatch(text, ends, mark.start()):
            label, ends = "", -1
        stripped = _BRACKETS.sub(" ", mark["numbers"]).strip().replace(" ", ",")
        numbers = (
            _numbers(stripped, 4) if mark["numbers"].rstrip()[-1:] in (")", "]") or mark["end"] else None
        )
        if numbers is None and mark["end"]:
            numbers = _numbers(stripped, 2)
        ends = mark.end() if label else -1
        spans = (mark.span("numbers"), *((label_span,) if label else ()))
        yield Written(label, numbers, tuple(sorted(spans))) if numbers else None


def _numbers(listed: str | None, count: int) -> tuple[float, ...] | None:
    """Return so many numbers, separated by commas; None for anything else."""
    parts = [part.strip() for part in (listed or "").split(",")]
    if len(parts) != count or not all(_NUMBER.fullmatch(part) for part in parts):
        return None
    numbers = tuple(map(float, parts))
    return numbers if all(map(math.isfinite, numbers)) else None


def _unquoted(string: str) -> str:
    """Return what a string in quotes says, on one line."""
    if string.startswith("\\"):
        return _unquoted(f'"{_unescaped(string[2:-2])}"')
    body = string[1:-1]
    if string.startswith("'"):
        body = body.replace("\\'", "'").replace('"', '\\"')
    return one_line(_unescaped(body))


def _unescaped(body: str) -> str:
    """Return what stands between the quotes of a JSON string; as it is where that is no JSON."""
    try:
        return str(json.loads(f'"{body}"', strict=False))
    except ValueError:
        return body


def one_line(text: str) -> str:
    """Return a label on one line; half characters, which no file can hold, become "?"."""
    return " ".join(text.encode("utf-8", "replace").decode("utf-8").split())
