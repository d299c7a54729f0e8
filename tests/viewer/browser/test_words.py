"""The viewer in a browser: picking words; where in the picture."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

import viewer
from tests.attention_processor.kit import GRID, TOKENS
from tests.seeing import choose, part, said, state, word
from tests.viewer.browser.kit import HOT, HOT_TOKEN, Open, aim, ranked, told

# --- Picking words ---


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


# --- Where in the picture ---


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
