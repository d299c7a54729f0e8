"""Fixtures that several tests here share."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client  # type: ignore[import-untyped]

import page.cams as cams_room
from attention_extractor import AttentionExtractor
from methods.grad_cam import smooth_grad_cam
from page.gradcam_tab import GradCamTab
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from records.grad_cam import GradCam
from tests.page.gradcam.kit import NEW, NOISE
from tests.serving import PROMPT, noise


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "a.png"
    noise(0).save(file)
    return file


@pytest.fixture
def tab(site: tuple[Page, str]) -> GradCamTab:
    return site[0].gradcam


@pytest.fixture(scope="module")
def model(site: tuple[Page, str]) -> tuple[Any, Any]:
    loaded = site[0].room.loaded
    assert loaded is not None
    return loaded.model, loaded.processor


@pytest.fixture(scope="module")
def capture(model: tuple[Any, Any]) -> Capture:
    return AttentionExtractor(*model).generate(noise(0), PROMPT, max_new_tokens=NEW)


@pytest.fixture(scope="module")
def cam(model: tuple[Any, Any], capture: Capture) -> GradCam:
    """The map that the page should show for token 1, worked out without the page."""
    return smooth_grad_cam(*model, noise(0), PROMPT, "auto", 1, **NOISE, answer=capture)


@pytest.fixture
def run(capture: Capture) -> Run:
    return Run(capture, (noise(0),))


@pytest.fixture
def client(site: tuple[Page, str]) -> Iterator[Client]:
    client = Client(site[1], verbose=False)
    yield client
    client.close()


@pytest.fixture
def kept(tab: GradCamTab, run: Run) -> Iterator[str]:
    """The id of an answer kept for the visitor "me"."""
    yield tab.around.sessions.keep("me", run)
    tab.around.sessions.forget("me")


@pytest.fixture
def at_the_first_pass(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """An event that is set when a computation has begun; it then waits until it is stopped."""
    begun = threading.Event()

    def waiting(
        *arguments: Any, on_progress: Callable[[int, int], None], stop: threading.Event, **rest: Any
    ) -> Any:
        def tell(done: int, count: int) -> None:
            on_progress(done, count)
            begun.set()
            assert stop.wait(60)

        return smooth_grad_cam(*arguments, on_progress=tell, stop=stop, **rest)

    monkeypatch.setattr(cams_room, "smooth_grad_cam", waiting)
    return begun
