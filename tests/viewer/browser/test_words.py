"""The viewer in a browser: picking words; where in the picture."""

from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page

import viewer
from tests.attention_processor.kit import GRID, TOKENS
from tests.seeing import choose, panel, part, said, state, word
from tests.viewer.browser.kit import HOT, HOT_TOKEN, Open, aim, ranked, told

# --- Picking words ---


def test_hovering_previews_and_leaving_goes_back(tab: Page) -> None:
    word(tab, 5).click()
    tab.mouse.move(2, 2)
    assert state(tab)["shown"] == "5"
    word(tab, HOT_TOKEN).hover()
    now = state(tab)
    assert (now["shown"], now["pick"]["key"]) == ("2", "5")
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
    pressed = part(tab, "words").locator('[aria-selected="true"]').all_text_contents()
    assert pressed == ["The", "red", "cat"]
    tab.keyboard.press("Shift+ArrowLeft")
    assert state(tab)["pick"]["key"] == "0-1"
    tab.keyboard.press("Escape")
    now = state(tab)
    assert now["pick"]["key"] == "all"
    assert np.abs(np.reshape(now["values"], GRID) - maps.mean(0)).max() < 1e-6
    assert part(tab, "words").locator('[tabindex="0"]').count() == 1


def test_everything_can_be_reached_by_keys_alone(tab: Page) -> None:
    reached = set()
    word(tab, HOT_TOKEN).click()
    for name in ("test", "heads", "shares", "methods"):
        tab.locator(f'[data-tab="{name}"]').focus()
        tab.keyboard.press("Enter")
        if name == "shares":
            tab.locator('[data-opens="look"]').focus()
            tab.keyboard.press("Enter")
            tab.evaluate("document.activeElement.blur()")
        for _ in range(30):
            tab.keyboard.press("Tab")
            reached.add(
                tab.evaluate(
                    """() => {
                         const at = document.activeElement;
                         return at.dataset.tab || at.dataset.opens
                           || at.closest('[data-choices]')?.dataset.choices
                           || at.dataset.part || at.closest('[data-part]')?.dataset.part || at.tagName;
                       }"""
                )
            )
    controls = {"granularity", "view", "look", "whole", "widen"}
    places = {"words", "prompt", "frame", "tokenPlot", "layerPlot", "headsCanvas", "thumbs", "shares"}
    assert controls | places <= reached


def test_a_menu_that_is_left_by_keys_is_closed(tab: Page) -> None:
    menu = tab.locator('[data-popover="look"]')
    tab.locator('[data-opens="look"]').click()
    reached = set()
    for _ in range(20):
        tab.keyboard.press("Tab")
        reached.add(tab.evaluate("document.activeElement.closest('[data-choices]')?.dataset.choices"))
        reached.add(tab.evaluate("document.activeElement.dataset.part"))
        if menu.is_hidden():
            break
    assert {"cells", "scale", "opacity", "contrast", "colormap", "alone"} <= reached
    assert menu.is_hidden()
    tab.locator('[data-opens="look"]').click()
    part(tab, "alone").focus()
    tab.keyboard.press("Escape")
    assert menu.is_hidden()
    assert tab.evaluate("document.activeElement.dataset.opens") == "look"


def test_a_word_of_several_tokens_and_the_tokens_of_a_word(tab: Page, data: dict[str, Any]) -> None:
    (several,) = (one for one in data["answer"]["words"] if len(one.get("tokens", ())) > 1)
    part(tab, "words").get_by_text(several["text"], exact=True).click()
    assert state(tab)["pick"]["tokens"] == several["tokens"]
    choose(tab, "granularity", "tokens")
    assert part(tab, "words").locator(".lens-word").count() == TOKENS
    assert part(tab, "words").locator('[aria-selected="true"]').count() == len(several["tokens"])
    word(tab, several["tokens"][1]).click()
    assert state(tab)["pick"]["tokens"] == several["tokens"][1:]
    part(tab, "whole").click()
    assert state(tab)["pick"]["key"] == "all"


def test_words_of_the_question_have_their_maps(tab: Page, data: dict[str, Any]) -> None:
    panel(tab, "shares")
    word(tab, 2, "prompt").click()
    now = state(tab)
    assert now["pick"] == {"tokens": [2], "of_prompt": True, "key": "p2"}
    assert max(now["values"]) == pytest.approx(data["prompt"]["maps"]["high"][2], rel=1e-6)
    assert "is part of the question" in said(part(tab, "headline"))
    assert "question token 2" in said(part(tab, "said"))


def test_words_are_underlined_by_how_much_they_needed_the_picture(
    open_html: Open, data: dict[str, Any]
) -> None:
    """Powers of ten between the two probabilities, scaled over the answer."""
    seen = np.array(data["answer"]["logprobs"])
    unseen = seen - np.linspace(0, 6, TOKENS)
    changed = {**data, "answer": {**data["answer"], "without": unseen.tolist()}, "pick": "2"}
    tab = open_html(viewer.report(changed))
    words = [one for one in data["answer"]["words"] if "tokens" in one]
    spoken = [any(map(str.isalnum, one["text"])) for one in words]
    powers = np.array([(seen - unseen)[one["tokens"]].sum() / np.log(10) for one in words])
    low, high = powers[spoken].min(), min(2, powers[spoken].max())
    for index, one in enumerate(words):
        need = word(tab, index).get_attribute("data-need")
        if not spoken[index]:
            assert need is None, one
        else:
            assert need is not None
            assert float(need) == pytest.approx(
                np.clip((powers[index] - low) / (high - low), 0, 1), abs=0.001
            )
    verdict = part(tab, "verdict")
    for name, values in (("with", seen), ("without", unseen)):
        told_value = verdict.get_attribute(f"data-{name}")
        assert told_value is not None
        assert float(told_value) == pytest.approx(np.exp(values[2]), rel=1e-4)


def test_where_the_need_is_not_known_nothing_is_underlined(tab: Page) -> None:
    assert part(tab, "words").locator("[data-need]").count() == 0
    word(tab, 2).click()
    assert "is not known" in said(part(tab, "headline"))
    assert part(tab, "meters").is_hidden()


def test_a_tap_keeps_a_word_and_a_cell(open_html: Open, data: dict[str, Any]) -> None:
    tab = open_html(
        viewer.report(data), has_touch=True, is_mobile=True, viewport={"width": 390, "height": 800}
    )
    word(tab, HOT_TOKEN).tap()
    assert state(tab)["pick"]["key"] == "2"
    tab.touchscreen.tap(*aim(tab, *HOT))
    now = state(tab)
    assert now["region"] == {"row": 1, "col": 4, "rows": 1, "cols": 1}
    assert word(tab, HOT_TOKEN).get_attribute("data-lit") == "1.000"


@pytest.mark.parametrize("width", [1440, 1024, 390])
def test_nothing_is_wider_than_the_window(open_html: Open, data: dict[str, Any], width: int) -> None:
    tab = open_html(viewer.report(data), viewport={"width": width, "height": 900})
    word(tab, HOT_TOKEN).click()
    for name in ("heads", "shares", "methods", "test"):
        panel(tab, name)
        for view in ("side by side", "overlay"):
            choose(tab, "view", view)
            state(tab)
            assert tab.evaluate("document.documentElement.scrollWidth") <= width


# --- Where in the picture ---


def test_pointing_and_dragging_light_the_words_that_look_there(
    tab: Page, data: dict[str, Any], maps: np.ndarray
) -> None:
    tab.mouse.move(*aim(tab, *HOT))
    state(tab)
    expected = ranked(data, maps, (slice(1, 2), slice(4, 5)))
    assert [text for text, _ in told(tab)] == [text for text, _ in expected[:3]]
    assert [share for _, share in told(tab)] == pytest.approx([share for _, share in expected[:3]], abs=0.006)
    most, even = expected[0][1], 1 / np.prod(GRID)
    shades = {text: (share - even) / (most - even) for text, share in expected}
    for index, one in enumerate(one for one in data["answer"]["words"] if "tokens" in one):
        shade = shades.get(one["text"].strip() or one["sign"], 0)
        lit = float(word(tab, index).get_attribute("data-lit") or 0)
        assert lit == pytest.approx(shade if shade >= 0.15 else 0, abs=0.002)
    tab.mouse.move(*aim(tab, 3, 5))
    tab.mouse.down()
    tab.mouse.move(*aim(tab, 2, 1), steps=5)
    tab.mouse.up()
    assert state(tab)["region"] == {"row": 2, "col": 1, "rows": 2, "cols": 5}
    expected = ranked(data, maps, (slice(2, 4), slice(1, 6)))
    assert [text for text, _ in told(tab)] == [text for text, _ in expected[:3]]
    picked = state(tab)["pick"]["tokens"]
    part(tab, "frame").focus()
    tab.keyboard.press("Escape")
    assert state(tab)["region"] is None
    assert state(tab)["pick"]["tokens"] == picked
    tab.mouse.move(2, 2)
    state(tab)
    assert part(tab, "bubble").is_hidden()
    assert part(tab, "words").locator('[data-lit]:not([data-lit="0.000"])').count() == 0


def test_keys_mark_a_region(tab: Page, data: dict[str, Any], maps: np.ndarray) -> None:
    word(tab, HOT_TOKEN).click()
    part(tab, "frame").focus()
    for key in ("Home", "Shift+ArrowDown", "Shift+ArrowRight"):
        tab.keyboard.press(key)
    assert state(tab)["region"] == {"row": 1, "col": 4, "rows": 2, "cols": 2}
    expected = ranked(data, maps, (slice(1, 3), slice(4, 6)))
    assert [text for text, _ in told(tab)] == [text for text, _ in expected[:3]]
    tab.keyboard.press("Escape")
    assert state(tab)["region"] is None


def test_keys_work_wherever_one_is(tab: Page) -> None:
    word(tab, 1).click()
    tab.evaluate("document.activeElement.blur()")
    for key, view in (("2", "spotlight"), ("3", "side by side"), ("4", "wipe"), ("1", "overlay")):
        tab.keyboard.press(key)
        assert state(tab)["look"]["view"] == view
    tab.keyboard.press("ArrowRight")
    assert state(tab)["pick"]["key"] == "2"
    tab.keyboard.press("Shift+ArrowRight")
    assert state(tab)["pick"]["key"] == "2-3"
    tab.locator('[data-tab="heads"]').click()
    tab.evaluate("document.activeElement.blur()")
    tab.keyboard.press("t")  # a file tests nothing: its tab is opened
    assert state(tab)["tab"] == "test"
