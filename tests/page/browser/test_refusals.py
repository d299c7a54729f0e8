"""The page in a browser: what cannot be done."""

from pathlib import Path

import pytest
from playwright.sync_api import (
    Dialog,
)
from playwright.sync_api import Page as Tab

from tests.page.browser.kit import ask, choose, problem, recent, typed, upload
from tests.seeing import part, state
from tests.serving import PROMPT

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_what_cannot_be_answered_is_one_line(tab: Tab, files: Path) -> None:
    def refused(line: str) -> None:
        tab.click("#generate")
        problem(tab, line)
        toast = tab.locator(".toast-body", has_text=line).last
        toast.wait_for()
        for text in (tab.inner_text("#problem"), toast.inner_text()):
            assert "Traceback" not in text
            assert str(files) not in text
        assert "\n" not in tab.inner_text("#problem").strip()

    refused("Choose a picture first.")
    upload(tab, files / "a.png")
    tab.fill("#prompt textarea", "")
    refused("Type a question first.")
    tab.fill("#prompt textarea", "x" * 100_000)
    refused("The question has 100,000 characters; at most 4,000 are allowed.")
    tab.fill("#prompt textarea", "what is <|image_pad|> here?")
    refused("The prompt may not contain the control token <|image_pad|>")
    assert tab.is_hidden("#viewer .lens-viewer")
    upload(tab, files / "text.png")
    tab.fill("#prompt textarea", PROMPT)
    refused("The file is not a picture in a format that is read")


def test_text_never_becomes_html(tab: Tab, files: Path) -> None:
    nasty = "<img src=x onerror=alert(1)> ${alert(2)} {{7*7}} `x` </script>"
    dialogs: list[str] = []

    def on_dialog(dialog: Dialog) -> None:
        dialogs.append(dialog.message)
        dialog.dismiss()

    tab.on("dialog", on_dialog)
    tab.fill("#prompt textarea", nasty)
    ask(tab, files / "a.png", tokens=2)
    assert part(tab, "prompt").text_content() == nasty
    assert recent(tab).locator(".prompt").first.text_content() == nasty
    part(tab, "prompt").locator(".lens-word").first.click()
    tab.locator("[data-panel=leaned] summary").click()
    state(tab)
    choose(tab, "#model", "Qwen/Qwen2.5-VL-7B-Instruct")
    typed(tab, "#model", "<img src=x onerror=alert(3)>${alert(4)}{{7*7}}")
    tab.click("#load")
    tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
    assert (
        tab.locator("#status img, .toast-body img[src=x], .lens-viewer img, .recent img[src=x]").count() == 0
    )
    assert dialogs == []
