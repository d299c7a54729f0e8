"""The page in a browser: another method is chosen, waited for and stopped, and the shown map is tested."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import Page as Tab
from playwright.sync_api import expect

import page.reading_again as reading_room
from evaluation.removal import check_map
from methods import METHODS, TokenMaps, token_maps, top_heads
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    NEW,
    answer_to,
    ask,
    becomes,
    map_changes,
    says,
    words_of,
)
from tests.page.methods.kit import Held, loaded_of
from tests.seeing import draws, part, said, state, word
from tests.serving import noise

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Held:
    return Held(monkeypatch)


def computed(site: tuple[Page, str], capture: Capture, way: str) -> TokenMaps:
    """Return a method's maps, without the page."""
    return token_maps(way, capture, image=noise(0), **loaded_of(site[0].room))


def choose_method(tab: Tab, way: str) -> None:
    """Choose one of the first three, or one under More."""
    button = part(tab, "methods").locator(f'input[value="{way}"]')
    if not button.locator("xpath=..").is_visible():
        tab.click("[data-opens=methods]")
    button.click(force=True)


def is_chosen(tab: Tab, way: str) -> None:
    """Wait until the maps of a method are those that are shown."""
    tab.wait_for_function(
        "way => document.querySelector('.lens-viewer').viewer.state().wanted?.method === way", arg=way
    )
    expect(part(tab, "methods").locator(f'input[value="{way}"]')).to_be_checked()


def expect_shown(tab: Tab, maps: np.ndarray, tokens: list[int]) -> None:
    """Wait until the mean of some maps (token, h, w) is drawn, as exactly as the browser was told."""
    becomes(tab, "pick.tokens", tokens)
    step = max(float(np.ptp(maps[token])) for token in tokens) / 65535
    truth = maps[tokens].astype(np.float64).mean(axis=0)
    draws(tab, truth, step + 1e-8)


def test_methods_are_chosen_shown_and_kept(
    tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tab, files / "a.png")
    word(tab, 0).click()
    first = list(words_of(direct)[0])
    attention = token_maps("attention", direct)
    expect_shown(tab, attention.maps, first)

    map_changes(tab, lambda: choose_method(tab, "heads-3"))  # under More; read nothing again
    is_chosen(tab, "heads-3")
    expect_shown(tab, token_maps("attention", direct, pairs=top_heads(direct, 3)).maps, first)
    assert "3 most local heads" in said(part(tab, "made"))
    assert METHODS["heads-3"].short in said(tab.locator("[data-opens=methods]"))

    tam = computed(site, direct, "tam")
    map_changes(tab, lambda: choose_method(tab, "tam"))
    is_chosen(tab, "tam")
    part(tab, "work").wait_for(state="hidden")
    for index, tokens in enumerate(words_of(direct)):
        word(tab, index).click()
        expect_shown(tab, tam.maps, list(tokens))
    part(tab, "whole").click()
    expect_shown(tab, tam.maps, list(range(NEW)))

    map_changes(tab, lambda: choose_method(tab, "attention"))
    expect_shown(tab, attention.maps, list(range(NEW)))
    monkeypatch.setattr(reading_room, "token_maps", None)  # from here on nothing is computed
    map_changes(tab, lambda: choose_method(tab, "tam"))
    is_chosen(tab, "tam")
    expect_shown(tab, tam.maps, list(range(NEW)))


def test_a_method_tells_how_far_it_is_and_can_be_stopped(
    tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, held: Held
) -> None:
    ask(tab, files / "a.png")
    word(tab, 0).click()
    first, attention = list(words_of(direct)[0]), token_maps("attention", direct).maps
    choose_method(tab, "occlusion")
    says(tab, "workSteps", "3 of 11")
    expect_shown(tab, attention, first)  # until the other is there
    part(tab, "workStop").click()
    part(tab, "work").wait_for(state="hidden")
    is_chosen(tab, "attention")  # and the page says so
    expect_shown(tab, attention, first)
    assert not site[0].room.busy

    held.go.set()
    map_changes(tab, lambda: choose_method(tab, "occlusion"))
    is_chosen(tab, "occlusion")
    part(tab, "work").wait_for(state="hidden")
    expect_shown(tab, computed(site, direct, "occlusion").maps, first)
    assert state(tab)["range"][0] < 0  # a word can become likelier


def test_another_method_chosen_meanwhile_is_the_one_that_stays(
    tab: Tab, site: tuple[Page, str], files: Path, held: Held
) -> None:
    ask(tab, files / "b.png")  # of the other, these maps may be known by now
    direct = answer_to(site[0], noise(1))
    word(tab, 0).click()
    choose_method(tab, "occlusion")
    says(tab, "workSteps", "3 of 11")
    map_changes(tab, lambda: choose_method(tab, "heads-5"))
    is_chosen(tab, "heads-5")
    held.go.set()
    part(tab, "work").wait_for(state="hidden")
    tab.wait_for_timeout(600)  # for what must not come
    is_chosen(tab, "heads-5")
    local = token_maps("attention", direct, pairs=top_heads(direct, 5))
    expect_shown(tab, local.maps, list(words_of(direct)[0]))
    assert not site[0].room.busy


def test_the_shown_map_is_tested(tab: Tab, site: tuple[Page, str], files: Path, direct: Capture) -> None:
    ask(tab, files / "a.png")
    tokens = list(words_of(direct)[0])
    word(tab, 0).click()
    map_changes(tab, lambda: choose_method(tab, "tam"))
    is_chosen(tab, "tam")
    part(tab, "work").wait_for(state="hidden")
    says(tab, "test", "Test it")
    part(tab, "test").click()
    tab.wait_for_selector("[data-part=test]:is([data-state=holds], [data-state=partly], [data-state=fails])")
    loaded = loaded_of(site[0].room)
    heat = computed(site, direct, "tam").token_map(tokens)
    check = check_map(loaded["model"], loaded["processor"], noise(0), direct, tokens, heat)
    assert said(part(tab, "testTitle")) == check.as_dict()["sentences"][0]
    assert check.verdict in said(part(tab, "test"))
    assert part(tab, "tries").locator("canvas").count() >= 3
    word(tab, 1).click()  # what was found of one word is not said of another
    says(tab, "test", "Test it")
    assert part(tab, "tries").is_hidden()
    word(tab, 0).click()
    assert check.verdict in said(part(tab, "test"))


def test_words_of_the_question_are_not_tested(tab: Tab, files: Path) -> None:
    ask(tab, files / "a.png")
    tab.click("[data-tab=shares]")
    word(tab, 0, "prompt").click()
    becomes(tab, "pick.of_prompt", True)
    assert part(tab, "test").is_hidden()
    tab.click("[data-tab=test]")
    assert said(part(tab, "testTitle")) == "Pick a word of the answer to test its map."
