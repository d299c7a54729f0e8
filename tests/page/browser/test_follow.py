"""The page in a browser: a follow-up under the answer, and the turns of a conversation."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page as Tab

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import NEW, ask, generate, reads, says, upload
from tests.page.browser.test_accessible import in_both_themes
from tests.seeing import draws, part, said
from tests.serving import PROMPT, noise

pytestmark = [
    pytest.mark.timeout(600),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
MORE, LAST = "Where is it?", "Is this one alike?"  # of which the random model says what can be read again


@pytest.fixture(scope="module")
def turns(site: tuple[Page, str]) -> tuple[Capture, ...]:
    """Three turns, the last with another picture, answered without the page."""
    loaded = site[0].room.loaded
    assert loaded is not None
    extractor = AttentionExtractor(loaded.model, loaded.processor)
    first = extractor.generate(noise(0), PROMPT, max_new_tokens=NEW)
    second = extractor.generate([], MORE, max_new_tokens=NEW, history=[first])
    return first, second, extractor.generate(noise(1), LAST, max_new_tokens=NEW, history=[second])


def follow_up(tab: Tab, question: str) -> None:
    """Type the next question, and wait for its answer."""
    count = part(tab, "turns").locator("li").count()
    tab.locator("#prompt textarea").fill(question)
    generate(tab)
    tab.wait_for_function(
        "count => document.querySelectorAll('[data-part=turns] li').length === count", arg=count + 1
    )


def lines(tab: Tab) -> list[str]:
    return [said(one) for one in part(tab, "turns").locator("li").all()]


def question_of(tab: Tab) -> str:
    return tab.locator("#prompt textarea").input_value()


def top_of(tab: Tab, place: str) -> float:
    box = tab.locator(place).bounding_box()
    assert box is not None
    return box["y"]


def expect_whole(tab: Tab, capture: Capture) -> None:
    """Wait for the map of the whole answer, worked out directly, on the first picture."""
    tab.keyboard.press("Escape")
    every = list(range(len(capture.token_ids)))
    truth = AttentionProcessor(capture).get_attention_heatmap_for_token(every, visual=0)
    draws(tab, truth, within=float(np.ptp(truth)) * 0.02)


def test_a_conversation(tab: Tab, files: Path, turns: tuple[Capture, ...]) -> None:
    first, second, third = turns
    ask(tab, files / "a.png")
    assert part(tab, "turns").is_hidden()
    words, box = top_of(tab, "[data-part=words]"), top_of(tab, "#question")
    assert box < words
    part(tab, "follow").click()
    assert top_of(tab, "#question") > top_of(tab, "[data-part=words]")  # it goes on at the end
    assert (question_of(tab), lines(tab)) == ("", [PROMPT])
    assert tab.evaluate("document.activeElement.closest('#prompt') !== null")
    assert tab.locator("#image .thumb[aria-pressed=true]").count() == 0
    follow_up(tab, MORE)
    reads(tab, second.text)
    assert lines(tab) == [f"{PROMPT} {first.text}", MORE]
    assert question_of(tab) == ""
    expect_whole(tab, second)
    upload(tab, files / "b.png")
    follow_up(tab, LAST)
    reads(tab, third.text)
    assert tab.locator(".lens-visual").count() == 2
    assert tab.locator("#image .thumb[aria-pressed=true]").count() == 0
    part(tab, "turns").locator("button").nth(0).click()
    reads(tab, first.text)
    assert lines(tab) == [PROMPT, f"{MORE} {second.text}", f"{LAST} {third.text}"]
    assert top_of(tab, "#question") < top_of(tab, "[data-part=words]")
    assert question_of(tab) == PROMPT
    expect_whole(tab, first)
    part(tab, "turns").locator("button").nth(1).click()
    reads(tab, third.text)
    assert lines(tab) == [f"{PROMPT} {first.text}", f"{MORE} {second.text}", LAST]


def test_a_new_question_stands_alone(tab: Tab, files: Path, turns: tuple[Capture, ...]) -> None:
    ask(tab, files / "a.png")
    part(tab, "follow").click()
    tab.locator("#prompt textarea").press("Escape")
    tab.wait_for_function(
        "question => document.querySelector('#prompt textarea').value === question", arg=PROMPT
    )
    assert top_of(tab, "#question") < top_of(tab, "[data-part=words]")
    assert part(tab, "turns").is_hidden()
    assert tab.locator("#image .thumb[aria-pressed=true]").get_attribute("title") == "a.png"
    part(tab, "follow").click()
    follow_up(tab, MORE)
    part(tab, "follow").click()
    tab.wait_for_function(
        "question => document.querySelector('#prompt textarea').value === question", arg=MORE
    )
    generate(tab)
    part(tab, "turns").wait_for(state="hidden")


def test_what_is_typed_meanwhile_stays(tab: Tab, files: Path, turns: tuple[Capture, ...]) -> None:
    ask(tab, files / "a.png")
    part(tab, "follow").click()
    box = tab.locator("#prompt textarea")
    box.fill(MORE)
    tab.click("#generate")
    box.fill("And then?")
    reads(tab, turns[1].text)
    tab.wait_for_selector("#generate")
    assert question_of(tab) == "And then?"


def test_a_refused_follow_up_leaves_the_conversation(
    tab: Tab, files: Path, turns: tuple[Capture, ...]
) -> None:
    ask(tab, files / "a.png")
    part(tab, "follow").click()
    tab.locator("#prompt textarea").fill("a <|image_pad|>")
    tab.click("#generate")
    says(tab, "notice", "control token")
    assert lines(tab) == [PROMPT]
    assert question_of(tab) == "a <|image_pad|>"
    reads(tab, turns[0].text)


def test_axe_finds_nothing_in_a_conversation(tab: Tab, files: Path, turns: tuple[Capture, ...]) -> None:
    ask(tab, files / "a.png")
    part(tab, "follow").click()
    follow_up(tab, MORE)
    assert in_both_themes(tab, "light", "conversation") == []
