"""What is read again beside the shown map: words without the picture, one map by another method."""

from typing import Any

import gradio as gr
import numpy as np
import pytest

from evaluation.without_picture import logprobs_without
from methods import token_maps, top_heads
from page.sessions import Run
from page.site import Page
from tests.choosing import wanted
from tests.page.kit import loaded_of
from tests.page.telling import request, viewed

pytestmark = pytest.mark.timeout(240)


def test_each_token_without_the_picture(page: Page, run: Run, mine: str) -> None:
    first, *_, last = page.explorer.on_need(request(), mine)
    assert viewed(page, first)["work"]["part"] == "need"
    loaded = loaded_of(page.room)
    truth = logprobs_without(loaded["model"], loaded["processor"], run.capture)
    without = viewed(page, last)["without"]
    assert without["run"] == mine
    np.testing.assert_allclose(without["values"], np.clip(truth, -100, 0), atol=1e-4)
    assert run.without is not None
    np.testing.assert_allclose(run.without, truth, rtol=1e-4, atol=1e-5)
    assert list(page.explorer.on_need(request(), mine)) == [gr.skip()]  # it is known
    assert list(page.explorer.on_need(request(), None)) == [gr.skip()]  # there is no answer


@pytest.mark.parametrize("way", ["tam", "heads-3"])
def test_one_words_map_by_another_method(way: str, page: Page, run: Run, mine: str) -> None:
    (*_, last) = page.explorer.on_compare(request(), mine, {"name": way}, "2-3", wanted())
    compared = viewed(page, last)["compared"]
    assert (compared["run"], compared["key"], compared["name"]) == (mine, "2-3", way)
    given = {"image": run.original, **loaded_of(page.room)}
    if way == "heads-3":
        truth = token_maps("attention", run.capture, pairs=top_heads(run.capture, 3))
    else:
        truth = token_maps(way, run.capture, **given)
    heat = truth.token_map([2, 3])
    assert compared["maps"]["low"] == pytest.approx([heat.min()], rel=1e-4)
    assert compared["maps"]["high"] == pytest.approx([heat.max()], rel=1e-4)
    if way == "tam":  # these two alone: the other words were not asked about
        assert run.missing(way) == (0, 1, 4, 5)


@pytest.mark.parametrize("details", [None, {}, {"name": None}, {"name": "<b>"}, ["tam"]])
def test_a_method_that_is_none_is_not_compared(details: Any, page: Page, mine: str) -> None:
    steps = page.explorer.on_compare(request(), mine, details, "1", wanted())
    assert viewed(page, next(steps))["notice"]["text"].startswith("The method must be one of")
    with pytest.raises(gr.Error):
        next(steps)
