"""The page in a browser: models and visitors."""

from pathlib import Path

import pytest

from page.site import Page
from tests.page.browser.kit import (
    LISTEN,
    NEW,
    OpenTab,
    answer_to,
    answered,
    ask,
    becomes,
    choose,
    expect_map,
    generate,
    panel,
    picked,
    prepare,
    problem,
    reads,
    recent,
    restrict,
    says,
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
        panel(tab, "heads")
        says(tab, "made", f"layers 0–{LAYERS - 1} · heads 0–{HEADS - 1}")

        def load(name: str) -> None:
            typed(tab, "#model", name)
            tab.click("#load")

        load(str(folders[1]))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('2 layers × 6 heads')")
        says(tab, "made", f"heads 0–{HEADS - 1}")  # the answer of the first one stays
        load(str(files))
        tab.wait_for_function("document.querySelector('#status').innerText.includes('still in use')")
        assert "\n" not in tab.inner_text("#status").strip()
        generate(tab)
        says(tab, "made", "layers 0–1 · heads 0–5")
        recent(tab).nth(1).click()  # of the first model
        says(tab, "made", f"layers 0–{LAYERS - 1} · heads 0–{HEADS - 1}")


def test_two_visitors_wait_for_their_turn_and_each_see_their_own(
    open_tab: OpenTab, site: tuple[Page, str], files: Path, slowly: None
) -> None:
    one, two = open_tab(), open_tab()
    prepare(one, files / "a.png", 999)
    prepare(two, files / "b.png", NEW + 1)
    one.click("#generate")
    one.wait_for_selector(".lens-viewer[data-phase=writing]")
    two.click("#generate")
    says(two, "waitingTitle", "1 ahead of you")
    two.click("#stop")  # who waits need not
    problem(two, "Stopped before the answer began.")
    for each in (one, two):
        each.evaluate(LISTEN)
    two.click("#generate")
    says(two, "waitingTitle", "1 ahead of you")
    part(two, "progress").wait_for()
    assert one.get_attribute(".lens-viewer", "data-phase") == "writing"
    one.click("#stop")
    answered(two)
    answered(one, 2)
    expected = answer_to(site[0], noise(1), tokens=NEW + 1)
    reads(two, expected.text)
    choose(two, "#token", 'token 0 "')
    becomes(two, "pick.key", "0")
    expect_map(two, expected, 0)
    before, pick = state(two)["values"], picked(two)
    word(one, 1).click()
    panel(one, "heads")
    restrict(one, "layers", "1-2")
    says(one, "made", "layers 1–2")
    assert (state(two)["values"], picked(two)) == (before, pick)
    assert "layers 0–2" in said(part(two, "made"))
    for each in (one, two):
        assert recent(each).count() == 1
