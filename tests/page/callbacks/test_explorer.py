"""The page's callbacks: the explorer."""

from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
import pytest

import viewer
from page.selection import ATTENTION, Controls
from page.sessions import Run
from page.shown import choices, first_pick
from page.site import Page
from tests.choosing import explored
from tests.page.callbacks.kit import ALL, Outputs, changes, expect_maps, request, unpacked
from tests.serving import HEADS, LAYERS, noise

pytestmark = pytest.mark.timeout(120)


def test_an_answer_comes_with_its_picture_its_list_and_its_most_telling_word(page: Page, run: Run) -> None:
    shown = page.explorer.shown("an id", run, Controls.of(ALL))
    seen, listed = changes(shown[page.explorer.viewer]), changes(shown[page.explorer.token])
    first = first_pick(run)
    assert first is not None
    assert seen["value"] == explored(run, "an id", first.key, ALL, ATTENTION, False)
    assert seen["picture"] == {**viewer.picture_payload(noise(0)), "run": "an id"}
    assert seen["heads"] is None
    assert (listed["choices"], listed["value"]) == (choices(run), first.key)


def test_maps_of_other_layers_and_heads_are_the_processors(page: Page, run: Run, mine: str) -> None:
    outputs = page.explorer.on_maps(request(), mine, 1, 2, 0, 3, "max", ATTENTION, False)
    assert outputs.keys() == {page.explorer.viewer}
    shown = outputs[page.explorer.viewer]
    expect_maps(shown, run.capture, (1, 2), (0, 1, 2, 3), "max")
    assert (shown["run"], shown["settings"]["layers"]) == (mine, [1, 2])


def test_layers_and_heads_of_a_word(page: Page, run: Run, mine: str) -> None:
    capture, processor = run.capture, run.processor
    for key, tokens, of_prompt in (("1-2", [1, 2], False), ("p0-7", list(range(8)), True)):
        heads = changes(page.explorer.on_heads(request(), mine, key)[page.explorer.viewer])["heads"]
        assert heads["pick"] == {"tokens": tokens, "of_prompt": of_prompt}
        fold = processor.get_attention_heatmap_for_token
        if of_prompt:
            fold = processor.get_attention_heatmap_for_prompt_token
        rows: list[Any] = [None, *([layer] for layer in range(LAYERS))]
        columns: list[Any] = [None, *([head] for head in range(HEADS))]
        truth = np.stack([fold(tokens, row, column) for row in rows for column in columns])
        found = unpacked(heads["maps"], capture.grid)
        assert found.shape == truth.shape
        step = np.ptp(truth.reshape(len(truth), -1), axis=1)[:, None, None] / 255
        assert (np.abs(found - truth) <= step / 2 * 1.01 + 1e-7).all()
    assert page.explorer.on_heads(request(), mine, None) == gr.skip()


def test_one_head_alone_moves_the_sliders(page: Page, run: Run, mine: str) -> None:
    ranges = page.explorer.ranges
    outputs = page.explorer.on_alone(request(), mine, [2, 1], "max")
    expect_maps(outputs[page.explorer.viewer], run.capture, (2,), (1,), "max")
    assert [outputs[one] for one in ranges.all] == [2, 2, 1, 1, "max"]
    outputs = page.explorer.on_alone(request(), mine, [None, None], "mean")
    expect_maps(outputs[page.explorer.viewer], run.capture)
    assert [outputs[one] for one in ranges.all] == ALL


def test_the_explorer_answers_nobody_about_anothers_answer(page: Page, mine: str) -> None:
    explorer = page.explorer

    def every(visitor: str, run_id: Any) -> list[Callable[[], Outputs]]:
        return [
            lambda: explorer.on_maps(request(visitor), run_id, *ALL, ATTENTION, False),
            lambda: explorer.on_heads(request(visitor), run_id, "1"),
            lambda: explorer.on_alone(request(visitor), run_id, [0, 0], "mean"),
        ]

    for visitor, run_id in (("you", mine), ("me", "wrong")):
        for callback in every(visitor, run_id):
            with pytest.raises(gr.Error, match=r"^'?This answer is no longer kept: press Generate again\."):
                callback()
    assert [callback() for callback in every("me", None)] == [gr.skip()] * 3  # no answer yet
    for wrong in ("99", "red"):
        with pytest.raises(gr.Error, match=r"token") as caught:
            explorer.on_heads(request(), mine, wrong)
        assert len(str(caught.value).splitlines()) == 1
