"""The page in a browser: how an answer comes about."""

from pathlib import Path

import pytest

from page.site import Page
from tests.page.browser.kit import NEW, Tab, allow, generate, menu, prepare, reads, says

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
GIVEN = "Two red birds."


def labelled(tab: Tab, text: str) -> None:
    """Wait until the button that asks says this."""
    tab.wait_for_function("text => document.querySelector('#generate').innerText.trim() === text", arg=text)


def test_an_answer_that_was_written_elsewhere_is_explained(tab: Tab, files: Path) -> None:
    prepare(tab, files / "a.png", NEW)
    menu(tab, "settings")
    said = tab.inner_text("#by_checkpoint")
    assert said.startswith("This checkpoint: drawn, ")  # as it is published
    assert "repetition penalty 1.05" in said
    assert tab.locator("#temperature").count() == 0 or not tab.locator("#temperature").is_visible()
    tab.locator("#generation label", has_text="by my own values").click()
    tab.wait_for_selector("#temperature")
    tab.wait_for_selector("#repetition_penalty")
    tab.locator("#generation label", has_text="as the checkpoint says").click()
    tab.wait_for_selector("#temperature", state="hidden")
    tab.fill("#given textarea", GIVEN)
    labelled(tab, "Explain ↵")
    tab.keyboard.press("Escape")
    generate(tab)
    reads(tab, GIVEN)
    says(tab, "notice", "This answer was given, not written by the model.")
    menu(tab, "settings")
    tab.fill("#given textarea", "")
    labelled(tab, "Ask ↵")


def test_what_an_answer_would_record_is_said_before_it_is_asked(
    tab: Tab, files: Path, site: tuple[Page, str]
) -> None:
    def planned(text: str) -> None:
        tab.wait_for_function("text => document.querySelector('#plan').innerText.includes(text)", arg=text)

    prepare(tab, files / "a.png", NEW)
    planned(f"40 visual tokens, at most {NEW} new ones")
    allow(tab, 3)
    planned("40 visual tokens, at most 3 new ones")
    tab.locator("#image .thumb").nth(1).click()
    planned("72 visual tokens, at most 3 new ones")
    menu(tab, "settings")
    tab.fill("#given textarea", GIVEN)
    loaded = site[0].room.loaded
    assert loaded is not None
    ids = loaded.processor.tokenizer(GIVEN)["input_ids"]
    planned(f"72 visual tokens, at most {len(ids)} new ones")
