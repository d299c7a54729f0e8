"""The page in a browser: layers, heads, and how it is drawn."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as Tab

from attention_processor import AttentionProcessor
from page.sessions import Run
from page.shown import first_pick
from records.capture import Capture
from tests.page.browser.kit import (
    GRID,
    NEW,
    SLIDERS,
    Watch,
    ask,
    attention_range,
    becomes,
    choose,
    expect_map,
    key_of,
    labels,
    listed,
    map_changes,
    map_of,
    set_number,
    shows,
    words_of,
)
from tests.seeing import cell_of, colour, pane_of, part, said, slide, state, word
from tests.seeing import choose as choose_one
from tests.serving import HEADS, LAYERS, noise

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_sliders_restrict_the_maps(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")

    def expect(change: Callable[[], Any], *chosen: Any) -> None:
        map_changes(tab, change)
        expect_map(tab, direct, 1, *chosen)

    expect(lambda: set_number(tab, "#layer_from", 1), [1, 2])
    expect(lambda: set_number(tab, "#head_to", 2), [1, 2], [0, 1, 2])
    expect(lambda: tab.locator("#layer_to input[type=range]").press("ArrowLeft"), [1], [0, 1, 2])
    expect(lambda: tab.click("#aggregation label:has-text('max')"), [1], [0, 1, 2], "max")
    assert said(part(tab, "made")) == "attention · layer 1 · heads 0–2 · max"
    named = labels(direct)
    word(tab, 0).click()  # other words are of the same layers and heads, without asking again
    tokens = words_of(direct)[0]
    listed(tab, named[key_of(tokens)])
    if len(tokens) == 1:
        expect_map(tab, direct, tokens[0], [1], [0, 1, 2], "max")
    part(tab, "all").click()
    for name, end in zip(SLIDERS, (0, LAYERS - 1, 0, HEADS - 1), strict=True):
        shows(tab, f"#{name}", end)
    tab.click("#aggregation label:has-text('mean')")
    tab.wait_for_function(
        "document.querySelector('[data-part=made]').textContent.includes('layers 0–2 · heads 0–3 · mean')"
    )
    expect_map(tab, direct, tokens)


def test_quick_slides_end_where_the_slider_stands(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    slider = tab.locator("#head_to input[type=range]")
    slider.focus()
    for key in ("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowRight", "ArrowLeft", "ArrowRight"):
        tab.keyboard.press(key)
    shows(tab, "#head_to", 1)
    tab.wait_for_function("document.querySelector('[data-part=made]').textContent.includes('heads 0–1')")
    first = first_pick(Run(direct, noise(0)))
    assert first is not None
    expect_map(tab, direct, first.tokens, None, [0, 1])


def test_layers_and_heads_side_by_side(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    tab.locator("[data-panel=heads] summary").click()
    canvas = part(tab, "headsCanvas")
    canvas.wait_for()

    def click(row: int, col: int) -> None:
        """Click on a map of the grid: row 0 and column 0 are the means."""
        box = canvas.bounding_box()
        assert box is not None
        x = 40 + (col + 0.4) * (box["width"] - 40) / (1 + HEADS)
        y = 20 + (row + 0.3) * (box["height"] - 20) / (1 + LAYERS)
        canvas.click(position={"x": x, "y": y})

    for (row, col), ends in {
        (2, 3): (1, 1, 2, 2),
        (0, 1): (0, LAYERS - 1, 0, 0),
        (3, 0): (2, 2, 0, HEADS - 1),
    }.items():
        click(row, col)
        for name, end in zip(SLIDERS, ends, strict=True):
            shows(tab, f"#{name}", end)
        becomes(tab, "alone", None)  # the maps of all words have come
        layers, heads = range(ends[0], ends[1] + 1), range(ends[2], ends[3] + 1)
        expect_map(tab, direct, 1, list(layers), list(heads))
        share = 100 * AttentionProcessor(direct).shares(1, list(layers), list(heads))[0]
        assert re.search(rf"{share:.1f}|{share:.0f} % of its attention", said(part(tab, "caption")))
    choose(tab, "#token", "the whole answer")
    note = f"The whole answer ({NEW} tokens)"
    tab.wait_for_function(
        "note => document.querySelector('[data-part=headsNote]').textContent === note", arg=note
    )
    part(tab, "all").click()
    for name, end in zip(SLIDERS, (0, LAYERS - 1, 0, HEADS - 1), strict=True):
        shows(tab, f"#{name}", end)
    becomes(tab, "alone", None)
    expect_map(tab, direct, range(NEW))


def test_another_look_asks_the_server_for_nothing(
    tab: Tab, files: Path, direct: Capture, watches: dict[Tab, Watch]
) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    asked, truth = list(watches[tab].asked), map_of(direct, 1)
    hottest = divmod(int(truth.argmax()), GRID[1])
    coldest = divmod(int(truth.argmin()), GRID[1])

    choose_one(tab, "view", "heatmap")
    part(tab, "colormap").select_option("magma")
    assert (cell_of(pane_of(tab, "heatmap"), *hottest, GRID) == colour(1, "magma")).all()
    assert (cell_of(pane_of(tab, "heatmap"), *coldest, GRID) == colour(0, "magma")).all()
    choose_one(tab, "scale", "shared")
    low, high = attention_range(direct)
    assert state(tab)["range"] == pytest.approx([low, high], rel=1e-5)
    at = (truth.max() - low) / (high - low)
    assert np.abs(cell_of(pane_of(tab, "heatmap"), *hottest, GRID) - colour(at, "magma")).max() <= 6
    choose_one(tab, "scale", "own")
    slide(tab, "contrast", 1)
    assert said(part(tab, "contrastValue")) == "γ = 2.00"
    choose_one(tab, "cells", "smooth")
    slide(tab, "opacity", 0.25)
    becomes(tab, "look.opacity", 0.25)
    choose_one(tab, "view", "wipe")
    part(tab, "divider").focus()
    tab.mouse.move(2, 2)  # no cell is pointed at
    before = pane_of(tab, "wipe")
    tab.keyboard.press("End")
    picture = pane_of(tab, "wipe")
    tab.keyboard.press("Home")
    mapped = pane_of(tab, "wipe")
    middle, halves = before.shape[1] // 2, (before.astype(int), picture.astype(int), mapped.astype(int))
    left, right = (
        [one[:, side] for one in halves] for side in (slice(0, middle - 1), slice(middle + 1, None))
    )
    assert np.abs(left[0] - left[1]).max() <= 1  # the picture
    assert np.abs(right[0] - right[2]).max() <= 1  # under the map
    for _, plain, under in (left, right):
        assert np.abs(plain - under).max() > 20
    choose_one(tab, "view", "side by side")
    assert {pane["kind"] for pane in state(tab)["panes"]} == {"picture", "overlay"}
    tab.mouse.move(2, 2)
    assert watches[tab].asked == asked


def test_a_word_is_drawn_in_the_very_next_frame(tab: Tab, files: Path, watches: dict[Tab, Watch]) -> None:
    ask(tab, files / "a.png")
    asked = list(watches[tab].asked)
    late = tab.evaluate(
        """async () => {
             const { viewer } = document.querySelector('.lens-viewer');
             const words = [...document.querySelectorAll('[data-part="answer"] .lens-word')];
             const next = () => new Promise((done) => requestAnimationFrame(done));
             let late = 0;
             words[words.length - 1].click();
             await next();
             await next();
             for (let i = 0; i < 30; i++) {
               const before = viewer.state().frames;
               words[i % words.length].click();
               await next();
               late += viewer.state().frames === before;
             }
             return late;
           }"""
    )
    assert late == 0
    assert watches[tab].asked == asked


def test_settings_before_an_answer_wait_for_it(tab: Tab, files: Path, direct: Capture) -> None:
    with tab.expect_response(re.compile("/gradio_api/run/predict")) as told:
        tab.locator("#head_to input[type=range]").press("ArrowLeft")
    assert told.value.status == 200
    assert tab.locator(".toast-body").count() == 0
    tab.click("#share_make")
    tab.wait_for_function(
        "document.querySelector('#share_line').innerText.includes('no answer to share yet')"
    )
    ask(tab, files / "a.png")
    first = first_pick(Run(direct, noise(0)))
    assert first is not None
    expect_map(tab, direct, first.tokens, None, [0, 1, 2])
