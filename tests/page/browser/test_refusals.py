"""The page in a browser: what cannot be done."""

import threading
from pathlib import Path

import pytest
from playwright.sync_api import (
    Dialog,
)
from playwright.sync_api import Page as Tab

import page.sources
from tests.page.browser.kit import PATIENCE, ask, choose, panel, problem, recent, typed, upload
from tests.seeing import part, state

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_what_cannot_be_answered_is_one_line(tab: Tab, files: Path) -> None:
    def refused(line: str) -> None:
        tab.click("#generate")
        problem(tab, line)
        text = part(tab, "notice").inner_text()
        assert "Traceback" not in text
        assert str(files) not in text
        assert "\n" not in text.strip()
        assert tab.locator(".toast-body").count() == 0  # said once
        assert tab.locator(".lens-viewer").get_attribute("data-phase") in ("answered", "stale")

    before = part(tab, "words").text_content()
    upload(tab, files / "a.png")
    tab.fill("#prompt textarea", "")
    refused("Type a question first.")
    tab.fill("#prompt textarea", "x" * 100_000)
    refused("The question has 100,000 characters; at most 4,000 are allowed.")
    tab.fill("#prompt textarea", "what is <|image_pad|> here?")
    refused("The prompt may not contain the control token <|image_pad|>")
    assert part(tab, "words").text_content() == before  # the answer that is there stays


def test_the_same_refusal_is_told_again(tab: Tab, files: Path) -> None:
    line = "Type a question first."
    upload(tab, files / "a.png")
    tab.fill("#prompt textarea", " ")
    for example in (3, 4):
        tab.click("#generate")
        problem(tab, line)
        tab.locator("#image .thumb").nth(example).click()
        problem(tab, "This answer is about ")
        tab.fill("#prompt textarea", " ")


def test_what_is_found_of_a_file_later_leaves_a_refusal_where_it_is(
    tab: Tab, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, go = page.sources._address, threading.Event()

    def late(file: Path) -> str:
        assert go.wait(PATIENCE / 1000)
        return str(address(file))

    monkeypatch.setattr(page.sources, "_address", late)
    upload(tab, files / "a.png")
    tab.fill("#prompt textarea", " ")
    tab.click("#generate")
    problem(tab, "Type a question first.")
    go.set()
    tab.wait_for_selector("#image .thumb[title='a.png'] img:not([src^=blob])", state="attached")
    problem(tab, "Type a question first.")


def test_text_never_becomes_html(tab: Tab, files: Path) -> None:
    nasty = "<img src=x onerror=alert(1)> ${alert(2)} {{7*7}} `x` </script>"
    dialogs: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    tab.on("dialog", on_dialog)
    tab.fill("#prompt textarea", nasty)
    ask(tab, files / "a.png", tokens=2)
    assert recent(tab).locator(".prompt").first.text_content() == nasty
    tab.keyboard.press("Escape")
    panel(tab, "shares")
    assert part(tab, "prompt").text_content() == nasty
    part(tab, "prompt").locator(".lens-word").first.click()
    state(tab)
    choose(tab, "#model", "Qwen/Qwen2.5-VL-7B-Instruct")
    typed(tab, "#model", "<img src=x onerror=alert(3)>${alert(4)}{{7*7}}")
    tab.click("#load")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
    assert (
        tab.locator(
            "#status img, .toast-body img[src=x], .lens-viewer img[src=x], .recent img[src=x]"
        ).count()
        == 0
    )
    assert dialogs == []


def test_a_file_that_is_no_picture_is_said_so_at_once_and_is_gone(tab: Tab, files: Path) -> None:
    before = tab.locator("#image .thumb").count()
    tab.set_input_files("#image input[type=file]", str(files / "text.png"))
    tab.wait_for_function("document.querySelector('.sources-line').textContent.startsWith('text.png: ')")
    assert "not a picture" in tab.inner_text(".sources-line")
    assert tab.locator("#image .thumb").count() == before
    assert tab.locator("#image .thumb[aria-pressed=true]").count() == 1  # what was chosen before
    assert tab.get_attribute(".lens-viewer", "data-phase") == "answered"
    tab.locator("#image .thumb").nth(3).click()
    tab.wait_for_function("document.querySelector('.sources-line').textContent === ''")
    tab.set_input_files("#image input[type=file]", str(files / "text.png"))  # the same once more
    tab.wait_for_function("document.querySelector('.sources-line').textContent.startsWith('text.png: ')")
    assert tab.locator("#image .thumb").count() == before


def test_a_typed_question_stays_where_an_examples_own_would_not(tab: Tab) -> None:
    field = tab.locator("#prompt textarea")
    tab.locator("#image .thumb").nth(3).click()
    own = tab.locator("#image .thumb").nth(3).get_attribute("aria-label") or ""
    tab.wait_for_function(
        "text => document.querySelector('#prompt textarea').value === text", arg=own.removeprefix("Example: ")
    )
    field.fill("Is there anything red here?")
    tab.locator("#image .thumb").nth(4).click()
    tab.wait_for_timeout(500)  # for what must not come
    assert field.input_value() == "Is there anything red here?"


@pytest.mark.parametrize("place", ["#model", "#token"])
def test_a_list_closes_when_it_is_left_with_tab(tab: Tab, place: str) -> None:
    tab.locator(f"{place} input").focus()
    tab.wait_for_selector(f"{place} ul[role=listbox]")
    tab.keyboard.press("Tab")
    tab.wait_for_selector(f"{place} ul[role=listbox]", state="detached")
    assert tab.evaluate("document.activeElement !== document.body")
    assert not tab.evaluate("place => document.querySelector(place).contains(document.activeElement)", place)
