"""The page in a browser: the main way through."""

import re
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page as Tab

from attention_processor import AttentionProcessor
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    GRID,
    LISTEN,
    NEW,
    PATIENCE,
    OpenTab,
    allow,
    answered,
    ask,
    becomes,
    choose,
    draw_alone,
    expect_map,
    first_pick,
    forgotten,
    key_of,
    labels,
    listed,
    map_changes,
    map_of,
    panel,
    picked,
    prepare,
    ready,
    says,
    typed,
    words_of,
)
from tests.seeing import cell_of, colour, pane_of, part, said, state, word
from tests.seeing import choose as choose_one
from tests.serving import PROMPT

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_from_a_picture_to_a_map(tab: Tab, site: tuple[Page, str], files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    first = first_pick(site[0], direct)
    assert part(tab, "words").text_content() == direct.text
    assert part(tab, "prompt").text_content() == PROMPT
    assert picked(tab) == key_of(first)
    listed(tab, labels(direct)[key_of(first)])
    expect_map(tab, direct, first)
    share = 100 * AttentionProcessor(direct).shares(first)[0]
    assert re.search(rf"\b({share:.1f}|{share:.0f}) % of its attention on the image", said(part(tab, "said")))
    assert said(part(tab, "made")).startswith("attention · layers 0–2 · heads 0–3 · mean")
    truth = map_of(direct, first)
    hottest = divmod(int(truth.argmax()), GRID[1])
    place = f"row {hottest[0] + 1}, column {hottest[1] + 1}"
    assert f"; hottest at {place}: " in (part(tab, "picture").get_attribute("aria-label") or "")
    assert said(part(tab, "value")) == place
    draw_alone(tab)
    drawn = pane_of(tab, "heatmap")
    assert (cell_of(drawn, *hottest, GRID) == colour(1)).all()
    shares = (truth - truth.min()) / np.ptp(truth)
    for row, col in np.ndindex(GRID):
        near = [colour(max(0, shares[row, col] + step)) for step in (-1 / 256, 0, 1 / 256)]
        inside = cell_of(drawn, row, col, GRID)
        assert any((inside == one).all() for one in near), (row, col)


def test_hovering_previews_and_a_click_keeps(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    words = words_of(direct)
    word(tab, 0).click()
    tab.mouse.move(2, 2)
    assert (picked(tab), state(tab)["shown"]) == (key_of(words[0]), key_of(words[0]))
    word(tab, 2).hover()
    assert (picked(tab), state(tab)["shown"]) == (key_of(words[0]), key_of(words[2]))
    expect_map(tab, direct, words[2])
    tab.mouse.move(2, 2)
    expect_map(tab, direct, words[0])
    listed(tab, labels(direct)[key_of(words[0])])
    word(tab, 2).click()
    tab.mouse.move(2, 2)
    expect_map(tab, direct, words[2])
    listed(tab, labels(direct)[key_of(words[2])])
    assert word(tab, 2).get_attribute("aria-selected") == "true"


def test_viewer_and_list_are_in_step(tab: Tab, files: Path, direct: Capture, watches: Any) -> None:
    ask(tab, files / "a.png")
    named, words = labels(direct), words_of(direct)
    asked = list(watches[tab].asked)
    for tokens in (words[-1], words[0]):
        word(tab, words.index(tokens)).click()
        listed(tab, named[key_of(tokens)])
        expect_map(tab, direct, tokens)
    panel(tab, "shares")
    word(tab, 0, "prompt").click()
    listed(tab, named["p0-7"])
    expect_map(tab, direct, range(8), of_prompt=True)
    part(tab, "whole").click()
    listed(tab, named["all"])
    expect_map(tab, direct, range(NEW))
    word(tab, 0).click()
    word(tab, 2).click(modifiers=["Shift"])
    span = range(words[0][0], words[2][-1] + 1)
    listed(tab, named.get(key_of(span), key_of(span)))
    expect_map(tab, direct, span)

    choose(tab, "#token", named["p0-7"])
    becomes(tab, "pick.key", "p0-7")
    choose(tab, "#token", named[key_of(words[1])])
    becomes(tab, "pick.key", key_of(words[1]))
    expect_map(tab, direct, words[1])
    assert word(tab, 1).get_attribute("aria-selected") == "true"
    typed(tab, "#token", "3-5")
    becomes(tab, "pick.key", "3-5")
    expect_map(tab, direct, [3, 4, 5])
    assert tab.input_value("#token input") == "3-5"
    choose(tab, "#token", "the whole answer")
    becomes(tab, "pick.key", "all")
    assert watches[tab].asked == asked  # all of this without the server


def test_what_is_no_token_leaves_the_pick_and_is_said(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    word(tab, 1).click()
    key = key_of(words_of(direct)[1])
    for wrong in ("99", "<b>"):
        typed(tab, "#token", wrong)
        says(tab, "notice", f"There is no token {wrong}.")
        assert state(tab)["pick"]["key"] == key
    typed(tab, "#token", "3-5")
    forgotten(tab)
    becomes(tab, "pick.key", "3-5")


def test_keys_walk_over_the_words(tab: Tab, files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    named, words = labels(direct), words_of(direct)
    word(tab, 0).focus()
    for _ in words[1:]:
        tab.keyboard.press("ArrowRight")
    becomes(tab, "pick.key", key_of(words[-1]))  # quick keys end at the word that is marked
    listed(tab, named[key_of(words[-1])])
    expect_map(tab, direct, words[-1])
    tab.keyboard.press("Home")
    tab.keyboard.press("Shift+ArrowRight")
    span = range(words[0][0], words[1][-1] + 1)
    becomes(tab, "pick.key", key_of(span))
    listed(tab, named.get(key_of(span), key_of(span)))
    tab.keyboard.press("Escape")
    becomes(tab, "pick.key", "all")
    listed(tab, named["all"])
    expect_map(tab, direct, range(NEW))


def test_with_the_keyboard_alone(tab: Tab, files: Path, direct: Capture) -> None:
    prepare(tab, files / "a.png")

    def tab_to(condition: str, most: int = 40) -> None:
        """Press Tab until the element with the focus is the one."""
        for _ in range(most):
            tab.keyboard.press("Tab")
            if tab.evaluate(f"(() => {{ const at = document.activeElement; return {condition}; }})()"):
                return
        raise AssertionError(f"Tab does not come to {condition}")

    tab.locator("#prompt textarea").focus()
    tab_to("at.closest('#generate')")
    tab.evaluate(LISTEN)
    tab.keyboard.press("Enter")
    answered(tab)
    tab_to("at.matches('[data-part=words] .lens-word')")
    start = picked(tab)
    number = [key_of(one) for one in words_of(direct)].index(start)
    key, step = ("ArrowRight", 1) if number + 1 < len(words_of(direct)) else ("ArrowLeft", -1)
    tab.keyboard.press(key)
    expect_map(tab, direct, words_of(direct)[number + step])
    tab_to("at.closest('#token')")
    tab.keyboard.press("Control+A")
    tab.keyboard.type("the whole")
    tab.wait_for_function("document.querySelectorAll('#token ul[role=listbox] li').length === 1")
    tab.keyboard.press("Enter")
    becomes(tab, "pick.key", "all")
    tab_to("at.matches('[data-tab]')")
    tab.keyboard.press("ArrowRight")
    becomes(tab, "tab", "heads")
    tab_to("at.matches('[data-axis=layers]')")
    tab.keyboard.type("1-2")
    tab.keyboard.press("Enter")
    says(tab, "made", "layers 1–2 · heads 0–3 · mean")
    expect_map(tab, direct, range(NEW), [1, 2])
    tab_to("at.matches('[data-part=headsCanvas]')")
    tab.keyboard.press("ArrowRight")
    assert said(part(tab, "headsValue")).startswith("all layers, head 0: ")
    tab_to("at.closest('[data-choices=view]')")
    tab.keyboard.press("ArrowRight")
    becomes(tab, "look.view", "spotlight")
    tab_to("at.matches('[data-part=frame]')")
    tab.keyboard.press("Home")
    row, col = divmod(int(map_of(direct, range(NEW), [1, 2]).argmax()), GRID[1])
    assert state(tab)["cursor"] == {"row": row, "col": col}


def test_stop_keeps_what_is_there(tab: Tab, site: tuple[Page, str], files: Path, slowly: None) -> None:
    prepare(tab, files / "a.png", 1000)
    assert tab.is_hidden("#stop")
    tab.evaluate(LISTEN)
    tab.click("#generate")
    tab.wait_for_selector('.lens-viewer[data-phase="writing"]')
    tab.wait_for_function("document.querySelector('[data-part=words]').textContent.length > 3")
    assert part(tab, "progress").is_visible()
    assert re.fullmatch(r"\d+ tokens?", said(part(tab, "waitingTitle")))
    assert re.search(r"\d\.\d s", said(part(tab, "waitingTime")))
    assert tab.is_hidden("[data-part=tabs]")
    tab.click("#stop")
    answered(tab)
    told = re.match(r"The model was stopped after (\d+) word", said(part(tab, "notice")))
    assert told is not None
    assert part(tab, "words").locator(".lens-word").count() == int(told[1])
    choose_one(tab, "granularity", "tokens")
    assert 1 <= part(tab, "words").locator(".lens-word").count() < 900
    assert tab.is_hidden("#stop")
    assert not site[0].room.busy


def test_maps_of_the_answer_before_that_come_late_leave_the_next_one_as_it_is(
    tab: Tab, files: Path, direct: Capture, waiting: None
) -> None:
    ask(tab, files / "a.png")
    allow(tab, 1000)
    tab.evaluate(LISTEN)
    tab.click("#generate")
    tab.wait_for_selector('.lens-viewer[data-phase="writing"]')
    map_changes(tab, lambda: restrict_unseen(tab, "layers", "1-2"))
    assert set(tab.evaluate("window.phases")) <= {"waiting", "reading", "writing"}
    assert tab.is_hidden("[data-part=tabs]")
    assert part(tab, "progress").is_visible()
    tab.click("#stop")
    answered(tab)


def restrict_unseen(tab: Tab, axis: str, numbers: str) -> None:
    """Ask for maps of these layers or heads, whose fields are hidden."""
    tab.evaluate(
        """([axis, numbers]) => {
             const field = document.querySelector(`[data-axis=${axis}]`);
             field.value = numbers;
             field.dispatchEvent(new Event('change', { bubbles: true }));
           }""",
        [axis, numbers],
    )


def test_leaving_in_the_middle_of_an_answer_frees_everything_and_is_no_error(
    open_tab: OpenTab, site: tuple[Page, str], files: Path, slowly: None
) -> None:
    page, tab = site[0], open_tab()

    def left(answers: int) -> None:
        """Wait until so many answers are kept, and nothing is at work."""
        end = time.monotonic() + PATIENCE / 1000
        while page.room.busy or len(page.sessions) != answers:
            assert time.monotonic() < end, (page.room.busy, len(page.sessions))
            time.sleep(0.1)

    ask(tab, files / "a.png", tokens=2)
    left(1)  # those of the tests before are gone
    allow(tab, 1000)
    tab.click("#generate")
    tab.wait_for_selector('.lens-viewer[data-phase="writing"]')
    tab.reload()
    ready(tab)
    left(1)  # what was written of it, which is shown again
    prepare(tab, files / "a.png", 1000)
    tab.click("#generate")
    tab.wait_for_selector('.lens-viewer[data-phase="writing"]')
    tab.close()
    left(0)


def test_who_asks_before_the_example_is_there_is_answered_about_it(
    tab: Tab, site: tuple[Page, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    example, pressed, first = part(tab, "words").text_content(), threading.Event(), site[0].first

    def late(request: Any) -> Any:
        assert pressed.wait(PATIENCE / 1000)
        return first(request)

    monkeypatch.setattr(site[0], "first", late)
    tab.reload(wait_until="commit")
    tab.click("#generate")
    assert tab.locator("#image").get_attribute("data-value") is None
    pressed.set()
    tab.wait_for_function(
        """example => document.querySelector('.lens-viewer').dataset.phase === 'answered'
             && ![example, ''].includes(document.querySelector('[data-part=words]').textContent)""",
        arg=example,
    )
    assert part(tab, "prompt").text_content() == "Describe this image."
