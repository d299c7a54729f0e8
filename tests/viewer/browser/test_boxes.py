"""The viewer in a browser: the boxes of an answer."""

import json
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

import viewer
from records.boxes import Box, box_figures, boxes_in
from records.capture import Capture
from tests.attention_processor.kit import GRID
from tests.records.test_boxes import PIXELS, SIZE, answer_of, pieces_of
from tests.seeing import choose, part, said, state
from tests.viewer.browser.kit import Open
from tests.viewer.payload.kit import maps_of

TEXT = 'Look: [{"bbox_2d": [14, 28, 98, 70], "label": "cat"}, {"bbox_2d": [120, 3, 190, 60], "label": "hat"}]'
TEXT += ' {"point_2d": [49, 70]}'


@pytest.fixture(scope="module")
def answer() -> Capture:
    return answer_of(pieces_of(TEXT), PIXELS)


@pytest.fixture(scope="module")
def maps(answer: Capture) -> np.ndarray:
    return np.random.default_rng(6).random((len(answer.token_ids), *GRID)).astype(np.float32) ** 4


@pytest.fixture
def tab(open_html: Open, answer: Capture, maps: np.ndarray) -> Page:
    picture = Image.fromarray(np.full((*SIZE, 3), 120, np.uint8))
    return open_html(viewer.report(viewer.payload(answer, picture, maps_of(maps), pick="0")))


def marked(tab: Page) -> list[bool]:
    """Return which boxes are marked: over the picture, and in the list."""
    state(tab)
    over = tab.locator(".lens-marks > *").evaluate_all(
        "all => all.map((one) => one.hasAttribute('data-picked'))"
    )
    rows = tab.locator(".lens-box-row").evaluate_all(
        "all => all.map((one) => one.getAttribute('aria-pressed') === 'true')"
    )
    assert rows == over[-len(rows) :]
    return rows


def figures_text(box: Box, values: np.ndarray) -> str:
    share, chance, iou = box_figures(box, values, SIZE)

    def percent(part: float) -> str:
        return f"{100 * part:.1f} %" if part < 0.0995 else f"{100 * part:.0f} %"

    return f"{percent(share)} inside (chance {percent(chance)})" + (
        "" if iou is None else f" · IoU {iou:.2f}"
    )


def places(tab: Page) -> list[list[float]]:
    """Return [left, top, right, bottom] of each box that is drawn, in parts of its picture's sides."""
    drawn: list[list[float]] = tab.evaluate(
        """() => {
             const { panes } = document.querySelector('.lens-viewer').viewer.state();
             const scale = 1 / window.devicePixelRatio;
             const frame = document.querySelector('[data-part=picture]').getBoundingClientRect();
             const marks = [...document.querySelectorAll('.lens-marks > :not(.lens-point)')];
             return marks.map((mark, i) => {
               const pane = panes[Math.floor(i / 2)];
               const { left, top, right, bottom } = mark.getBoundingClientRect();
               const x = (at) => (at - frame.left - pane.x * scale) / (pane.width * scale);
               const y = (at) => (at - frame.top - pane.y * scale) / (pane.height * scale);
               return [x(left), y(top), x(right), y(bottom)];
             });
           }"""
    )
    return drawn


def test_a_box_and_its_words_lead_to_each_other(tab: Page, answer: Capture, maps: np.ndarray) -> None:
    cat, hat, point = boxes_in(answer)
    assert marked(tab) == [False] * 3
    first = maps[0]
    lines = [said(one) for one in tab.locator(".lens-box-figures").all()]
    assert lines == [figures_text(box, first) for box in (cat, hat, point)]
    assert "at least half as hot as the hottest" in said(part(tab, "boxesAbout"))
    part(tab, "words").locator(".lens-word", has_text="hat").click()
    assert marked(tab) == [False, True, False]
    tab.locator(".lens-box-name").first.click()
    assert state(tab)["pick"]["tokens"] == list(cat.tokens)
    assert marked(tab) == [True, False, False]
    mean = maps[list(cat.tokens)].mean(0)
    assert said(tab.locator(".lens-box-figures").first) == figures_text(cat, mean)
    assert "box 1: cat" in said(part(tab, "headline"))
    tab.locator(".lens-box-row").nth(2).focus()
    tab.keyboard.press("Enter")
    assert state(tab)["pick"]["tokens"] == list(point.tokens)
    frame = part(tab, "picture").bounding_box()
    assert frame is not None
    x, y = hat.xyxy[2] / SIZE[1], (hat.xyxy[1] + hat.xyxy[3]) / 2 / SIZE[0]
    tab.mouse.click(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])  # on its line
    assert state(tab)["pick"]["tokens"] == list(hat.tokens)
    assert state(tab)["region"] is None
    tab.keyboard.press("Escape")
    assert marked(tab) == [False] * 3


def test_boxes_are_drawn_where_they_are_in_every_view(tab: Page, answer: Capture) -> None:
    expected = [np.array(box.xyxy) / (*SIZE[::-1], *SIZE[::-1]) for box in boxes_in(answer)[:2]]
    for view, panes in (("overlay", 1), ("side by side", 2), ("spotlight", 1), ("wipe", 1), ("heatmap", 1)):
        choose(tab, "view", view)
        state(tab)
        np.testing.assert_allclose(places(tab), expected * panes, atol=0.01)


def test_what_is_copied_is_in_pixels_of_the_picture(open_html: Open, tab: Page) -> None:
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    part(tab, "boxesCopy").click()
    tab.wait_for_function("document.querySelector('[data-part=boxesCopy]').textContent === 'Copied'")
    found: Any = json.loads(tab.evaluate("navigator.clipboard.readText()"))
    assert found[0] == {"bbox_2d": [50, 60, 350, 150], "label": "cat"}
    assert found[2] == {"point_2d": [175, 150]}
    assert said(part(tab, "said")) == "Copied"
