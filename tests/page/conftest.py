"""What the page's tests share: models on disk, a page at an address, and pages without a server."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio.routes import App

from page.model_room import ModelRoom
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from records.store import Store
from tests.page.kit import answer_to
from tests.serving import noise, saved, served


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return saved(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="module")
def site(folders: tuple[Path, Path]) -> Iterator[tuple[Page, str]]:
    """A page with the first model, and its address."""
    with served(str(folders[0])) as page_and_url:
        yield page_and_url


@pytest.fixture(scope="module")
def room(folders: tuple[Path, Path]) -> ModelRoom:
    room = ModelRoom()
    room.load(str(folders[0]))
    return room


@pytest.fixture
def page(room: ModelRoom, folders: tuple[Path, Path], tmp_path: Path) -> Page:
    """A page of the test's own, whose callbacks are called as they are."""
    return Page(room, str(folders[0]), store=Store(tmp_path / "cache"))


@pytest.fixture(scope="module")
def capture(room: ModelRoom) -> Capture:
    """The answer about the first picture, generated without the page."""
    return answer_to(room, noise(0))


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, (noise(0),))


@pytest.fixture
def mine(page: Page, run: Run) -> str:
    """The id of an answer kept for the visitor "me"."""
    return page.sessions.keep("me", run)


@pytest.fixture(autouse=True, scope="session")
def one_server_a_page() -> Iterator[None]:
    """Let Gradio set up a page's server when it is served, and not also at each step of building the page.

    That takes two thirds of the time that a page takes, and most tests call the callbacks without a server.
    """
    create_app = App.create_app

    def when_served(*given: Any, **settings: Any) -> App | None:
        return create_app(*given, **settings) if "auth_dependency" in settings else None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(App, "create_app", staticmethod(when_served))
        yield
