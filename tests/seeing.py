"""What a browser test sees of the viewer: its state, its controls, and the pixels that it drew."""

import base64
from typing import Any, Literal

import numpy as np
from playwright.sync_api import Locator, Page
from playwright.sync_api import TimeoutError as TooLateError

from drawing.colours import palette

State = dict[str, Any]
Scheme = Literal["light", "dark"]


def state(tab: Page) -> State:
    """Return what the viewer says after the next picture was drawn."""
    return tab.evaluate(
        """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() =>
             done(document.querySelector('.lens-viewer').viewer.state()))))"""
    )


def until(tab: Page, condition: str) -> None:
    """Wait until a condition is true, a minute at most; also where a page's policy forbids to wait in it."""
    for _ in range(1200):
        if tab.evaluate(f"Boolean({condition})"):
            return
        tab.wait_for_timeout(50)
    raise AssertionError(f"it does not become true: {condition}")


def draws(tab: Page, truth: np.ndarray, within: float) -> None:
    """Wait until the map (h, w) that is drawn is this one."""
    try:
        tab.wait_for_function(
            """([truth, within]) => {
                 const { values } = document.querySelector('.lens-viewer').viewer.state();
                 return values?.length === truth.length
                   && values.every((value, index) => Math.abs(value - truth[index]) <= within);
               }""",
            arg=[truth.astype(float).ravel().tolist(), within],
        )
    except TooLateError:
        far = np.abs(np.reshape(state(tab)["values"], truth.shape) - truth).max()
        raise AssertionError(f"another map is drawn: it is {far} off, more than {within}") from None


def part(tab: Page, name: str) -> Locator:
    return tab.locator(f'[data-part="{name}"]')


def word(tab: Page, index: int, side: str = "words") -> Locator:
    return part(tab, side).locator(".lens-word").nth(index)


def panel(tab: Page, name: str) -> Locator:
    """Open a tab under the words, and return what is in it."""
    tab.locator(f'[data-tab="{name}"]').click()
    state(tab)
    return tab.locator(f'[data-panel="{name}"]')


def look(tab: Page) -> None:
    """Open what is under •••."""
    if tab.locator('[data-popover="look"]').is_hidden():
        tab.locator('[data-opens="look"]').click()


def said(place: Locator) -> str:
    """Return a text, with plain spaces between numbers and units."""
    return (place.text_content() or "").replace("\xa0", " ")


def choose(tab: Page, group: str, value: str) -> None:
    """Choose a view, kind of cells or scale, or the map alone as the view "heatmap"."""
    if (group, value) == ("view", "heatmap"):
        look(tab)
        part(tab, "alone").check()
        return
    if group in ("cells", "scale"):
        look(tab)
    if group == "view" and part(tab, "viewList").is_visible():  # on a phone
        part(tab, "viewList").select_option(value)
        return
    tab.locator(f'[data-choices="{group}"] input[value="{value}"]').check(force=True)


def slide(tab: Page, name: str, value: float) -> None:
    look(tab)
    part(tab, name).fill(str(value))


def pixels(tab: Page, name: str = "picture") -> np.ndarray:
    """Return the drawn pixels (row, col, rgba) of a canvas."""
    state(tab)
    found = tab.evaluate(
        """(name) => {
             const canvas = document.querySelector(`[data-part="${name}"]`);
             const image = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
             let text = '';
             for (const value of image.data) text += String.fromCharCode(value);
             return [canvas.height, canvas.width, btoa(text)];
           }""",
        name,
    )
    return np.frombuffer(base64.b64decode(found[2]), np.uint8).reshape(found[0], found[1], 4)


def pane_of(tab: Page, kind: str) -> np.ndarray:
    """Return the pixels (row, col, rgb) of one of the pictures on the stage."""
    (pane,) = (pane for pane in state(tab)["panes"] if pane["kind"] == kind)
    x, y, width, height = (pane[key] for key in ("x", "y", "width", "height"))
    return pixels(tab)[y : y + height, x : x + width, :3]


def cell_of(picture: np.ndarray, row: int, col: int, grid: tuple[int, int]) -> np.ndarray:
    """Return the pixels (pixel, rgb) well inside one cell of a picture of the grid."""
    height, width = picture.shape[0] / grid[0], picture.shape[1] / grid[1]
    inner = picture[
        int((row + 0.1) * height) : int((row + 0.9) * height),
        int((col + 0.1) * width) : int((col + 0.9) * width),
    ]
    return inner.reshape(-1, 3).astype(int)


def colour(share: float, name: str = "viridis") -> np.ndarray:
    """Return the colour at a share of the scale."""
    return palette(name)[min(int(share * 256), 255)].astype(int)


def set_scheme(tab: Page, scheme: Scheme) -> None:
    """Let the computer prefer light or dark, and wait until the page has followed."""
    tab.emulate_media(color_scheme=scheme)
    tab.wait_for_function("dark => document.body.classList.contains('dark') === dark", arg=scheme == "dark")
