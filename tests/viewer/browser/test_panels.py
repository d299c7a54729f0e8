"""The viewer in a browser: panels."""

import re
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

import viewer
from attention_processor import AttentionProcessor
from methods import selected_maps
from records.capture import Capture
from records.keep import heads_refusal
from records.selection import parsed_selection
from tests.attention_processor.kit import GRID, HEADS, RECORDED
from tests.keeping import reduced
from tests.seeing import panel, part, said, state, word
from tests.viewer.browser.kit import HOT_TOKEN, Open


def test_where_attention_goes_is_drawn_and_told(tab: Page, data: dict[str, Any]) -> None:
    word(tab, 3).click()
    panel(tab, "shares")
    heights = (
        part(tab, "tokenPlot")
        .locator("rect[data-share]")
        .evaluate_all("rects => rects.map((rect) => Number(rect.getAttribute('height')))")
    )
    assert heights == pytest.approx((100 * np.array(data["answer"]["shares"])).ravel().tolist())
    chosen = part(tab, "tokenPlot").locator(".lens-chosen")
    assert chosen.get_attribute("x") == "3"
    by_layer = (
        part(tab, "layerPlot")
        .locator('rect[data-share="image"]')
        .evaluate_all("rects => rects.map((rect) => Number(rect.getAttribute('height')))")
    )
    assert by_layer == pytest.approx([100 * one[0] for one in data["answer"]["layer_shares"][3]])
    part(tab, "layerPlot").locator("svg").focus()
    tab.keyboard.press("End")
    line = said(part(tab, "layerPlot").locator("p"))
    assert line.startswith(f"layer {RECORDED[-1]}: image ")
    numbers = [float(text) for text in re.findall(r"([\d.]+) %", line)]
    assert numbers == pytest.approx([100 * one for one in data["answer"]["layer_shares"][3][-1]], abs=0.5)
    part(tab, "tokenPlot").locator("svg").focus()
    tab.keyboard.press("Home")
    tab.keyboard.press("Enter")
    assert state(tab)["pick"]["key"] == "0"
    assert part(tab, "tokenPlot").locator("svg").evaluate("svg => svg === document.activeElement")


def test_a_map_of_layers_and_heads_can_be_seen_alone(tab: Page, capture: Capture) -> None:
    word(tab, HOT_TOKEN).click()
    panel(tab, "heads")
    processor = AttentionProcessor(capture)
    canvas = part(tab, "headsCanvas")
    canvas.focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "Enter"):  # the second recorded layer, head 0
        tab.keyboard.press(key)
    now = state(tab)
    assert now["alone"] == {"row": 2, "col": 1}
    truth = processor.get_attention_heatmap_for_token(HOT_TOKEN, [RECORDED[1]], [0])
    assert np.abs(np.reshape(now["values"], GRID) - truth).max() <= np.ptp(truth) / 255
    assert f"layer {RECORDED[1]} · head 0" in said(part(tab, "made"))
    share = processor.shares(HOT_TOKEN, [RECORDED[1]], [0])[0]
    line = f"layer {RECORDED[1]}, head 0: {100 * share:.0f} % of its attention on the picture"
    for place in ("headsValue", "methodText"):
        assert line in said(part(tab, place))
    canvas.click(position={"x": 70, "y": 30})  # the mean of all
    assert state(tab)["alone"] == {"row": 0, "col": 0}
    assert f"layers 0, 2, 5 · heads 0–{HEADS - 1}" in said(part(tab, "made"))


def test_pointing_at_a_head_shows_it_and_leaving_goes_back(tab: Page, capture: Capture) -> None:
    word(tab, HOT_TOKEN).click()
    panel(tab, "heads")
    before = state(tab)["values"]
    canvas = part(tab, "headsCanvas")
    box = canvas.bounding_box()
    assert box is not None
    canvas.hover(position={"x": box["width"] - 20, "y": box["height"] - 20})  # the last layer and head
    truth = AttentionProcessor(capture).get_attention_heatmap_for_token(
        HOT_TOKEN, [RECORDED[-1]], [HEADS - 1]
    )
    seen = np.reshape(state(tab)["values"], GRID)
    assert np.abs(seen - truth).max() <= np.ptp(truth) / 255
    tab.mouse.move(2, 2)
    assert state(tab)["values"] == before
    assert state(tab)["alone"] is None


def test_what_the_answer_leaned_on_is_ranked_and_can_be_picked(tab: Page) -> None:
    word(tab, 1).click()
    leaned = panel(tab, "shares").locator('[data-part="leaned"]')
    lines = [[said(span) for span in line.locator("span").all()] for line in leaned.locator("li").all()]
    assert lines == [["Who", "30 %"], ["The", "20 %"], ["<|system|>", "10 %"], [" is", "5.0 %"]]
    assert leaned.locator("button").nth(2).is_disabled()
    leaned.locator("button").first.click()
    assert state(tab)["pick"]["key"] == "p0"


def test_a_test_that_is_in_the_file_is_shown_for_its_word_alone(
    open_html: Open, data: dict[str, Any]
) -> None:
    check = {
        "text": "cat",
        "tokens": [HOT_TOKEN],
        "map_key": data["method"]["key"],
        "patches": [0, 1, 2],
        "hottest": [0.9, 0.2, 0.1],
        "random": [[0.9, 0.9, 0.8], [0.9, 0.8, 0.7]],
        "random_mean": [0.9, 0.85, 0.75],
        "cells": {"hottest": [11, 3], "random": [[0, 1], [2, 30]]},
        "telling": 2,
        "verdict": "Holds up",
        "sentences": [
            "Hide its 2 hottest patches: “cat” falls.",
            "Hide 2 random ones instead.",
            "It points.",
        ],
        "note": "",
    }
    tab = open_html(viewer.report({**data, "checks": [check], "pick": "2"}))
    assert said(part(tab, "test")) == "✓ Holds up"
    assert said(part(tab, "testTitle")) == check["sentences"][0]
    values = [said(one) for one in part(tab, "tries").locator("b").all()]
    assert values == ["0.90", "0.10", "0.75"]
    assert part(tab, "curve").locator("circle").count() == 3
    word(tab, 3).click()
    assert part(tab, "test").is_hidden()  # a file tests nothing
    assert part(tab, "tries").is_hidden()
    assert "is not tested yet" in said(part(tab, "testTitle"))
    word(tab, HOT_TOKEN).click()
    assert said(part(tab, "test")) == "✓ Holds up"


def test_where_heads_were_not_kept_the_panel_says_what_to_do(open_html: Open, capture: Capture) -> None:
    mean = reduced(capture, "head-mean")
    picture = Image.new("RGB", (GRID[1] * 50, GRID[0] * 40))
    maps = selected_maps(mean, parsed_selection(mean))
    tab = open_html(viewer.report(viewer.payload(mean, picture, *maps)))
    panel(tab, "heads")
    assert said(part(tab, "headsNote")) == heads_refusal(mean)
    assert not part(tab, "headsCanvas").is_visible()
