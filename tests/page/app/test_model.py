"""The page as it is served: the model."""

import gc
import threading
import weakref
from pathlib import Path
from typing import Any

import pytest

from model import ModelError
from page.jobs import Job
from page.model_room import ModelRoom
from page.site import Page
from tests.page.app.kit import answered_by
from tests.serving import LONG
from utils import Stopped

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_only_one_model_is_in_memory(folders: tuple[Path, Path]) -> None:
    room = ModelRoom()
    before = weakref.ref(room.load(str(folders[0])).model)
    after = room.load(str(folders[1]))
    gc.collect()
    assert before() is None
    assert (after.layers, after.heads) == (2, 6)


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    room = ModelRoom()
    room.load(str(folders[0]))
    with pytest.raises(ModelError) as caught:
        room.load(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
    assert room.loaded is not None
    assert room.loaded.name == str(folders[0])


def test_loading_waits_for_an_answer_and_does_not_break_it(folders: tuple[Path, Path]) -> None:
    room = ModelRoom()
    room.load(str(folders[0]))
    written, loaded = threading.Event(), threading.Event()
    found: list[Any] = []

    def on_token(_: str, tokens: int) -> None:
        written.set()
        assert not loaded.is_set()

    def answer() -> None:
        found.append(room.work(answered_by(12, on_token), Job("me", "answer")))

    writer = threading.Thread(target=answer)
    writer.start()
    assert written.wait(60)
    room.load(str(folders[1]))
    loaded.set()
    writer.join(60)
    assert len(found[0].token_ids) == 12
    assert found[0].model_name == str(folders[0])


def test_without_a_model_there_is_no_answer() -> None:
    with pytest.raises(ModelError, match="press Load first"):
        ModelRoom().work(answered_by(1), Job("me", "answer"))


def test_an_answer_stopped_before_it_began_is_none(site: tuple[Page, str]) -> None:
    job = Job("me", "answer")
    job.stop.set()
    with pytest.raises(Stopped):
        site[0].room.work(answered_by(LONG), job)
    assert not site[0].room.busy
