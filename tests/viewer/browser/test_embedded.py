"""The viewer in a browser: in a page of someone else; what was written by others; speed."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser

import viewer
from methods import token_maps
from records.capture import Capture
from tests.attention_processor.kit import GRID, PROMPT_TOKENS, RECORDED, TOKENS, made_capture
from tests.large import LARGE_TOKENS
from tests.seeing import choose, pane_of, panel, part, said, slide, state, until, word
from tests.viewer.browser.kit import GREY, Open, embedding, told_to_page
from tests.viewer.payload.kit import attention_of, maps_of

# --- In a page of someone else ---


def test_a_page_is_told_what_a_person_does_and_can_do_it_too(
    open_html: Open, data: dict[str, Any], capture: Capture
) -> None:
    tab = open_html(embedding(data))
    first, second = tab.locator(".lens-viewer").all()
    first.locator('[data-part="words"] .lens-word').nth(3).click()
    assert told_to_page(tab) == [[0, "pick", {"tokens": [3], "of_prompt": False, "key": "3"}]]
    second.locator('[data-choices="view"] input[value="wipe"]').check(force=True)
    ((index, kind, change),) = told_to_page(tab)
    assert (index, kind, change["view"]) == (1, "look", "wipe")
    assert tab.evaluate("viewers.map((one) => [one.state().pick.key, one.state().look.view])") == [
        ["3", "overlay"],
        ["all", "wipe"],
    ]
    tab.evaluate("viewers[1].pick('1-3')")
    assert tab.evaluate("viewers[1].state().pick.tokens") == [1, 2, 3]
    assert told_to_page(tab) == []  # it was not a person who picked
    first.locator('[data-tab="heads"]').click()
    assert told_to_page(tab) == [[0, "heads", {"key": "3"}]]
    tab.evaluate("(heads) => viewers[0].update({heads})", viewer.heads_payload(capture, [3]))
    canvas = first.locator('[data-part="headsCanvas"]')
    canvas.focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "Enter"):
        tab.keyboard.press(key)
    ((index, what, wanted),) = told_to_page(tab)
    assert (index, what) == (0, "maps")
    assert (wanted["method"], wanted["layers"], wanted["heads"]) == ("attention", [RECORDED[0]], [1])
    first.locator('[data-tab="test"]').click()
    first.locator('[data-part="test"]').click()
    assert told_to_page(tab) == [[0, "test", {}]]


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
    assert part(tab, "verdict").is_hidden()
    panel(tab, "shares")
    word(tab, 0, "prompt").click()
    assert state(tab)["values"] == pytest.approx(prompt_maps.maps[0].ravel().tolist(), rel=1e-3)
    tab = open_html(viewer.report(viewer.payload(capture, picture, maps_of(np.ones((TOKENS, *GRID))))))
    assert said(part(tab, "prompt")) == capture.prompt
    assert part(tab, "prompt").locator(".lens-word").count() == 0
    panel(tab, "shares")
    assert "Only Fast has maps" in said(part(tab, "promptNote"))
    word(tab, 0).click()  # a map of one value: nothing stands out
    assert said(part(tab, "value")) == "row 1, column 1"
    assert (pane_of(tab, "overlay") == GREY).all()


# --- What was written by others ---


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
    until(tab, "document.querySelector('.lens-viewer').viewer?.state().frames > 0")
    choose(tab, "granularity", "tokens")
    assert evil in said(part(tab, "words"))
    assert tab.locator("img, iframe").count() == 0
    assert errors == []
    tab.evaluate(
        """() => { const script = document.createElement('script'); script.textContent = 'window.hacked = 3';
             document.body.append(script);
             const image = document.createElement('img'); image.setAttribute('onerror', 'window.hacked = 4');
             image.src = 'data:,'; document.body.append(image);
             fetch('https://example.com/').catch(() => {}); }"""
    )
    until(tab, "document.images[0].complete")
    assert tab.evaluate("window.hacked") is None
    assert len([text for text in errors if "Content Security Policy" in text]) >= 3
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    tab.close()


# --- Speed ---


@pytest.mark.parametrize("cells", ["cells", "smooth"])
def test_a_pick_and_a_hover_are_drawn_in_the_very_next_frame(
    open_html: Open, big: dict[str, Any], cells: str
) -> None:
    tab = open_html(viewer.report(big))
    choose(tab, "cells", cells)
    panel(tab, "shares")
    words, late = tab.evaluate(
        """async () => {
             const { viewer } = document.querySelector('.lens-viewer');
             const words = [...document.querySelectorAll('[data-part="words"] .lens-word')];
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
