"""The viewer in a browser: the map lands where it should; scale, colour bar, values."""

import re
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page

import viewer
import visualization
from drawing.colours import palette
from drawing.outline import half_cells, outlined
from records.look import Look
from tests.attention_processor.kit import GRID, TOKENS
from tests.seeing import choose, colour, look, pane_of, panel, part, pixels, said, slide, state, word
from tests.viewer.browser.kit import (
    GREY,
    HOT,
    HOT_TOKEN,
    PALE,
    Open,
    aim,
    cell,
)

# --- The map lands where it should ---


def test_the_hot_cell_has_its_colour_inside_and_none_of_it_outside(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    choose(tab, "view", "heatmap")
    drawn = pane_of(tab, "heatmap")
    assert drawn.shape[1] / drawn.shape[0] == pytest.approx(350 / 200, rel=0.01)
    for row in range(GRID[0]):
        for col in range(GRID[1]):
            expected = colour(1) if (row, col) == HOT else colour(0)
            assert (cell(drawn, row, col) == expected).all(), (row, col)
    hot_rows, hot_cols = np.nonzero((drawn == colour(1)).all(-1))
    height, width = drawn.shape[0] / GRID[0], drawn.shape[1] / GRID[1]
    edges = [hot_rows.min(), hot_rows.max() + 1, hot_cols.min(), hot_cols.max() + 1]
    assert edges == pytest.approx([height, 2 * height, 4 * width, 5 * width], abs=1)


def test_the_overlay_is_the_picture_under_as_much_colour_as_was_asked_for(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    for alpha in (0.6, 0.25):
        slide(tab, "opacity", alpha)
        drawn = pane_of(tab, "overlay")
        for place, share in ((HOT, 1.0), ((3, 2), 0.0)):
            expected = np.array(GREY) * (1 - alpha) + colour(share) * alpha
            assert np.abs(cell(drawn, *place) - expected).max() <= 2


def test_every_cell_of_a_map_and_of_a_range_of_words_has_the_colour_of_its_value(
    tab: Page, maps: np.ndarray
) -> None:
    choose(tab, "view", "heatmap")
    word(tab, 3).click()
    for tokens in ([3], [3, 4, 5]):
        if len(tokens) > 1:
            word(tab, 5).click(modifiers=["Shift"])
        now = state(tab)
        mean = maps[tokens].mean(0)
        assert now["pick"]["tokens"] == tokens
        assert np.abs(np.reshape(now["values"], GRID) - mean).max() <= np.ptp(maps[tokens]) / 65535
        shares = (mean - mean.min()) / np.ptp(mean)
        drawn = pane_of(tab, "heatmap")
        for row, col in np.ndindex(GRID):
            near = [colour(shares[row, col] + step) for step in (-1 / 256, 0, 1 / 256)]
            inside = cell(drawn, row, col)
            assert (inside == inside[0]).all()
            assert any((inside[0] == one).all() for one in near)


def test_smooth_values_are_those_of_the_drawings_on_the_server(tab: Page, maps: np.ndarray) -> None:
    word(tab, 3).click()
    choose(tab, "view", "heatmap")
    choose(tab, "cells", "smooth")
    part(tab, "colormap").select_option("gray")
    drawn = pane_of(tab, "heatmap")
    look = Look(colormap="gray", view="heatmap", smooth=True)
    expected = np.asarray(visualization.heatmap(maps[3], drawn.shape[:2], look), int)
    assert np.abs(drawn.astype(int) - expected).mean() < 1.5
    assert np.abs(drawn.astype(int) - expected).max() < 24


@pytest.mark.parametrize("cells", ["smooth", "cells"])
def test_a_colour_maps_spotlight_is_that_of_the_drawings_on_the_server(
    tab: Page, maps: np.ndarray, cells: str
) -> None:
    word(tab, 3).click()
    choose(tab, "view", "spotlight")
    choose(tab, "cells", cells)
    slide(tab, "opacity", 1)
    drawn = pane_of(tab, "spotlight")
    picture = Image.new("RGB", (drawn.shape[1], drawn.shape[0]), GREY)
    look = Look(colormap="viridis", view="spotlight", smooth=cells == "smooth", alpha=1)
    expected = np.asarray(visualization.spotlight(picture, maps[3], look), int)
    assert np.abs(drawn.astype(int) - expected).max() <= 2


def test_side_by_side_has_the_picture_as_it_is_and_the_overlay(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    choose(tab, "view", "side by side")
    assert (pane_of(tab, "picture") == GREY).all()
    assert (cell(pane_of(tab, "overlay"), *HOT) != GREY).any()
    left, right = state(tab)["panes"]
    assert right["x"] >= left["width"]
    assert right["y"] == left["y"]


def test_the_wipe_shows_the_picture_left_of_its_divider_and_moves_by_keys_and_pointer(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    choose(tab, "view", "wipe")
    divider = part(tab, "divider")

    def untouched() -> float:
        """Return the share of columns that show the picture alone."""
        return float((pane_of(tab, "wipe") == GREY).all(axis=(0, 2)).mean())

    assert untouched() == pytest.approx(0.5, abs=0.01)
    divider.press("PageUp")
    divider.press("ArrowRight")
    assert untouched() == pytest.approx(0.62, abs=0.01)
    assert divider.get_attribute("aria-valuenow") == "62"
    x, y = aim(tab, 0, 0.9)
    box = divider.bounding_box()
    assert box is not None
    tab.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    tab.mouse.down()
    tab.mouse.move(x, y, steps=4)
    tab.mouse.up()
    assert untouched() == pytest.approx(1.4 / GRID[1], abs=0.01)
    divider.press("Home")
    assert untouched() == 0
    divider.press("End")
    assert untouched() == 1


def test_the_colours_follow_the_colour_map_and_the_contrast(tab: Page, maps: np.ndarray) -> None:
    word(tab, 4).click()
    choose(tab, "view", "heatmap")
    part(tab, "colormap").select_option("magma")
    slide(tab, "contrast", -1)  # γ = 0.5
    shares = np.sqrt((maps[4] - maps[4].min()) / np.ptp(maps[4]))
    drawn = pane_of(tab, "heatmap")
    for row, col in ((0, 0), (2, 3), (4, 6)):
        expected = colour(shares[row, col], "magma")
        assert np.abs(cell(drawn, row, col)[0] - expected).max() <= 6
    assert said(part(tab, "contrastValue")) == "−1.0"
    bar = pixels(tab, "bar")[0, :, :3]
    assert (bar == palette("magma")).all()


# --- Scale, colour bar, values ---


def test_the_scale_is_the_maps_own_or_that_of_all_tokens(
    tab: Page, data: dict[str, Any], maps: np.ndarray
) -> None:
    word(tab, 3).click()
    assert state(tab)["range"] == pytest.approx([maps[3].min(), maps[3].max()], rel=1e-6)
    choose(tab, "scale", "shared")
    low = min(*data["answer"]["maps"]["low"], *data["prompt"]["maps"]["low"])
    assert state(tab)["range"] == pytest.approx([low, 0.25], rel=1e-6)
    choose(tab, "view", "heatmap")
    row, col = np.argwhere(maps[3] == maps[3].max())[0]
    drawn = cell(pane_of(tab, "heatmap"), row, col)[0]
    assert np.abs(drawn - colour((maps[3].max() - low) / (0.25 - low))).max() <= 4


@pytest.mark.parametrize("scale", ["own", "shared"])
def test_the_highest_value_that_is_told_is_the_maps_own_on_either_scale(
    tab: Page, maps: np.ndarray, scale: str
) -> None:
    word(tab, 3).click()
    tab.mouse.move(2, 2)
    choose(tab, "scale", scale)
    state(tab)
    assert maps[3].max() < 0.5 * maps.max()
    row, col = np.argwhere(maps[3] == maps[3].max())[0]
    told_low, told_high = re.findall(
        r"from ([\d.]+ %) to ([\d.]+ %); highest at",
        (part(tab, "picture").get_attribute("aria-label") or "").replace("\xa0", " "),
    )[0]
    assert said(part(tab, "value")) == f"row {row + 1}, column {col + 1}"
    highest = part(tab, "highest")
    assert float(highest.get_attribute("data-value") or 0) == pytest.approx(maps[3].max(), rel=1e-5)
    assert highest.get_attribute("data-method") == "attention"
    for told_value, truth in ((told_low, maps[3].min()), (told_high, maps[3].max())):
        assert float(told_value.removesuffix(" %")) == pytest.approx(100 * truth, abs=0.006)


def ends(tab: Page) -> tuple[float, float]:
    """Return the ends of the colour bar."""
    scale = part(tab, "scale")
    return tuple(float(scale.get_attribute(f"data-{end}") or "nan") for end in ("low", "high"))  # type: ignore[return-value]


def test_the_colour_bars_ends_are_the_real_values_and_its_marker_stands_where_it_belongs(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    tab.mouse.move(2, 2)
    state(tab)
    assert ends(tab) == pytest.approx((PALE, 0.25), rel=1e-6)
    assert said(part(tab, "low")) == "lowest colour: 1.0 %"
    assert said(part(tab, "highest")) == "highest: 25.0 %"
    marker = part(tab, "marker")
    assert marker.evaluate("mark => parseFloat(mark.style.left)") == 100  # the highest cell's
    tab.mouse.move(*aim(tab, 3, 2))
    state(tab)
    assert marker.evaluate("mark => parseFloat(mark.style.left)") == pytest.approx(0, abs=0.1)


def test_the_value_under_the_pointer_and_under_the_keys(tab: Page, maps: np.ndarray) -> None:
    word(tab, HOT_TOKEN).click()
    tab.mouse.move(*aim(tab, *HOT))
    assert state(tab)["cursor"] == {"row": 1, "col": 4}
    assert said(part(tab, "value")) == "row 2, column 5: 25.00 %"
    assert part(tab, "marker").evaluate("mark => mark.style.left") == "100%"
    tab.mouse.move(*aim(tab, 4, 6))
    state(tab)
    assert said(part(tab, "value")) == "row 5, column 7: 1.00 %"
    word(tab, 3).click()
    part(tab, "frame").focus()
    tab.keyboard.press("ArrowDown")  # comes in at the highest cell
    row, col = np.argwhere(maps[3] == maps[3].max())[0]
    assert state(tab)["cursor"] == {"row": row, "col": col}
    tab.keyboard.press("ArrowUp" if row else "ArrowDown")
    row += -1 if row else 1
    state(tab)
    told = said(part(tab, "value"))
    assert told.startswith(f"row {row + 1}, column {col + 1}: ")
    assert float(told.split(": ")[1].removesuffix(" %")) == pytest.approx(100 * maps[3][row, col], abs=0.006)


# --- Glow ---


@pytest.fixture
def glowing(open_html: Open, data: dict[str, Any]) -> Page:
    look = {"colormap": "glow", "opacity": 1, "cells": "smooth"}
    return open_html(viewer.report({**data, "look": {**data["look"], **look}, "pick": "3"}))


def test_the_glow_is_drawn_as_on_the_server(glowing: Page, maps: np.ndarray) -> None:
    """But for the lines of the outline, which are strokes of the browser here."""
    drawn = pane_of(glowing, "overlay")
    size = (drawn.shape[1], drawn.shape[0])
    picture = Image.new("RGB", size, GREY)
    expected = np.asarray(visualization.overlay(picture, maps[3], Look(colormap="glow")), int)
    lines = outlined(picture.copy(), half_cells(maps[3]))
    near = np.asarray(lines, int) != np.asarray(picture, int)
    near = cv2.dilate(near.any(-1).astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    apart = np.abs(drawn.astype(int) - expected).max(-1)
    assert near.mean() < 0.4
    assert apart[~near].max() <= 2


def test_the_glows_bar_speaks_of_shares_of_the_map(glowing: Page, maps: np.ndarray) -> None:
    share = maps[3] / maps[3].sum()
    even = 1 / np.prod(GRID)
    assert ends(glowing) == pytest.approx((even, max(share.max(), 4 * even)), rel=1e-4)
    assert said(part(glowing, "low")) == f"clear: an even share, {100 * even:.1f} %"
    assert said(part(glowing, "highest")).startswith("hottest patch: ")
    assert float(part(glowing, "highest").get_attribute("data-value") or 0) == pytest.approx(
        share.max(), rel=1e-4
    )
    glowing.mouse.move(*aim(glowing, 0, 0))
    state(glowing)
    assert said(part(glowing, "value")).startswith("row 1, column 1: ")
    assert said(part(glowing, "value")).endswith(" % of the map")
    choose(glowing, "scale", "shared")
    state(glowing)
    hottest = (maps / maps.sum(axis=(1, 2), keepdims=True)).max()
    assert ends(glowing)[1] == pytest.approx(hottest, rel=1e-4)


def test_a_flat_map_leaves_the_picture_as_it_is(open_html: Open, data: dict[str, Any]) -> None:
    flat = np.full((TOKENS, *GRID), 0.02)
    look = {**data["look"], "colormap": "glow", "opacity": 1, "cells": "smooth"}
    answer = {**data["answer"], "maps": viewer.packed(flat.reshape(TOKENS, -1))}
    tab = open_html(viewer.report({**data, "answer": answer, "look": look, "pick": "3"}))
    assert (pane_of(tab, "overlay") == GREY).all()


def test_going_from_the_glow_to_a_colour_map_takes_its_strength_and_cells_along(glowing: Page) -> None:
    look(glowing)
    part(glowing, "colormap").select_option("magma")
    now = state(glowing)["look"]
    assert (now["opacity"], now["cells"]) == (0.6, "cells")
    part(glowing, "colormap").select_option("viridis")
    slide(glowing, "opacity", 0.3)
    part(glowing, "colormap").select_option("inferno")
    assert state(glowing)["look"]["opacity"] == 0.3
    part(glowing, "colormap").select_option("glow")
    now = state(glowing)["look"]
    assert (now["opacity"], now["cells"]) == (1, "smooth")


# --- One screen ---


@pytest.mark.parametrize("size", [(1440, 852), (1024, 720)])
@pytest.mark.parametrize("picture", [(350, 200), (200, 350), (900, 30), (30, 900)])
@pytest.mark.parametrize("words", [1, 1000])
def test_an_answer_is_on_screen_without_scrolling(
    open_html: Open, data: dict[str, Any], size: tuple[int, int], picture: tuple[int, int], words: int
) -> None:
    shown = {**data, "pictures": viewer.pictures_payload(Image.new("RGB", picture, GREY))}
    texts = [f"word{index} " for index in range(words)]
    segments = [{"text": text, "tokens": [index]} for index, text in enumerate(texts)]
    flat = np.random.default_rng(5).random((words, np.prod(GRID)))
    shown["answer"] = {
        **data["answer"],
        "text": "".join(texts),
        "tokens": texts,
        "words": segments,
        "pieces": segments,
        "maps": viewer.packed(flat),
        "shares": [[0.5, 0.3, 0.2]] * words,
        "layer_shares": [data["answer"]["layer_shares"][0]] * words,
        "probabilities": [0.9] * words,
        "logprobs": [-0.1] * words,
        "without": [-3.0] * words,
    }
    shown |= {"pick": str(words - 1), "heads": [], "leaned": None}
    tab = open_html(viewer.report(shown), viewport={"width": size[0], "height": size[1]})
    for name in ("words", "verdict", "picture", "scale", "tools", "tabs"):
        box = part(tab, name).bounding_box()
        assert box is not None
        assert box["width"] > 0
        assert box["x"] >= -1, (name, box)
        assert box["y"] >= -1, (name, box)
        assert box["x"] + box["width"] <= size[0] + 1, (name, box)
        assert box["y"] + box["height"] <= size[1] + 1, (name, box)
    picked = part(tab, "words").locator('[aria-selected="true"]')
    words_box, box = part(tab, "words").bounding_box(), picked.bounding_box()
    assert words_box is not None
    assert box is not None
    assert box["y"] >= words_box["y"] - 4
    assert box["y"] + box["height"] <= words_box["y"] + words_box["height"] + 4


def test_on_a_phone_the_picture_stays_while_the_rest_scrolls(open_html: Open, data: dict[str, Any]) -> None:
    tab = open_html(viewer.report(data), viewport={"width": 390, "height": 796}, has_touch=True)
    panel(tab, "shares")
    before = part(tab, "picture").bounding_box()
    assert before is not None
    assert before["height"] <= 0.4 * 796 + 1
    tab.locator(".lens-body").evaluate("body => { body.scrollTop = 400; }")
    state(tab)
    assert tab.locator(".lens-body").evaluate("body => body.scrollTop") > 50
    assert part(tab, "picture").bounding_box() == before
