"""The viewer in a browser: panels."""

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

from attention_processor import AttentionProcessor
from records.capture import Capture
from tests.attention_processor.kit import GRID, HEADS, RECORDED
from tests.seeing import part, said, state, word
from tests.viewer.browser.kit import (
    HOT_TOKEN,
    open_panel,
)


def test_where_attention_goes_is_drawn_and_told(tab: Page, data: dict[str, Any]) -> None:
    word(tab, 3).click()
    open_panel(tab, "shares")
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
    open_panel(tab, "heads")
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
    assert f"layer {RECORDED[1]}, head 0: {100 * share:.0f} % of its attention" in said(
        part(tab, "headsValue")
    )
    assert f"{100 * share:.0f} % of its attention on the image" in said(part(tab, "caption"))
    canvas.click(position={"x": 60, "y": 40})  # the mean of all
    assert state(tab)["alone"] == {"row": 0, "col": 0}
    assert f"layers 0, 2, 5 · heads 0–{HEADS - 1}" in said(part(tab, "made"))


def test_what_the_answer_leaned_on_is_ranked_and_can_be_picked(tab: Page) -> None:
    word(tab, 1).click()
    panel = open_panel(tab, "leaned")
    lines = [[said(span) for span in line.locator("span").all()] for line in panel.locator("li").all()]
    assert lines == [["Who", "30 %"], ["The", "20 %"], ["<|system|>", "10 %"], [" is", "5.0 %"]]
    assert panel.locator("button").nth(2).is_disabled()
    panel.locator("button").first.click()
    assert state(tab)["pick"]["key"] == "p0"


def test_the_way_back_from_one_head_is_a_button(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    before = state(tab)["values"]
    assert part(tab, "all").is_hidden()
    open_panel(tab, "heads")
    part(tab, "headsCanvas").focus()
    for key in ("ArrowRight", "Enter"):
        tab.keyboard.press(key)
    assert state(tab)["values"] != before
    part(tab, "all").click()
    assert state(tab)["values"] == before
    assert part(tab, "all").is_hidden()
