"""The page in a browser: models and visitors."""

from pathlib import Path

import pytest

from page.site import Page
from tests.page.browser.kit import (
    NEW,
    OpenTab,
    answer_to,
    answered,
    ask,
    becomes,
    choose,
    expect_map,
    generate,
    picked,
    prepare,
    problem,
    recent,
    set_number,
    shows,
    typed,
)
from tests.seeing import part, said, state, word
from tests.serving import HEADS, LAYERS, noise, served

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_another_model_and_one_that_is_none(
    open_tab: OpenTab, folders: tuple[Path, Path], files: Path
) -> None:
    with served(str(folders[0])) as (_, url):
        tab = open_tab(url)
        ask(tab, files / "a.png", tokens=3)
        for selector, last in (("#layer_to", LAYERS - 1), ("#head_to", HEADS - 1)):
            assert tab.get_attribute(f"{selector} input[type=range]", "max") == str(last)

        def load(name: str) -> None:
            typed(tab, "#model", name)
            tab.click("#load")

        load(str(folders[1]))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('2 layers × 6 heads')")
        tab.wait_for_function("document.querySelector('#head_to input[type=range]').max === '5'")
        assert tab.get_attribute("#layer_to input[type=range]", "max") == "1"
        shows(tab, "#head_to", 5)
        tab.wait_for_selector("#viewer .lens-viewer", state="hidden")
        load(str(files))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
        assert "\n" not in tab.inner_text("#status").strip()
        generate(tab)
        assert "heads 0–5" in said(part(tab, "made"))
        recent(tab).nth(1).click()  # of the first model: its sliders come back
        shows(tab, "#head_to", HEADS - 1)
        tab.wait_for_function("document.querySelector('[data-part=made]').textContent.includes('heads 0–3')")


def test_two_visitors_wait_for_their_turn_and_each_see_their_own(
    open_tab: OpenTab, site: tuple[Page, str], files: Path, slowly: None
) -> None:
    one, two = open_tab(), open_tab()
    prepare(one, files / "a.png", 999)
    prepare(two, files / "b.png", NEW + 1)
    one.click("#generate")
    one.wait_for_selector(".answering[data-state=writing]")
    ahead = "document.querySelector('#answering .line').innerText.includes('1 ahead of you')"
    two.click("#generate")
    two.wait_for_function(ahead)
    two.click("#stop")  # who waits need not
    problem(two, "Stopped before the answer began.")
    two.click("#generate")
    two.wait_for_function(ahead)
    assert two.inner_text("#answering .line").startswith("Waiting for the model: 1 ahead of you · ")
    assert two.locator("#answering progress").is_visible()
    assert one.get_attribute(".answering", "data-state") == "writing"
    one.click("#stop")
    answered(two)
    answered(one)
    expected = answer_to(site[0], noise(1), tokens=NEW + 1)
    assert part(two, "answer").text_content() == expected.text
    choose(two, "#token", 'token 0 "')
    becomes(two, "pick.key", "0")
    expect_map(two, expected, 0)
    before, pick = state(two)["values"], picked(two)
    word(one, 1).click()
    set_number(one, "#layer_from", 1)
    one.wait_for_function("document.querySelector('[data-part=made]').textContent.includes('layers 1–2')")
    assert (state(two)["values"], picked(two)) == (before, pick)
    assert "layers 0–2" in said(part(two, "made"))
    for each in (one, two):
        assert recent(each).count() == 1
