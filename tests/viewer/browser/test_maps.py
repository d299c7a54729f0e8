"""The viewer in a browser: the map lands where it should; scale, colour bar, values."""

import re
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

import visualization
from drawing.colours import palette
from records.look import Look
from tests.attention_processor.kit import GRID
from tests.seeing import choose, colour, pane_of, part, pixels, said, slide, state, word
from tests.viewer.browser.kit import (
    GREY,
    HOT,
    HOT_TOKEN,
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
    assert said(part(tab, "contrastValue")) == "γ = 0.50"
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
        (part(tab, "canvas").get_attribute("aria-label") or "").replace("\xa0", " "),
    )[0]
    line = said(part(tab, "value"))
    assert line == f"Highest at row {row}, column {col}: {told_high}"
    for told_value, truth in ((told_low, maps[3].min()), (told_high, maps[3].max())):
        assert float(told_value.removesuffix(" %")) == pytest.approx(100 * truth, abs=0.006)


def test_the_colour_bars_ends_are_the_real_values_and_its_numbers_stand_where_they_belong(tab: Page) -> None:
    word(tab, HOT_TOKEN).click()
    state(tab)
    ticks = part(tab, "ticks").locator("span")
    texts = [said(tick) for tick in ticks.all()]
    assert (texts[0], texts[-1]) == ("1.0 %", "25.0 %")
    assert len(texts) >= 5
    for index, text in enumerate(texts):
        at = ticks.nth(index).evaluate("tick => parseFloat(tick.style.left)")
        value = float(text.removesuffix(" %"))
        assert at == pytest.approx(100 * (value - 1) / 24, abs=0.3)
    slide(tab, "contrast", 1)  # γ = 2
    state(tab)
    middle = ticks.filter(has_text="10.0 %")
    assert middle.evaluate("tick => parseFloat(tick.style.left)") == pytest.approx(
        100 * (9 / 24) ** 2, abs=0.3
    )


def test_the_value_under_the_pointer_and_under_the_keys(tab: Page, maps: np.ndarray) -> None:
    word(tab, HOT_TOKEN).click()
    tab.mouse.move(*aim(tab, *HOT))
    assert state(tab)["cursor"] == {"row": 1, "col": 4}
    assert said(part(tab, "value")) == "row 1, column 4: 25.00 %"
    assert part(tab, "marker").evaluate("mark => mark.style.left") == "100%"
    tab.mouse.move(*aim(tab, 4, 6))
    state(tab)
    assert said(part(tab, "value")) == "row 4, column 6: 1.00 %"
    word(tab, 3).click()
    part(tab, "frame").focus()
    tab.keyboard.press("ArrowDown")  # comes in at the highest cell
    row, col = np.argwhere(maps[3] == maps[3].max())[0]
    assert state(tab)["cursor"] == {"row": row, "col": col}
    tab.keyboard.press("ArrowUp" if row else "ArrowDown")
    row += -1 if row else 1
    state(tab)
    told = said(part(tab, "value"))
    assert told.startswith(f"row {row}, column {col}: ")
    assert float(told.split(": ")[1].removesuffix(" %")) == pytest.approx(100 * maps[3][row, col], abs=0.006)
