"""The page's callbacks: what is shown."""

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import config
import viewer
from methods import token_maps
from page.selection import ATTENTION, look_of
from page.sessions import Run
from records.look import Look
from records.selection import Selection
from records.token_maps import TokenMaps
from tests.choosing import explored, selection_of, wanted
from tests.page.callbacks.kit import LOOK
from tests.page.kit import ALL, NEW, expect_maps, expect_packed
from tests.records.kit import map_check

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("controls", "layers", "heads", "aggregation"),
    [
        (ALL, (0, 1, 2), (0, 1, 2, 3), "mean"),
        (None, (0, 1, 2), (0, 1, 2, 3), config.AGGREGATION),
        (wanted([1, 2], [0], "max"), (1, 2), (0,), "max"),
        (wanted([2, 0, 2], "1-3", "min"), (0, 2), (1, 2, 3), "min"),
        (wanted("0,-1", [-1], None), (0, 2), (3,), config.AGGREGATION),
    ],
)
def test_the_viewer_gets_the_maps_that_it_asks_for(
    run: Run, controls: Any, layers: Any, heads: Any, aggregation: Any
) -> None:
    capture = run.capture
    shown = explored(run, "an id", controls)
    expect_maps(shown, capture, layers, heads, aggregation)
    assert "picture" not in shown
    folded: dict[str, Any] = {"layers": layers, "heads": heads, "aggregation": aggregation}
    expected = viewer.payload(
        capture,
        None,
        *(token_maps(ATTENTION, capture, of_prompt=side, **folded) for side in (False, True)),
        leaned=viewer.leaned_on(capture, layers),
    )
    assert shown == {**expected, "run": "an id"}


def test_with_the_maps_comes_what_was_worked_out_since(run: Run) -> None:
    run.without = np.linspace(-3, -0.5, NEW).astype(np.float32)
    check = map_check(1, 2, patches=40)
    run.learn(check=check)
    shown = explored(run, "an id", ALL)
    assert shown["answer"]["without"] == viewer.floored(run.without)
    assert shown["checks"] == [check.as_dict()]


def test_a_methods_maps_of_some_words_are_shown_as_those(run: Run) -> None:
    values = np.random.default_rng(3).random((2, 5, 8), np.float32)
    run.learn(maps=TokenMaps("tam", (1, 4), values))
    answer = explored(run, "an id", wanted(method="tam"))["answer"]
    assert answer["have"] == [1, 4]
    expect_packed(answer["maps"], values)
    assert explored(run, "an id", ALL)["answer"]["have"] is None


def test_a_look_is_what_the_viewer_says_of_itself() -> None:
    assert look_of(None) == (Look(), config.HEATMAP_SCALE)
    assert look_of(LOOK) == (Look("magma", 0.8, "side by side", True, gamma=2**0.5), "shared")
    wiped, scale = look_of(LOOK | {"view": "wipe", "cells": "cells", "scale": "own", "contrast": -2})
    assert (wiped, scale) == (Look("magma", 0.8, "overlay", False, gamma=0.25), "own")


@pytest.mark.parametrize(
    "change",
    [
        {"scale": "all"},
        {"contrast": 4},
        {"contrast": True},
        {"contrast": "high"},
        {"opacity": 2},
        {"opacity": None},
        {"colormap": "rainbows"},
        {"colormap": {}},
        {"view": "upside down"},
    ],
)
def test_a_look_that_is_none_is_one_line(change: dict[str, Any]) -> None:
    wrongs: list[Any] = [LOOK | change, [], "magma"]
    for wrong in wrongs:
        with pytest.raises(ValueError, match=r"\w") as caught:
            look_of(wrong)
        assert len(str(caught.value).splitlines()) == 1


def test_what_is_drawn_into_a_file_is_what_is_shown(run: Run) -> None:
    drawn_as, scale = look_of(LOOK)
    wide = Selection((0, 1, 2), (0, 1, 2, 3), "mean", None, "word", look=drawn_as, scale=scale)
    assert selection_of(run, ALL, "all", "word", LOOK) == wide
    assert selection_of(run, ALL, "all", "token", LOOK) == replace(wide, by="token")
    assert selection_of(run, ALL, None, "word", LOOK).tokens in (None, tuple(range(NEW)))
    narrow = selection_of(run, wanted([1], [2, 3], "max"), "3-5", "word", LOOK)
    assert narrow == replace(wide, layers=(1,), heads=(2, 3), aggregation="max", tokens=(3, 4, 5))
    asked = selection_of(run, ALL, "p0-7", "word", LOOK)
    assert asked == replace(wide, tokens=tuple(range(8)), of_prompt=True)
    for key, by, line in (
        ("99", "word", "There is no token 99"),
        ("nonsense", "word", "The tokens must be"),
        ("1", "letter", "A map is for each word or token."),
    ):
        with pytest.raises(ValueError, match=re.escape(line)):
            selection_of(run, ALL, key, by, LOOK)
