"""The viewer in a real browser: reports opened from disk, drawn pixels and every way to explore them."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request

import viewer
import visualization
from attention_processor import AttentionProcessor
from drawing.colours import palette
from methods import token_maps
from records.capture import Capture
from records.look import Look
from tests.large import LARGE_TOKENS, large_payload
from tests.seeing import cell_of, choose, colour, pane_of, part, pixels, said, slide, state, word
from tests.test_attention_processor import GRID, HEADS, PROMPT_TOKENS, RECORDED, TOKENS, made_capture
from tests.viewer.test_payload import attention_of, maps_of

PATIENCE = 30_000  # milliseconds: these tests may share two cores with others
HOT_TOKEN, HOT = 2, (1, 4)  # the word "cat", planted at row 1, column 4 of 5 × 7
PALE, GREY = 0.01, (90, 140, 60)  # value of the other cells; the picture's one colour
CELL_WH = (50, 40)  # pixels of the picture a cell
WORDS = 10  # of the answer: "cat's" is two tokens, the newline a word of its own


# --- What is needed -----------------------------------------------------------------------------------------


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
        pick="all",
        head_maps=heads,
        leaned=leaned,
    )


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
        tab.wait_for_function("document.querySelector('.lens-viewer').viewer?.state().frames > 0")
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


def cell(picture: np.ndarray, row: int, col: int) -> np.ndarray:
    """Return the pixels (pixel, rgb) well inside one cell."""
    return cell_of(picture, row, col, GRID)


def aim(tab: Page, row: float, col: float) -> tuple[float, float]:
    """Return where in the window the middle of a cell of the (first) picture is."""
    box = part(tab, "canvas").bounding_box()
    assert box is not None
    pane = state(tab)["panes"][0]
    ratio = tab.evaluate("window.devicePixelRatio")
    return (
        box["x"] + (col + 0.5) / GRID[1] * pane["width"] / ratio,
        box["y"] + (row + 0.5) / GRID[0] * pane["height"] / ratio,
    )


# --- The map lands where it should --------------------------------------------------------------------------


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


# --- Scale, colour bar, values ------------------------------------------------------------------------------


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


# --- Picking words ------------------------------------------------------------------------------------------


def test_hovering_previews_and_leaving_goes_back(tab: Page) -> None:
    word(tab, 5).click()
    tab.mouse.move(2, 2)
    assert state(tab)["shown"] == "5"
    word(tab, HOT_TOKEN).hover()
    now = state(tab)
    assert (now["shown"], now["pick"]["key"]) == ("2", "5")
    assert "“cat” (token 2)" in said(part(tab, "caption"))
    tab.mouse.move(2, 2)
    assert state(tab)["shown"] == "5"


def test_keys_walk_over_the_words_and_escape_goes_back_to_the_whole_answer(
    tab: Page, maps: np.ndarray
) -> None:
    assert state(tab)["pick"]["key"] == "all"
    assert part(tab, "whole").get_attribute("aria-pressed") == "true"
    word(tab, 1).click()
    tab.mouse.move(2, 2)
    for key, pick in (
        ("ArrowRight", "2"),
        ("ArrowRight", "3"),
        ("ArrowLeft", "2"),
        ("Home", "0"),
        ("End", "10"),
    ):
        tab.keyboard.press(key)
        assert state(tab)["pick"]["key"] == pick
    tab.keyboard.press("Home")
    tab.keyboard.press("Shift+ArrowRight")
    tab.keyboard.press("Shift+ArrowRight")
    assert state(tab)["pick"]["key"] == "0-2"
    pressed = part(tab, "answer").locator('[aria-pressed="true"]').all_text_contents()
    assert pressed == ["The", "red", "cat"]
    tab.keyboard.press("Shift+ArrowLeft")
    assert state(tab)["pick"]["key"] == "0-1"
    tab.keyboard.press("Escape")
    now = state(tab)
    assert now["pick"]["key"] == "all"
    assert np.abs(np.reshape(now["values"], GRID) - maps.mean(0)).max() < 1e-6
    assert part(tab, "answer").locator('[tabindex="0"]').count() == 1


def test_everything_can_be_reached_by_tab_alone(tab: Page) -> None:
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    reached = set()
    for _ in range(40):
        tab.keyboard.press("Tab")
        reached.add(
            tab.evaluate(
                """() => {
                     const at = document.activeElement;
                     return at.dataset.part || at.closest('[data-choices]')?.dataset.choices
                       || at.closest('[data-part]')?.dataset.part || at.tagName;
                   }"""
            )
        )
    controls = {"granularity", "view", "cells", "scale", "opacity", "contrast", "colormap", "whole"}
    places = {"answer", "prompt", "frame", "tokenPlot", "layerPlot", "SUMMARY"}
    assert controls | places <= reached


def test_a_word_of_several_tokens_and_the_tokens_of_a_word(tab: Page, data: dict[str, Any]) -> None:
    (several,) = (one for one in data["answer"]["words"] if len(one.get("tokens", ())) > 1)
    part(tab, "answer").get_by_text(several["text"], exact=True).click()
    assert state(tab)["pick"]["tokens"] == several["tokens"]
    choose(tab, "granularity", "tokens")
    assert part(tab, "answer").locator(".lens-word").count() == TOKENS
    assert part(tab, "answer").locator('[aria-pressed="true"]').count() == len(several["tokens"])
    word(tab, several["tokens"][1]).click()
    assert state(tab)["pick"]["tokens"] == several["tokens"][1:]
    part(tab, "whole").click()
    assert state(tab)["pick"]["key"] == "all"


def test_words_of_the_question_have_their_maps(tab: Page, data: dict[str, Any]) -> None:
    word(tab, 2, "prompt").click()
    now = state(tab)
    assert now["pick"] == {"tokens": [2], "of_prompt": True, "key": "p2"}
    assert max(now["values"]) == pytest.approx(data["prompt"]["maps"]["high"][2], rel=1e-6)
    assert "question token 2" in said(part(tab, "caption"))


def test_words_are_tinted_by_their_share_on_the_image(tab: Page, data: dict[str, Any]) -> None:
    shares = [one[0] for one in data["answer"]["shares"]]
    assert f"0 to {100 * max(shares):.0f} %" in said(part(tab, "legend"))
    for index in (0, 3, 5):
        tint = word(tab, index).evaluate("one => Number(one.style.getPropertyValue('--lens-share'))")
        assert tint == pytest.approx(shares[index] / max(shares), abs=0.001)


def test_a_tap_keeps_a_word_and_a_cell(open_html: Open, data: dict[str, Any]) -> None:
    tab = open_html(
        viewer.report(data), has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800}
    )
    word(tab, HOT_TOKEN).tap()
    assert state(tab)["pick"]["key"] == "2"
    part(tab, "canvas").scroll_into_view_if_needed()
    tab.touchscreen.tap(*aim(tab, *HOT))
    now = state(tab)
    assert now["region"] == {"row": 1, "col": 4, "rows": 1, "cols": 1}
    assert said(part(tab, "value")) == "row 1, column 4: 25.00 %"
    assert part(tab, "ranking").locator("button").first.text_content() != ""


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_wider_than_the_window(open_html: Open, data: dict[str, Any], width: int) -> None:
    tab = open_html(viewer.report(data), viewport={"width": width, "height": 900})
    word(tab, HOT_TOKEN).click()
    tab.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    for view in ("side by side", "overlay"):
        choose(tab, "view", view)
        state(tab)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


# --- Where in the picture -----------------------------------------------------------------------------------


def ranked(data: dict[str, Any], maps: np.ndarray, where: tuple[slice, slice]) -> list[tuple[str, float]]:
    """Return (word, share of its map's mass in a region), highest first, at most 8."""
    found = []
    for one in data["answer"]["words"]:
        if "tokens" in one:
            mean = maps[one["tokens"]].mean(0)
            found.append((one["text"].strip() or one["sign"], mean[where].sum() / mean.sum()))
    return sorted(found, key=lambda pair: -pair[1])[:8]


def told(tab: Page) -> list[tuple[str, float]]:
    lines = part(tab, "ranking").locator("button").all()
    texts = [[said(span) for span in line.locator("span").all()] for line in lines]
    return [(text, float(share.removesuffix(" %")) / 100) for text, share in texts]


def test_pointing_and_dragging_rank_the_words_that_look_there(
    tab: Page, data: dict[str, Any], maps: np.ndarray
) -> None:
    tab.mouse.move(*aim(tab, *HOT))
    state(tab)
    expected = ranked(data, maps, (slice(1, 2), slice(4, 5)))
    assert [text for text, _ in told(tab)] == [text for text, _ in expected]
    assert [share for _, share in told(tab)] == pytest.approx([share for _, share in expected], abs=0.006)
    tab.mouse.move(*aim(tab, 3, 5))
    tab.mouse.down()
    tab.mouse.move(*aim(tab, 2, 1), steps=5)
    tab.mouse.up()
    assert state(tab)["region"] == {"row": 2, "col": 1, "rows": 2, "cols": 5}
    expected = ranked(data, maps, (slice(2, 4), slice(1, 6)))
    assert [text for text, _ in told(tab)] == [text for text, _ in expected]
    assert said(part(tab, "regionTitle")) == "Words that look at rows 2–3, columns 1–5"
    part(tab, "ranking").locator("button").nth(1).click()
    picked = state(tab)["pick"]["tokens"]
    assert [one["tokens"] for one in data["answer"]["words"] if one["text"].strip() == expected[1][0]].count(
        picked
    )
    part(tab, "frame").focus()
    tab.keyboard.press("Escape")
    assert state(tab)["region"] is None
    assert state(tab)["pick"]["tokens"] == picked


def test_keys_mark_a_region(tab: Page, data: dict[str, Any], maps: np.ndarray) -> None:
    word(tab, HOT_TOKEN).click()
    part(tab, "frame").focus()
    for key in ("Home", "Shift+ArrowDown", "Shift+ArrowRight"):
        tab.keyboard.press(key)
    assert state(tab)["region"] == {"row": 1, "col": 4, "rows": 2, "cols": 2}
    expected = ranked(data, maps, (slice(1, 3), slice(4, 6)))
    assert [text for text, _ in told(tab)] == [text for text, _ in expected]
    part(tab, "regionClear").click()
    assert state(tab)["region"] is None


# --- Panels -------------------------------------------------------------------------------------------------


def open_panel(tab: Page, name: str) -> Locator:
    panel = tab.locator(f'[data-panel="{name}"]')
    panel.locator("summary").click()
    state(tab)
    return panel


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


# --- In a page of someone else ------------------------------------------------------------------------------


def embedding(data: dict[str, Any], count: int = 2) -> str:
    """Return a page with several viewers that writes down what they say."""
    assets = viewer.assets()
    escaped = json.dumps(data).replace("<", "\\u003c")
    return f"""<!doctype html><meta charset="utf-8"><title>Page</title><style>{assets["css"]}</style>
        {assets["html"] * count}
        <script>
        const told = [];
        const data = {escaped};
        function start() {{
          {assets["js"]}
          const roots = [...document.querySelectorAll('.lens-viewer')];
          return roots.map((root, index) => mountViewer(root, data, {{
            onPick: (pick) => told.push([index, 'pick', pick]),
            onChange: (change) => told.push([index, 'change', change]),
          }}));
        }}
        const viewers = start();
        </script>"""


def told_to_page(tab: Page) -> list[Any]:
    state(tab)
    return tab.evaluate("told.splice(0)")


def test_a_page_is_told_what_a_person_does_and_can_do_it_too(
    open_html: Open, data: dict[str, Any], capture: Capture
) -> None:
    tab = open_html(embedding(data))
    first, second = tab.locator(".lens-viewer").all()
    first.locator('[data-part="answer"] .lens-word').nth(3).click()
    assert told_to_page(tab) == [[0, "pick", {"tokens": [3], "of_prompt": False, "key": "3"}]]
    second.locator('[data-choices="view"] input[value="wipe"]').check(force=True)
    ((index, kind, change),) = told_to_page(tab)
    assert (index, kind, change["look"]["view"]) == (1, "change", "wipe")
    assert tab.evaluate("viewers.map((one) => [one.state().pick.key, one.state().look.view])") == [
        ["3", "overlay"],
        ["all", "wipe"],
    ]
    tab.evaluate("viewers[1].pick('1-3')")
    assert tab.evaluate("viewers[1].state().pick.tokens") == [1, 2, 3]
    assert told_to_page(tab) == []  # it was not a person who picked
    first.locator('[data-panel="heads"] summary').click()
    wanted = {"want": "heads", "pick": {"tokens": [3], "of_prompt": False, "key": "3"}}
    assert told_to_page(tab) == [[0, "change", wanted]]
    tab.evaluate("(heads) => viewers[0].update({heads})", viewer.heads_payload(capture, [3]))
    canvas = first.locator('[data-part="headsCanvas"]')
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        tab.keyboard.press(key)
    assert told_to_page(tab) == [[0, "change", {"layer": RECORDED[0], "head": 1}]]


def test_maps_of_one_head_replace_those_of_all_and_keep_what_was_picked(
    open_html: Open, data: dict[str, Any], capture: Capture
) -> None:
    tab = open_html(embedding(data, 1))
    word(tab, 4).click()
    slide(tab, "opacity", 0.3)
    only, only_prompt = attention_of(capture, [2], [1])
    narrow = viewer.payload(capture, Image.new("RGB", (350, 200), GREY), only, only_prompt)
    tab.evaluate("(next) => viewers[0].update(next)", narrow)
    now = state(tab)
    assert (now["pick"]["key"], now["look"]["opacity"]) == ("4", 0.3)
    assert np.abs(np.reshape(now["values"], GRID) - only.maps[4]).max() < 1e-5
    assert said(part(tab, "made")) == "attention · layer 2 · head 1 · mean"
    other = narrow | {"answer": narrow["answer"] | {"text": "Another."}, "pick": "2"}
    tab.evaluate("(next) => viewers[0].update(next)", other)
    assert state(tab)["pick"]["key"] == "2"
    tab.evaluate("viewers[0].destroy()")
    word(tab, 0).click()
    assert tab.evaluate("viewers[0].state().pick.key") == "2"


def test_an_empty_answer_and_a_question_without_maps_say_so(open_html: Open, capture: Capture) -> None:
    empty: dict[str, Any] = {"token_ids": (), "tokens": (), "text": "", "token_spans": ()}
    for name in ("attention", "shares", "logprobs"):
        empty[name] = getattr(capture, name)[:0]
    blank = made_capture(**empty)
    prompt_maps = token_maps("attention", blank, of_prompt=True)
    picture = Image.new("RGB", (70, 50), GREY)
    tab = open_html(viewer.report(viewer.payload(blank, picture, None, prompt_maps)))
    assert said(part(tab, "caption")) == "The answer is empty: there is no word to show."
    word(tab, 0, "prompt").click()
    assert state(tab)["values"] == pytest.approx(prompt_maps.maps[0].ravel().tolist(), rel=1e-3)
    tab = open_html(viewer.report(viewer.payload(capture, picture, maps_of(np.ones((TOKENS, *GRID))))))
    assert said(part(tab, "prompt")) == capture.prompt
    assert part(tab, "prompt").locator(".lens-word").count() == 0
    word(tab, 0).click()  # a map of one value: no range to colour
    assert said(part(tab, "ticks")) == "100 %"
    assert said(part(tab, "value")) == "Highest at row 0, column 0: 100 %"


# --- What was written by others -----------------------------------------------------------------------------


def test_texts_never_become_markup_and_injected_scripts_do_not_run(
    browser: Browser, capture: Capture, tmp_path: Path
) -> None:
    evil = '</script><img src=x onerror="window.hacked=1"><script>window.hacked=2</script>'
    changed = {"tokens": (evil, *capture.tokens[1:]), "text": evil, "model_name": evil, "prompt": evil}
    spans = {
        "token_spans": ((0, len(evil)), *[(len(evil), len(evil))] * (TOKENS - 1)),
        "prompt_token_spans": ((0, len(evil)),) * PROMPT_TOKENS,
    }
    picture = Image.new("RGB", (70, 50), GREY)
    made = viewer.payload(made_capture(**changed, **spans), picture, maps_of(np.ones((TOKENS, *GRID))))
    file = tmp_path / "report.html"
    file.write_text(viewer.report(made), "utf-8")
    tab = browser.new_page()
    errors: list[str] = []
    tab.on("console", lambda message: errors.append(message.text))
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(file.as_uri())
    tab.wait_for_function("document.querySelector('.lens-viewer').viewer?.state().frames > 0")
    choose(tab, "granularity", "tokens")
    assert evil in said(part(tab, "answer"))
    assert tab.locator("img, iframe").count() == 0
    assert errors == []
    tab.evaluate(
        """() => { const script = document.createElement('script'); script.textContent = 'window.hacked = 3';
             document.body.append(script);
             const image = document.createElement('img'); image.setAttribute('onerror', 'window.hacked = 4');
             image.src = 'data:,'; document.body.append(image);
             fetch('https://example.com/').catch(() => {}); }"""
    )
    tab.wait_for_function("document.images[0].complete")
    assert tab.evaluate("window.hacked") is None
    assert len([text for text in errors if "Content Security Policy" in text]) >= 3
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    tab.close()


# --- Speed --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def big() -> dict[str, Any]:
    return large_payload()


@pytest.mark.parametrize("cells", ["cells", "smooth"])
def test_a_pick_and_a_hover_are_drawn_in_the_very_next_frame(
    open_html: Open, big: dict[str, Any], cells: str
) -> None:
    tab = open_html(viewer.report(big))
    choose(tab, "cells", cells)
    tab.locator('[data-panel="shares"] summary').click()
    words, late = tab.evaluate(
        """async () => {
             const { viewer } = document.querySelector('.lens-viewer');
             const words = [...document.querySelectorAll('[data-part="answer"] .lens-word')];
             const next = () => new Promise((done) => requestAnimationFrame(done));
             const over = () => new PointerEvent('pointerover', { bubbles: true, pointerType: 'mouse' });
             let late = 0;
             const drawn = async (act) => {
               const before = viewer.state().frames;
               act();
               await next();
               late += viewer.state().frames === before;
             };
             for (let i = 0; i < 40; i++) await drawn(() => words[(i * 7) % words.length].click());
             for (const word of words) await drawn(() => word.dispatchEvent(over()));
             return [words.length, late];
           }"""
    )
    assert (words, late) == (LARGE_TOKENS, 0)
