"""The page in a browser: layers, heads, and how it is drawn."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as Tab

import page.site as site_room
from attention_processor import AttentionProcessor
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    GRID,
    NEW,
    OpenTab,
    Watch,
    ask,
    attention_range,
    becomes,
    choose,
    click_head,
    draw_alone,
    expect_map,
    first_pick,
    forgotten,
    key_of,
    labels,
    listed,
    map_changes,
    map_of,
    menu,
    panel,
    restrict,
    restricted,
    says,
    words_of,
)
from tests.seeing import cell_of, colour, pane_of, part, said, slide, state, word
from tests.seeing import choose as choose_one
from tests.serving import HEADS, LAYERS

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_ranges_restrict_the_maps(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    panel(tab, "heads")

    def expect(change: Callable[[], Any], *chosen: Any) -> None:
        map_changes(tab, change)
        expect_map(tab, direct, 1, *chosen)

    expect(lambda: restrict(tab, "layers", "1-2"), [1, 2])
    expect(lambda: restrict(tab, "heads", "0-2"), [1, 2], [0, 1, 2])
    expect(lambda: restrict(tab, "layers", "1"), [1], [0, 1, 2])
    expect(lambda: tab.select_option("[data-axis=aggregation]", "max"), [1], [0, 1, 2], "max")
    assert said(part(tab, "made")) == "attention · layer 1 · heads 0–2 · max"
    named = labels(direct)
    word(tab, 0).click()  # other words are of the same layers and heads, without asking again
    tokens = words_of(direct)[0]
    listed(tab, named[key_of(tokens)])
    if len(tokens) == 1:
        expect_map(tab, direct, tokens[0], [1], [0, 1, 2], "max")
    for axis in ("layers", "heads"):
        restrict(tab, axis, "all")
        restricted(tab, **{axis: "all"})
    tab.select_option("[data-axis=aggregation]", "mean")
    says(tab, "made", "layers 0–2 · heads 0–3 · mean")
    expect_map(tab, direct, tokens)


def test_a_range_that_is_refused_is_forgotten_with_the_next_that_is_not(tab: Tab, files: Path) -> None:
    ask(tab, files / "a.png")
    panel(tab, "heads")
    restrict(tab, "layers", "0-2")
    says(tab, "made", "layers 0–2 · heads 0–3 · mean")
    for leave in (False, True):
        restrict(tab, "layers", "9")
        says(tab, "notice", "There is no layer 9")
        if leave:
            part(tab, "made").click()
        restrict(tab, "layers", "all")
        forgotten(tab)
        restricted(tab, layers="all")


def test_quick_choices_end_with_the_last(
    tab: Tab, site: tuple[Page, str], files: Path, direct: Capture
) -> None:
    ask(tab, files / "a.png")
    panel(tab, "heads")
    for heads in ("0-2", "0-1", "0", "0-1", "0", "0-1"):
        restrict(tab, "heads", heads)
    says(tab, "made", "heads 0–1")
    restricted(tab, heads="0-1")
    tab.wait_for_timeout(600)  # for what must not come
    expect_map(tab, direct, first_pick(site[0], direct), None, [0, 1])
    restricted(tab, heads="0-1")


def test_layers_and_heads_side_by_side(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    choose(tab, "#token", 'token 1 "')
    becomes(tab, "pick.key", "1")
    panel(tab, "heads")
    part(tab, "headsCanvas").wait_for()
    for (row, col), (layers, heads) in {  # row 0 and column 0 are the means
        (2, 3): ([1], [2]),
        (0, 1): (list(range(LAYERS)), [0]),
        (3, 0): ([2], list(range(HEADS))),
    }.items():
        click_head(tab, row, col)
        restricted(
            tab,
            layers="all" if len(layers) > 1 else f"{layers[0]}",
            heads="all" if len(heads) > 1 else f"{heads[0]}",
        )
        tab.mouse.move(2, 2)
        becomes(tab, "alone", None)  # the maps of all words have come
        expect_map(tab, direct, 1, layers, heads)
        share = 100 * AttentionProcessor(direct).shares(1, layers, heads)[0]
        word(tab, 0).click()
        choose(tab, "#token", 'token 1 "')
        becomes(tab, "pick.key", "1")
        assert re.search(rf"\b({share:.1f}|{share:.0f}) % of its attention", said(part(tab, "said")))
    choose(tab, "#token", "the whole answer")
    says(tab, "headsTitle", "Every head’s own map of the whole answer")
    for axis in ("layers", "heads"):
        restrict(tab, axis, "all")
        restricted(tab, **{axis: "all"})
    says(tab, "made", "layers 0–2 · heads 0–3 · mean")  # the maps have come
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

    draw_alone(tab, "magma")
    assert (cell_of(pane_of(tab, "heatmap"), *hottest, GRID) == colour(1, "magma")).all()
    assert (cell_of(pane_of(tab, "heatmap"), *coldest, GRID) == colour(0, "magma")).all()
    choose_one(tab, "scale", "shared")
    low, high = attention_range(direct)
    assert state(tab)["range"] == pytest.approx([low, high], rel=1e-5)
    at = (truth.max() - low) / (high - low)
    assert np.abs(cell_of(pane_of(tab, "heatmap"), *hottest, GRID) - colour(at, "magma")).max() <= 6
    choose_one(tab, "scale", "own")
    slide(tab, "contrast", 1)
    assert said(part(tab, "contrastValue")) == "1.0"
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
             const words = [...document.querySelectorAll('[data-part="words"] .lens-word')];
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


def test_before_an_answer_nothing_is_refused_in_silence(
    open_tab: OpenTab, files: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site_room, "bundled_example", lambda: None)
    tab = open_tab(phase="empty")
    for key in ("t", "2", "b", "ArrowRight", "Escape"):
        tab.keyboard.press(key)
    menu(tab, "share")
    tab.click("#share_make")
    tab.wait_for_function(
        "document.querySelector('#share_line').innerText.includes('no answer to share yet')"
    )
    tab.keyboard.press("Escape")
    tab.click("#generate")
    says(tab, "notice", "Choose a picture first.")
    assert tab.locator(".toast-body").count() == 0
    ask(tab, files / "a.png")
    expect_map(tab, direct, state(tab)["pick"]["tokens"])
