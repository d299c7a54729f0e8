"""The page as it is served: what is kept, and for whom."""

import gc
import weakref
from types import SimpleNamespace

import pytest

import config
from page.sessions import Run, RunGoneError, Sessions
from page.site import Page
from records.capture import Capture
from tests.serving import noise

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_answers_are_bounded_and_the_oldest_goes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MAX_CAPTURES", 3)
    sessions = Sessions()
    keys = [(f"visitor {number}", sessions.keep(f"visitor {number}", run)) for number in range(3)]
    sessions.run(*keys[0])  # looked at: now the second is the oldest
    sessions.keep("one more", run)
    assert len(sessions) == 3
    assert sessions.run(*keys[0]) is run
    with pytest.raises(RunGoneError):
        sessions.run(*keys[1])


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
    runs = [Run(direct, noise(0)) for _ in range(2)]
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
