"""The page in a browser: what is kept."""

from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab

from attention_extractor import AttentionExtractor
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import (
    OpenTab,
    ask,
    becomes,
    choose,
    expect_map,
    generate,
    map_changes,
    menu,
    panel,
    problem,
    reads,
    ready,
    recent,
    restrict,
    says,
)
from tests.seeing import part
from tests.serving import PROMPT, free_port, served

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_the_same_question_answers_at_once(
    tab: Tab, site: tuple[Page, str], files: Path, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(tab, files / "a.png")
    calls: list[str] = []
    generate_answer = AttentionExtractor.generate

    def counted(*arguments: Any, **settings: Any) -> Capture:
        calls.append(arguments[2])
        return generate_answer(*arguments, **settings)

    monkeypatch.setattr(AttentionExtractor, "generate", counted)
    generate(tab)
    says(tab, "notice", "kept from before")
    assert calls == []
    menu(tab, "settings")
    tab.uncheck("#reuse input")
    tab.keyboard.press("Escape")
    generate(tab)
    assert part(tab, "notice").is_hidden()
    assert calls == [PROMPT]
    assert part(tab, "words").text_content() == direct.text
    assert recent(tab).count() == 1


def test_recent_answers_survive_a_reload_and_a_restart_without_a_model(
    open_tab: OpenTab, folders: tuple[Path, Path], files: Path, direct: Capture
) -> None:
    port = free_port()
    with served(str(folders[0]), port) as (_, url):
        tab = open_tab(url)
        ask(tab, files / "a.png")
        ask(tab, files / "b.png", tokens=4)
        context = tab.context
        tab.reload()
        ready(tab)
        assert recent(tab).count() == 2
        recent(tab).nth(1).click()
        reads(tab, direct.text)
        other = open_tab(url)
        menu(other, "recent")
        other.wait_for_selector(".recent .none")
        assert other.locator(".recent .entry").count() == 0
        other.close()
        tab.close()
    with served(None, port) as (_, url):
        tab = open_tab(url, within=context, says="is not loaded yet: press Load")
        assert recent(tab).count() == 2
        entry = recent(tab).first
        assert entry.locator(".made").inner_text().startswith(str(folders[0]))
        recent(tab).nth(1).click()  # the older one: to reopen it has made it no newer
        reads(tab, direct.text)
        assert tab.input_value("#prompt textarea") == PROMPT
        tab.wait_for_selector("#image .thumb[aria-pressed=true] img")
        says(tab, "notice", "kept from before")
        tab.keyboard.press("Escape")
        choose(tab, "#token", 'token 1 "')
        becomes(tab, "pick.key", "1")
        panel(tab, "heads")
        part(tab, "headsCanvas").wait_for()
        map_changes(tab, lambda: restrict(tab, "layers", "0-1"))
        expect_map(tab, direct, 1, [0, 1])
        tab.click("#generate")
        problem(tab, "No model is loaded: press Load first.")
        assert part(tab, "words").text_content() == direct.text  # what is there stays
