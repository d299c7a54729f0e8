"""What several tests here share."""

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from playwright.sync_api import ConsoleMessage, Page, Request

import viewer
from tests.attention_processor.kit import GRID
from tests.seeing import cell_of, part, said, state

PATIENCE = 30_000  # milliseconds: these tests may share two cores with others
HOT_TOKEN, HOT = 2, (1, 4)  # the word "cat", planted at row 1, column 4 of 5 × 7
PALE, GREY = 0.01, (90, 140, 60)  # value of the other cells; the picture's one colour
CELL_WH = (50, 40)  # pixels of the picture a cell


class Watch:
    """What went on behind a tab's back."""

    def __init__(self, tab: Page) -> None:
        self.asked: list[str] = []
        self.errors: list[str] = []
        tab.on("request", self.on_request)
        tab.on("console", self.on_console)
        tab.on("pageerror", lambda error: self.errors.append(str(error)))

    def on_request(self, request: Request) -> None:
        if not request.url.startswith("data:"):
            self.asked.append(request.url)

    def on_console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)


Open = Callable[..., Page]


def cell(picture: np.ndarray, row: int, col: int) -> np.ndarray:
    """Return the pixels (pixel, rgb) well inside one cell."""
    return cell_of(picture, row, col, GRID)


def aim(tab: Page, row: float, col: float) -> tuple[float, float]:
    """Return where in the window the middle of a cell of the (first) picture is."""
    box = part(tab, "picture").bounding_box()
    assert box is not None
    pane = state(tab)["panes"][0]
    ratio = tab.evaluate("window.devicePixelRatio")
    return (
        box["x"] + (col + 0.5) / GRID[1] * pane["width"] / ratio,
        box["y"] + (row + 0.5) / GRID[0] * pane["height"] / ratio,
    )


def ranked(data: dict[str, Any], maps: np.ndarray, where: tuple[slice, slice]) -> list[tuple[str, float]]:
    """Return (word, share of its map's mass in a region) of the words that look there more than evenly."""
    found = []
    even = np.ones(GRID)[where].sum() / np.prod(GRID)
    for one in data["answer"]["words"]:
        if "tokens" in one:
            mean = maps[one["tokens"]].mean(0)
            found.append((one["text"].strip() or one["sign"], mean[where].sum() / mean.sum()))
    return sorted((pair for pair in found if pair[1] > even), key=lambda pair: -pair[1])


def told(tab: Page) -> list[tuple[str, float]]:
    """Return what the bubble says: (word, share)."""
    lines = said(part(tab, "bubbleText")).split(" · ")
    pairs = [line.removesuffix(" %").rsplit(" ", 1) for line in lines if line]
    return [(text, float(share) / 100) for text, share in pairs]


def embedding(data: dict[str, Any], count: int = 2) -> str:
    """Return a page with several viewers that writes down what they say."""
    assets = viewer.assets()
    escaped = json.dumps(data).replace("<", "\\u003c")
    style = f"<style>{assets['css']} .lens-viewer {{ height: 800px; }}</style>"
    return f"""<!doctype html><meta charset="utf-8"><title>Page</title>{style}
        {assets["html"] * count}
        <script>
        const told = [];
        const data = {escaped};
        function start() {{
          {assets["js"]}
          const roots = [...document.querySelectorAll('.lens-viewer')];
          return roots.map((root, index) => mountViewer(root, data, {{
            onPick: (pick) => told.push([index, 'pick', pick]),
            onLook: (look) => told.push([index, 'look', look]),
            ask: (what, details) => told.push([index, what, details]),
            can: {{ maps: true, heads: true, test: true }},
          }}));
        }}
        const viewers = start();
        </script>"""


def told_to_page(tab: Page) -> list[Any]:
    state(tab)
    return tab.evaluate("told.splice(0)")
