"""Fixtures that several tests here share."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
)
from playwright.sync_api import Page as Tab

from page.jobs import Job
from page.site import Page
from records.capture import Capture
from tests.page.browser.kit import PATIENCE, OpenTab, Watch, answer_to, ready
from tests.serving import noise

FEW = 12  # tokens


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    (folder / "text.png").write_text("no picture")
    return folder


@pytest.fixture
def watches() -> dict[Tab, Watch]:
    return {}


@pytest.fixture
def open_tab(browser: Browser, site: tuple[Page, str], watches: dict[Tab, Watch]) -> Iterator[OpenTab]:
    """Open tabs of separate visitors; at the end: no error in the console, no request to elsewhere."""
    contexts: list[BrowserContext] = []

    def opened(
        url: str = site[1],
        within: BrowserContext | None = None,
        says: str = "ready",
        phase: str = "answered",
        **context: Any,
    ) -> Tab:
        if within is None:
            within = browser.new_context(**{"viewport": {"width": 1440, "height": 900}, **context})
            contexts.append(within)
        tab = within.new_page()
        tab.set_default_timeout(PATIENCE)
        watches[tab] = Watch(tab, url)
        tab.goto(url)
        ready(tab, says, phase)
        return tab

    yield opened
    for context in contexts:
        context.close()
    for watch in watches.values():
        assert watch.foreign == []
        assert watch.errors == []


@pytest.fixture
def tab(open_tab: OpenTab) -> Tab:
    return open_tab()


@pytest.fixture(scope="module")
def direct(site: tuple[Page, str]) -> Capture:
    """The answer about the first picture, generated without the page."""
    return answer_to(site[0], noise(0))


@pytest.fixture
def waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model write a few words and then wait until it is stopped, however long that takes."""
    writes = Job.writes

    def wait(job: Job, text: str, tokens: int) -> None:
        writes(job, text, tokens)
        if tokens >= FEW:
            job.stop.wait(2 * PATIENCE / 1000)

    monkeypatch.setattr(Job, "writes", wait)


@pytest.fixture
def slowly(site: tuple[Page, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the model write no faster than a large one does."""
    writes = Job.writes

    def slow(job: Job, text: str, tokens: int) -> None:
        writes(job, text, tokens)
        time.sleep(0.15)

    monkeypatch.setattr(Job, "writes", slow)
