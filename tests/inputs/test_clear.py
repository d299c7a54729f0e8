"""The judge itself: lines that a person can be told pass, and no others."""

import pytest

from tests.inputs.clear import one_clear_line
from tests.inputs.tally import Tally, counted, table


@pytest.mark.parametrize(
    "line",
    [
        "The picture file is damaged or incomplete.",
        "error: there is no layer 99: the model has 3 layers, 0 to 2",
        "The picture has 608,516,890 pixels (24410 x 24929); at most 100,000,000 are allowed.",
        "argument --alpha: must be a number from 0 to 1; got 1.5 (see python cli.py attention --help)",
    ],
)
def test_plain_words_are_clear(line: str) -> None:
    one_clear_line(line)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "nothing is told"),
        (" \t", "nothing is told"),
        ("one\ntwo three four", "several lines"),
        ("one two three\r four", "several lines"),
        ("a line with \x1b[31m in it", "characters that are not seen"),
        ("a line with \ud800 in it", "characters that are not seen"),
        ("word " * 200, "characters: "),
        ("Something went wrong. The terminal shows what.", "nothing of what is wrong"),
        ("error: unexpected KeyError: 'head' (--debug shows where)", "nothing of what is wrong"),
        ("Traceback (most recent call last): x", "a traceback"),
        ("cannot identify image file <_io.BytesIO object at 0x7f00aa>", "an address in memory"),
        ("it raised a ValueError somewhere", "a name of Python's"),
        ("'NoneType' has no such thing", "a name of Python's"),
        ("it is PIL that complains", "a library"),
        ("[Errno 36] File name too long", "a code of the system"),
        ("'utf-8' codec can't encode it", "a code of the system"),
        ("argument --answer: invalid given_answer value: 'x'", "a name of ours"),
        ("no such file: /usr/lib/python3/x.py", "a path of the server"),
        ("No.", "no sentence"),
    ],
)
def test_what_is_not_clear_is_named(line: str, reason: str) -> None:
    with pytest.raises(AssertionError, match=reason):
        one_clear_line(line)


def test_what_a_person_typed_may_stand_in_it() -> None:
    one_clear_line("'/usr/own/PIL.png' is not a picture file", "/usr/own/PIL.png")


def test_counts_of_several_tests_are_added_up() -> None:
    one, other = Tally(), Tally()
    for tally in (one, other, other):
        tally.right("a")
    other.refused("long name")
    reports = [type("Report", (), {"user_properties": [("inputs", tally.counts)]}) for tally in (one, other)]
    assert table(counted([*reports, object()])) == [
        "           inputs   right  refused in one clear line",
        "a               3       3        0",
        "long name       1       0        1",
        "all             4       3        1",
    ]
