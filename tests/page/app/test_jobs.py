"""The page as it is served: jobs."""

import threading
from dataclasses import replace

import pytest

from page.jobs import Job, Jobs
from tests.page.app.kit import exhaust
from utils import Stopped

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_a_new_question_stops_the_one_before() -> None:
    jobs = Jobs()
    with jobs.started("me", "answer") as first, jobs.started("you", "answer") as yours:
        with jobs.started("me", "file") as file, jobs.started("me", "check") as second:
            assert first.stop.is_set()
            assert first.left_to == {"check"}
            assert [job.stop.is_set() for job in (second, file, yours)] == [False] * 3
            assert not jobs.stop("me", "answer")  # it is not there any more
            assert jobs.stop("me", "check")
            assert second.stop.is_set()
            assert not second.left_to  # stopped, and still what is shown
        assert len(jobs) == 2  # the first is not at its end yet
        with jobs.started("me", "method"):
            assert first.left_to == {"check", "method"}
        assert not yours.stop.is_set()
    assert len(jobs) == 0
    assert not jobs.stop("you")


def test_work_is_followed_as_it_goes_on() -> None:
    step = threading.Event()

    def work(job: Job) -> str:
        job.waits(2)
        job.begins()
        job.steps(1, 9)
        job.steps(2, 9)
        step.wait(10)
        return "done"

    stream = Job("me", "check").follow(work)
    latest = next(stream)
    assert (latest.ahead, latest.begun, latest.done, latest.count) == (0, True, 2, 9)
    tick = next(stream)  # nothing new but the seconds
    assert replace(tick, seconds=latest.seconds) == latest
    assert tick.seconds > latest.seconds
    step.set()
    with pytest.raises(StopIteration, match="done"):
        exhaust(stream)


def test_work_that_is_followed_hands_on_its_error() -> None:
    def work(_: Job) -> None:
        raise ValueError("one line")

    with pytest.raises(ValueError, match="one line"):
        list(Job("me", "check").follow(work))


@pytest.mark.parametrize("fails", [False, True])
def test_of_work_whose_place_is_taken_nothing_comes(fails: bool) -> None:
    def work(job: Job) -> str:
        job.end("answer")
        if fails:
            raise ValueError("too late")
        return "too late"

    with pytest.raises(Stopped):
        list(Job("me", "check").follow(work))
