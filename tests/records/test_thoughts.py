"""Which tokens of an answer are thoughts."""

from itertools import pairwise

import pytest

from records.thoughts import leaves_open, thoughts_in
from records.words import grouped_words
from utils import numbers_of

ONE, SPLIT = ["<think>"], ["<", "think", ">"]
END, SPLIT_END = ["</think>"], ["</", "think", ">"]


@pytest.mark.parametrize(
    ("tokens", "begun", "expected"),
    [
        ([], False, ""),
        (["A", " red", " cat"], False, ""),
        ([*ONE, "\n", "Hm", *END, "A", " cat"], False, "0-3"),
        ([*ONE, "\n", "Hm", "\n", *END, "\n\n", "A", " cat"], False, "0-5"),
        ([*SPLIT, "Hm", *SPLIT_END, "A"], False, "0-6"),
        (["<", "think", ">Hm", ".</", "think", ">\n", "\n", "A"], False, "0-6"),
        (["Hm", *END, "\n\n", "A"], True, "0-2"),  # the template opened the thought
        (["Hm", "."], True, "0-1"),  # and it was not closed
        ([*ONE, "Hm", " so"], False, "0-2"),
        (["Hm", *END, "A"], False, "0-1"),  # a server left out the mark that the template had written
        (["A", " cat", *ONE, "Hm", *END, " sits"], False, "2-4"),
        ([*ONE, "a", *END, "B", *ONE, "c", *END, "D"], False, "0-2,4-6"),
        ([*ONE, "a", *END, "B", *END, "D"], False, "0-2"),  # said by the way: it closes nothing
        ([*ONE, "a", *ONE, "b", *END, "D"], False, "0-4"),
        (["Hm", *END, " A", " cat"], True, "0-1"),  # the space is the word's own
        (["A", " think", "er"], False, ""),
    ],
)
def test_thoughts_are_what_stands_between_the_marks(tokens: list[str], begun: bool, expected: str) -> None:
    assert thoughts_in(tokens, begun) == (numbers_of(expected, len(tokens), "token") if expected else ())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("assistant\n", False),
        ("assistant\n<think>\n", True),
        ("assistant\n<think>\n\n</think>\n\n", False),
        ("</think><think>", True),
    ],
)
def test_a_template_may_leave_a_thought_open(text: str, expected: bool) -> None:
    assert leaves_open(text) is expected


def test_a_mark_is_one_word_however_many_tokens_it_is() -> None:
    shown = ["<", "think", ">", "a", "</", "think", ">", " b"]
    starts = [0]
    for one in shown:
        starts.append(starts[-1] + len(one))
    words = grouped_words("".join(shown), list(pairwise(starts)), shown)
    assert [(word.text, word.tokens) for word in words] == [
        ("<think>", (0, 1, 2)),
        ("a", (3,)),
        ("</think>", (4, 5, 6)),
        ("b", (7,)),
    ]
