"""The page in a browser: a part of the picture is cut out, and the question asked again with it."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as Tab

from tests.page.browser.kit import ask, reads, says
from tests.page.browser.test_accessible import in_both_themes
from tests.seeing import part, said, state
from tests.serving import noise

pytestmark = [
    pytest.mark.timeout(600),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
PIXELS = """() => {
  const canvas = document.querySelector('[data-part=picture]');
  const { width, height } = canvas;
  return { width, height, data: [...canvas.getContext('2d').getImageData(0, 0, width, height).data] };
}"""
CROP = (0.5, 0.2, 1.0, 0.8)  # of the picture's sides: cells of five rows and eight columns


def drag(tab: Tab, box: tuple[float, float, float, float]) -> None:
    """Drag over a part of the picture, from inside its first cell to inside its last."""
    place = part(tab, "picture").bounding_box()
    assert place is not None
    left, top, right, bottom = box
    inside = 0.02
    tab.mouse.move(
        place["x"] + (left + inside) * place["width"], place["y"] + (top + inside) * place["height"]
    )
    tab.mouse.down()
    end = place["x"] + (right - inside) * place["width"], place["y"] + (bottom - inside) * place["height"]
    tab.mouse.move(*end, steps=4)
    tab.mouse.up()


def pixels(tab: Tab) -> np.ndarray:
    """Return the stage's pixels (h, w, rgba) after the next frame."""
    state(tab)
    found: dict[str, Any] = tab.evaluate(PIXELS)
    return np.array(found["data"], dtype=int).reshape(found["height"], found["width"], 4)


def test_a_region_is_looked_at_closer(tab: Tab, files: Path) -> None:
    ask(tab, files / "a.png")
    before = said(part(tab, "words"))
    drag(tab, CROP)
    part(tab, "closer").click()
    tab.wait_for_selector(".lens-strip:not([hidden])")
    tab.wait_for_selector('.lens-viewer[data-phase="answered"]')
    assert tab.locator(".lens-visual").count() == 2
    assert tab.locator("#image .thumb[data-place]").count() == 2
    tab.wait_for_function("document.querySelector('[data-part=before]').textContent.length > 30")
    assert said(part(tab, "before")).startswith("Before, without the closer look:")
    assert "The crop shows no more detail" in said(part(tab, "notice"))
    tab.locator(".lens-visual-show").nth(0).click()
    tab.keyboard.press("Escape")  # the whole answer, which looks at both
    own = pixels(tab)
    tab.locator(".lens-visual-place button").click()
    there = pixels(tab)
    height, width = own.shape[:2]
    left, top, right, bottom = (
        round(side * length) for side, length in zip(CROP, (width, height) * 2, strict=True)
    )
    changed = np.abs(there - own).max(axis=-1) > 8
    line = 6  # pixels of the crop's border
    assert changed[top + line : bottom - line, left + line : right - line].mean() > 0.2
    changed[top - line : bottom + line, left - line : right + line] = False
    assert not changed.any()
    assert in_both_themes(tab, "light", "closer look") == []
    part(tab, "before").locator("button").click()
    reads(tab, before)
    assert part(tab, "before").is_hidden()


def test_what_is_too_small_is_refused_and_the_answer_stays(tab: Tab, files: Path) -> None:
    noise(3, (40, 40)).save(files / "small.png")  # which is enlarged: its cells have 20 of its pixels a side
    ask(tab, files / "small.png")
    before = said(part(tab, "words"))
    drag(tab, (0.0, 0.0, 0.5, 0.5))
    part(tab, "closer").click()
    says(tab, "notice", "too small")
    reads(tab, before)
