"""Fixtures that several tests here share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gradio_client import Client  # type: ignore[import-untyped]

from attention_extractor import AttentionExtractor
from page.sessions import Run
from page.site import Page
from records.capture import Capture
from tests.page.app.kit import NEW, generated
from tests.serving import PROMPT, noise


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    noise(2, (1, 1)).save(folder / "dot.png")
    noise(3, (8, 800)).save(folder / "line.png")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:3000])
    return folder


@pytest.fixture
def client(site: tuple[Page, str]) -> Iterator[Client]:
    client = Client(site[1], verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def answered(site: tuple[Page, str], pictures: Path) -> Iterator[tuple[Client, dict[str, Any]]]:
    """Lend a client that has asked about the first picture, with the answer."""
    client = Client(site[1], verbose=False)
    yield client, generated(client, pictures / "a.png")
    client.close()


@pytest.fixture(scope="module")
def direct(site: tuple[Page, str]) -> Capture:
    """The answer about the first picture, generated without the page."""
    loaded = site[0].room.loaded
    assert loaded is not None
    return AttentionExtractor(loaded.model, loaded.processor).generate(noise(0), PROMPT, max_new_tokens=NEW)


@pytest.fixture
def run(direct: Capture) -> Run:
    return Run(direct, (noise(0),))
