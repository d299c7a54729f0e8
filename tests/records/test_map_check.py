"""The test of a map, as a record: its verdict, its sentences, and what it refuses."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from records.map_check import MapCheck
from tests.records.kit import map_check

COUNTS = (0, 1, 2, 4, 8, 16)


def made(hottest: list[float], random: list[list[float]], **parts: Any) -> MapCheck:
    """Return a test of a picture of 4 × 9 patches, in which these became of the word at each count."""
    counts = parts.pop("counts", COUNTS)
    most, repeats = counts[-1], len(random)
    given: dict[str, Any] = {
        "text": "heart",
        "counts": counts,
        "hottest": np.array(hottest),
        "random": np.array(random),
        "central": np.linspace(hottest[0], 0, len(counts)),
        "hottest_cells": np.arange(most)[::-1].copy(),
        "random_cells": np.stack([np.roll(np.arange(36), 5 * draw)[:most] for draw in range(repeats)]),
        "patches": 36,
        "ranked": 36,
        "filling": "blur",
    }
    return map_check(2, **{**given, **parts})


def at_two(hottest: float, *random: float, start: float = 1.0, **parts: Any) -> MapCheck:
    """Return a test in which 2 patches were hidden, and nothing else was tried."""
    return made([start, hottest], [[start, one] for one in random], counts=(0, 2), **parts)


# --- At how many patches ---


def test_it_tells_most_where_hottest_and_random_ones_differ_most_among_few() -> None:
    random = [[1, 1, 0.96, 0.8, 0.5, 0.4], [1, 1, 1.0, 0.9, 0.6, 0.2]]
    found = made([1, 0.9, 0.1, 0.1, 0.02, 0.01], random)  # 2: 0.88 apart; 4: 0.75; 8: 0.53
    assert found.telling == 2
    assert found.fall == pytest.approx(0.9)
    late = made([1, 1, 1, 0.7, 0.5, 0.0], [[1, 1, 1, 1, 1, 1.0]])  # 16 of 36 tell more, and are too many
    assert late.telling == 8
    assert made([1, 1, 1, 0.9, 0.2, 0.0], [[1] * 6], patches=33).telling == 8  # a quarter is 8.25
    assert made([1, 1, 1, 0.9, 0.2, 0.0], [[1] * 6], patches=31).telling == 4  # a quarter is 7.75


def test_where_all_that_was_tried_is_much_it_is_taken_all_the_same() -> None:
    assert at_two(0.5, 0.9, patches=7).telling == 2


def test_where_nothing_differs_the_most_of_few_is_told() -> None:
    assert made([1] * 6, [[1] * 6, [1] * 6]).telling == 8


def test_a_map_that_points_away_tells_too() -> None:
    found = made([1, 1, 1, 1, 1, 1], [[1, 0.9, 0.3, 0.5, 1, 1]])
    assert (found.telling, found.verdict) == (2, "Does not hold")


# --- The verdict ---


@pytest.mark.parametrize(
    ("hottest", "random", "verdict"),
    [
        (0.10, (0.98, 0.91, 1.0), "Holds up"),
        (0.70, (0.98, 0.91, 1.0), "Holds up"),  # falls by 0.3
        (0.71, (0.98, 0.91, 1.0), "Partly"),  # falls by 0.29, beyond all
        (0.10, (0.98, 0.05, 1.0), "Partly"),  # falls, and one random draw takes more
        (0.10, (0.98, 0.10, 1.0), "Partly"),  # or as much
        (0.95, (0.98, 0.91, 1.0), "Does not hold"),
        (1.00, (0.98, 0.91, 1.0), "Does not hold"),
        (0.999999, (1.0, 1.0, 1.0), "Does not hold"),  # rounding is no fall
    ],
)
def test_the_verdict(hottest: float, random: tuple[float, ...], verdict: str) -> None:
    found = at_two(hottest, *random)
    assert found.verdict == verdict
    falls, beyond = 1 - hottest >= 0.3 - 1e-12, all(one - hottest > 0.01 for one in random)
    assert verdict == ("Does not hold", "Partly", "Holds up")[falls + beyond]


def test_a_word_that_had_little_to_lose_is_not_said_to_fail() -> None:
    beyond, not_beyond = at_two(1e-5, 0.15, start=0.2), at_two(0.15, 0.15, start=0.2)
    assert (beyond.verdict, not_beyond.verdict) == ("Partly", "Does not hold")
    assert beyond.sentences[2] == (
        "Further than with any random ones, but it began at 0.20, too low to fall by 0.3."
    )
    assert not_beyond.sentences[2] == "This says little: it began at 0.20, too low to fall by 0.3."


# --- Sentences ---


def test_the_sentences_are_the_pages() -> None:
    found = at_two(0.1034, *[1.0, 0.91, *[0.988] * 6])
    assert found.sentences == (
        "Hide its 2 hottest patches: “heart” falls from 1.00 to 0.10.",
        "Hide 2 random ones instead: 0.98 (0.91 to 1.00 in 8 tries).",
        "This map points at what counts.",
    )
    assert found.note == ""


def test_one_patch_and_one_try_are_singular() -> None:
    found = made([0.9, 0.2], [[0.9, 0.8]], counts=(0, 1))
    assert found.sentences[:2] == (
        "Hide its hottest patch: “heart” falls from 0.90 to 0.20.",
        "Hide a random one instead: 0.80 (1 try).",
    )


@pytest.mark.parametrize(
    ("found", "first", "third"),
    [
        (
            at_two(0.8, 0.99),
            "falls from 1.00 to 0.80",
            "Further than with any random ones, but not by much: these patches alone do not decide it.",
        ),
        (
            at_two(0.1, 0.99, 0.05),
            "falls from 1.00 to 0.10",
            "It falls, but random ones can do as much: this map is no better than a guess here.",
        ),
        (
            at_two(1.0, 0.2),
            "stays at 1.00",
            "No more than random ones do: this map does not show what counts here.",
        ),
        (
            at_two(0.95, 0.2, start=0.6),
            "rises from 0.60 to 0.95",
            "No more than random ones do: this map does not show what counts here.",
        ),
    ],
)
def test_what_the_others_say(found: MapCheck, first: str, third: str) -> None:
    assert found.sentences[0] == f"Hide its 2 hottest patches: “heart” {first}."
    assert found.sentences[2] == third


def test_what_a_reader_has_to_know_beside_it() -> None:
    assert at_two(0.1, 0.9, tokens=(0, 1, 5)).note == (
        "The probability is that of all 3 tokens: the product of theirs."
    )
    assert at_two(0.1, 0.9, ranked=1).note == (
        "Only 1 of them stands out in the map; the rest are drawn at random."
    )
    assert at_two(0.1, 0.9, ranked=0).note == "The map is flat: its hottest patches are drawn at random."
    assert at_two(0.1, 0.9, ranked=2).note == ""


# --- The record ---


def test_it_comes_back_from_json() -> None:
    before = made([0.987, 0.9, 1 / 3, 0.1, 0.02, 1e-17], [[1, 0.9, 0.8, 0.7, 0.6, 0.5]] * 3, map_key="tam-0a")
    known = json.loads(json.dumps(before.as_dict(), allow_nan=False))
    after = MapCheck.from_dict(known)
    for name, value in vars(before).items():
        np.testing.assert_array_equal(getattr(after, name), value, err_msg=name)
    assert after.as_dict() == known
    assert known["cells"] == {
        "hottest": list(range(15, -1, -1)),
        "random": [list(range(16)), [*range(31, 36), *range(11)], [*range(26, 36), *range(6)]],
    }
    assert (known["telling"], known["verdict"], len(known["sentences"])) == (4, "Holds up", 3)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"counts": (0,)}, "expected counts ascending"),
        ({"counts": (1, 2)}, "expected counts ascending, each once, from 0"),
        ({"hottest": np.ones(3)}, r"expected hottest of finite values with shape \(2,\)"),
        ({"random": np.ones((0, 2))}, "expected"),
        ({"random": np.array([[1, np.nan]])}, "expected random of finite values"),
        ({"hottest_cells": np.arange(3)}, r"expected hottest_cells of finite values with shape \(2,\)"),
        ({"random_cells": np.array([[35, 36]])}, "expected cells of a picture of 36 patches"),
        ({"hottest_cells": np.array([-1, 2])}, "expected cells of a picture of 36 patches"),
        ({"patches": 1}, "expected cells of a picture of 1 patches"),
    ],
)
def test_parts_that_disagree_are_refused(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(at_two(0.1, 0.9), **changed)
