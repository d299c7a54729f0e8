"""Fixtures that several tests here share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Page

import viewer
from records.capture import Capture
from records.look import Look
from tests.attention_processor.kit import GRID, HEADS, PROMPT_TOKENS, RECORDED, TOKENS, made_capture
from tests.large import large_payload
from tests.seeing import state, until
from tests.viewer.browser.kit import CELL_WH, GREY, HOT, HOT_TOKEN, PALE, PATIENCE, Open, Watch
from tests.viewer.payload.kit import maps_of


@pytest.fixture(scope="module")
def capture() -> Capture:
    return made_capture()


@pytest.fixture(scope="module")
def maps() -> np.ndarray:
    """Maps (token, h, w): the hot word's known cell by cell, the others random."""
    values = np.random.default_rng(11).random((TOKENS, *GRID)) ** 3 * 0.08
    values[HOT_TOKEN] = PALE
    values[(HOT_TOKEN, *HOT)] = 0.25
    return values


@pytest.fixture(scope="module")
def data(capture: Capture, maps: np.ndarray) -> dict[str, Any]:
    picture = Image.new("RGB", (GRID[1] * CELL_WH[0], GRID[0] * CELL_WH[1]), GREY)
    prompt_maps = np.random.default_rng(12).random((PROMPT_TOKENS, *GRID)) * 0.1
    texts = ["<|system|>", "Who", " is", "The"]
    leaned = viewer.leaned_payload(texts, ["", "p0", "p1", "0"], np.tile([0.1, 0.3, 0.05, 0.2], (TOKENS, 1)))
    heads = [viewer.heads_payload(capture, [HOT_TOKEN])]
    settings = {"layers": list(RECORDED), "heads": list(range(HEADS)), "aggregation": "mean"}
    return viewer.payload(
        capture,
        picture,
        maps_of(maps, settings=settings),
        maps_of(prompt_maps, of_prompt=True, settings=settings),
        look=Look(colormap="viridis"),
        pick="all",
        head_maps=heads,
        leaned=leaned,
    )


@pytest.fixture
def open_html(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Open HTML from disk; at the end: nothing was asked for but that file, and nothing went wrong."""
    tabs: list[tuple[Page, Watch, str]] = []

    def opened(html: str, **context: Any) -> Page:
        file = tmp_path / f"{len(tabs)}.html"
        file.write_text(html, "utf-8")
        tab = browser.new_context(**{"viewport": {"width": 1440, "height": 1000}, **context}).new_page()
        tab.set_default_timeout(PATIENCE)
        tabs.append((tab, Watch(tab), file.as_uri()))
        tab.goto(file.as_uri())
        until(tab, "document.querySelector('.lens-viewer').viewer?.state().frames > 0")
        state(tab)
        return tab

    yield opened
    for tab, watch, uri in tabs:
        tab.context.close()
        assert watch.asked == [uri]
        assert watch.errors == []


@pytest.fixture
def tab(open_html: Open, data: dict[str, Any]) -> Page:
    return open_html(viewer.report(data))


@pytest.fixture(scope="module")
def big() -> dict[str, Any]:
    return large_payload()
