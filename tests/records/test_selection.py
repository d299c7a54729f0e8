"""A selection: read from what is typed, and refused where a method has no such maps."""

import re
from dataclasses import replace
from typing import Any

import pytest

from records.look import Look
from records.selection import Selection, key_of, parsed_selection, parsed_tokens
from tests.attention_processor.kit import HEADS, PROMPT_TOKENS, RECORDED, TOKENS, made_capture

ALL = Selection(RECORDED, tuple(range(HEADS)))


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({}, ALL),
        ({"tokens": "3"}, replace(ALL, tokens=(3,))),
        ({"tokens": " -1"}, replace(ALL, tokens=(TOKENS - 1,))),
        ({"tokens": "0-2,5"}, replace(ALL, tokens=(0, 1, 2, 5))),
        ({"tokens": "p1-2"}, replace(ALL, tokens=(1, 2), of_prompt=True)),
        ({"tokens": "pall"}, replace(ALL, of_prompt=True)),
        ({"layers": "0-3,-1"}, replace(ALL, layers=(0, 2, 5))),  # 1 and 3 were not recorded
        ({"layers": (5, 0), "heads": [1]}, replace(ALL, layers=(0, 5), heads=(1,))),
        (
            {"aggregation": "max", "by": "token", "scale": "shared", "look": Look("magma")},
            replace(ALL, aggregation="max", by="token", scale="shared", look=Look("magma")),
        ),
        ({"method": "tam", "tokens": "4"}, replace(ALL, method="tam", tokens=(4,))),
        ({"no_sinks": True}, replace(ALL, no_sinks=True)),
    ],
)
def test_what_is_typed_is_a_selection(asked: dict[str, Any], expected: Selection) -> None:
    assert parsed_selection(made_capture(), **asked) == expected


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"tokens": "99"}, f"There is no token 99: there are {TOKENS}, 0 to {TOKENS - 1}."),
        ({"tokens": "p9"}, f"There is no prompt token 9: there are {PROMPT_TOKENS}, 0 to"),
        ({"tokens": "red"}, 'The tokens must be "all", or numbers such as 3 or 0-2,5.'),
        ({"tokens": "3-1"}, "The range of tokens 3-1 runs backwards."),
        ({"layers": "6"}, "There is no layer 6: there are 6, 0 to 5."),
        ({"layers": "1,3"}, "None of these layers was recorded; recorded: 0,2,5."),
        ({"heads": "0-2"}, "There is no head 2: there are 2, 0 to 1."),
        ({"method": "magic"}, "method must be one of attention, heads-3"),
        ({"method": "tam", "tokens": "p0"}, "Token activation map explains words of the answer, not of the"),
        ({"method": "heads-3", "no_sinks": True}, "3 most local heads has no sinks to leave out"),
        ({"by": "letter"}, "A map is for each word or token."),
        ({"scale": "all"}, "scale must be one of own, shared; got 'all'"),
    ],
)
def test_what_is_no_selection_is_one_line(asked: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=re.escape(line)) as caught:
        parsed_selection(made_capture(), **asked)
    assert len(str(caught.value).splitlines()) == 1


def test_tokens_are_of_the_answer_or_the_prompt() -> None:
    capture = made_capture()
    assert parsed_tokens(capture, "all") == (tuple(range(TOKENS)), False)
    assert parsed_tokens(capture, "pall") == (tuple(range(PROMPT_TOKENS)), True)
    assert parsed_tokens(capture, "p-1") == ((PROMPT_TOKENS - 1,), True)


@pytest.mark.parametrize("key", ["3", "0-2,5", "p0", "p1-2"])
def test_tokens_are_written_as_they_are_read(key: str) -> None:
    assert key_of(*parsed_tokens(made_capture(), key)) == key
