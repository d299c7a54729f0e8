"""Fixtures that several tests here share."""

from collections.abc import Iterator

import pytest

from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from tests.page.methods.kit import Held, answer_to
from tests.serving import noise


@pytest.fixture(scope="module")
def capture(room: ModelRoom) -> Capture:
    return answer_to(room, noise(0))


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, noise(0))


@pytest.fixture
def mine(page: Page, run: Run) -> str:
    return page.sessions.keep("me", run)


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    one = Held(monkeypatch)
    yield one
    one.go.set()
