"""The page's callbacks: what is shown."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

import config
import viewer
from methods import token_maps
from page.selection import ATTENTION, alone_of, look_of
from page.sessions import Run
from records.look import Look
from records.selection import Selection
from tests.choosing import explored, selection_of
from tests.page.callbacks.kit import ALL, LOOK, NEW, expect_maps

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(
    ("ranges", "layers", "heads"),
    [
        (ALL, (0, 1, 2), (0, 1, 2, 3)),
        ([1, 2, 0, 0, "max"], (1, 2), (0,)),
        ([0, 2, 1, 3, "min"], (0, 1, 2), (1, 2, 3)),
        ([0, 99, 99, 99, "mean"], (0, 1, 2), (3,)),  # sliders of a larger model
    ],
)
def test_the_viewer_gets_the_maps_that_the_sliders_say(
    run: Run, ranges: Sequence[Any], layers: Any, heads: Any
) -> None:
    capture, aggregation = run.capture, ranges[-1]
    shown = explored(run, "an id", "1", ranges, ATTENTION, False)
    expect_maps(shown, capture, layers, heads, aggregation)
    assert "picture" not in shown
    folded: dict[str, Any] = {"layers": layers, "heads": heads, "aggregation": aggregation}
    expected = viewer.payload(
        capture,
        None,
        *(token_maps(ATTENTION, capture, of_prompt=side, **folded) for side in (False, True)),
        pick="1",
        leaned=viewer.leaned_on(capture, layers),
    )
    assert shown == {**expected, "run": "an id"}


@pytest.mark.parametrize("wrong", [[0, 1, 0, 1, "sum"], [0, "x", 0, 1, "mean"], [0, 1, -1, 1, "mean"]])
def test_sliders_that_are_none_are_one_line(run: Run, wrong: Sequence[Any]) -> None:
    with pytest.raises(ValueError, match=r"range must be|aggregation must be") as caught:
        explored(run, "an id", "all", wrong, ATTENTION, False)
    assert len(str(caught.value).splitlines()) == 1


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
    narrow = selection_of(run, [1, 1, 2, 3, "max"], "3-5", "word", LOOK)
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


def test_one_layer_or_head_alone(run: Run) -> None:
    assert alone_of([1, 2], run.capture) == [1, 1, 2, 2]
    assert alone_of([None, 3], run.capture) == [0, 2, 3, 3]
    assert alone_of([2, None], run.capture) == [2, 2, 0, 3]
    assert alone_of([None, None], run.capture) == [0, 2, 0, 3]
    for wrong, line in (
        ([3, 0], "There is no layer 3: there are 3, 0 to 2."),
        ([0, 4], "There is no head 4: there are 4, 0 to 3."),
        (["<b>", 0], "The layers must be"),
        ([0], "Choose a layer and a head."),
        (None, "Choose a layer and a head."),
        ("01", "Choose a layer and a head."),
    ):
        with pytest.raises(ValueError, match=re.escape(line)):
            alone_of(wrong, run.capture)
