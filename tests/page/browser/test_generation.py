"""The page in a browser: how an answer comes about."""

from pathlib import Path

import pytest

from page.site import Page
from tests.page.browser.kit import (
    LISTEN,
    NEW,
    Tab,
    allow,
    answered,
    generate,
    menu,
    prepare,
    reads,
    says,
)

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
GIVEN = "Two red birds."
# From now on: how many numbers and texts Gradio copies, one call each, and how often words are written.
COUNT = """() => {
  const copy = window.copying ??= window.structuredClone;
  Object.assign(window, { copied: 0, written: 0 });
  window.structuredClone = (...given) => {
    window.copied += 1;
    return copy(...given);
  };
}"""


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


def test_a_word_costs_the_browser_little_whatever_the_answer_before_it_was(
    tab: Tab, files: Path, slowly: None
) -> None:
    def give(answer: str) -> None:
        menu(tab, "settings")
        tab.fill("#given textarea", answer)
        labelled(tab, "Explain ↵" if answer else "Ask ↵")
        tab.keyboard.press("Escape")

    prepare(tab, files / "a.png", 1000)
    times, copies = 15, []
    for before in (GIVEN, times * GIVEN):
        give(before)
        generate(tab)
        give("")
        tab.evaluate(LISTEN)
        tab.click("#generate")
        tab.wait_for_selector(".lens-viewer[data-phase=writing]")
        tab.evaluate(COUNT)
        tab.wait_for_function("window.written >= 8")
        copies.append(tab.evaluate("window.copied / window.written"))
        tab.click("#stop")
        answered(tab)
    assert copies[0] > 0
    # More for the list of words alone, not for all that the viewer knows of each.
    assert copies[1] - copies[0] < 5 * (times - 1) * len(GIVEN)
