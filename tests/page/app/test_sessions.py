"""The page as it is served: what is kept, and for whom."""

import gc
import weakref
from dataclasses import fields
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import config
from methods import token_maps
from page.sessions import Run, RunGoneError, Sessions
from page.site import Page
from records.capture import Capture
from tests.serving import noise

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_answers_are_bounded_by_their_bytes_and_the_oldest_goes(
    run: Run, direct: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MAX_KEPT_BYTES", 3 * run.bytes)
    sessions = Sessions()
    keys = [(f"visitor {number}", sessions.keep(f"visitor {number}", run)) for number in range(3)]
    sessions.run(*keys[0])  # looked at: now the second is the oldest
    sessions.keep("one more", run)
    assert len(sessions) == 3
    assert sessions.run(*keys[0]) is run
    with pytest.raises(RunGoneError):
        sessions.run(*keys[1])
    larger = Run(direct, (Image.new("RGB", (2000, 3000)),))
    assert larger.bytes > 3 * run.bytes
    kept = sessions.keep("a large one", larger)  # the newest stays, however large
    assert len(sessions) == 1
    assert sessions.run("a large one", kept) is larger
    sessions.keep("the last", run)
    with pytest.raises(RunGoneError):
        sessions.run("a large one", kept)


def test_what_an_answer_holds_is_counted_once(direct: Capture) -> None:
    (h, w), count = direct.grid, len(direct.token_ids)
    run = Run(direct, (direct.picture or noise(0),))
    tensors = [getattr(direct, part.name) for part in fields(direct)]
    expected = sum(part.numel() * part.element_size() for part in tensors if isinstance(part, torch.Tensor))
    expected += 3 * run.original.width * run.original.height
    assert run.bytes == expected
    run.learn(maps=token_maps("attention", direct), without=np.zeros(count, np.float32))
    expected += 4 * count * h * w + 4 * count
    assert run.bytes == expected
    shown = run.picture
    assert shown is not run.original
    expected += 3 * shown.width * shown.height
    assert run.bytes == expected
    sent = len(run.pictures_payload[0]["url"])  # what the viewer takes stays at hand too
    assert run.bytes == expected + sent


def test_an_answer_belongs_to_its_visitor(run: Run) -> None:
    sessions = Sessions()
    run_id = sessions.keep("me", run)
    with pytest.raises(RunGoneError, match=r"no longer kept"):
        sessions.run("you", run_id)
    assert len({sessions.keep(str(number), run) for number in range(20)}) == 20
    assert len(run_id) >= 20


def test_answers_are_freed_when_replaced_and_when_the_visitor_leaves(
    site: tuple[Page, str], direct: Capture
) -> None:
    page = site[0]
    sessions = page.sessions
    runs = [Run(direct, (noise(0),)) for _ in range(2)]
    gone = [weakref.ref(one) for one in runs]
    sessions.keep("me", runs.pop(0))
    sessions.keep("me", runs.pop(0))
    gc.collect()
    assert gone[0]() is None
    with page.jobs.started("me", "answer") as answer, page.jobs.started("me", "file") as file:
        page.on_leave(SimpleNamespace(session_hash="me"))  # type: ignore[arg-type]
        gc.collect()
        assert gone[1]() is None
        for job in (answer, file):
            assert job.stop.is_set()
            assert job.left_to == {"nobody"}
