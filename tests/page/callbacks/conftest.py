"""Fixtures that several tests here share."""

from pathlib import Path

import pytest

from page.model_room import ModelRoom
from page.site import Page
from records.capture import Capture
from tests.page.kit import answer_to
from tests.serving import noise, uploads


@pytest.fixture(scope="module")
def pictures() -> list[dict[str, str]]:
    """Uploads of two pictures."""
    folder = uploads()
    for number in range(2):
        noise(number).save(folder / f"{number}.png")
    return [{"path": str(folder / f"{number}.png")} for number in range(2)]


@pytest.fixture
def files_of_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put what is made to be downloaded into a folder of the test's own."""
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path / "files"))
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def kept(page: Page, room: ModelRoom, capture: Capture) -> list[str]:
    """The ids of two answers in the store, the older one first."""
    ids = []
    for number, one in enumerate((capture, answer_to(room, noise(1)))):
        entry = page.store.save(one, noise(number), f"{number}" * 32)
        assert entry is not None
        ids.append(entry)
    return ids
