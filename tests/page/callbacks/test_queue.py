"""The page's callbacks: the queue for the model."""

from types import SimpleNamespace

import pytest

import config
import page.queue as queue_room
from page.queue import FullError, Queue
from tests.page.callbacks.kit import Waiting, waiting_line
from utils import Stopped

pytestmark = pytest.mark.timeout(120)


def test_people_are_served_as_they_came_and_told_their_place() -> None:
    line = Queue()
    with waiting_line(line, "abcd") as (people, order):
        assert len(line) == 4
        for place, one in enumerate(people):
            assert one.turned.wait(30)
            assert order == list("abcd"[: place + 1])
            for behind in range(place + 1, 4):
                assert people[behind].hears(behind - place)
                assert not people[behind].turned.is_set()
            one.gone.set()
        for one in people:
            one.join(30)
            assert one.error is None
    assert [one.told for one in people] == [[], [1], [2, 1], [3, 2, 1]]


def test_who_stops_while_waiting_leaves_the_line_to_the_others() -> None:
    line = Queue()
    with waiting_line(line, "abc") as (people, order):
        people[1].stop.set()
        people[1].join(30)
        assert isinstance(people[1].error, Stopped)
        assert people[2].hears(1)
        people[0].gone.set()
        assert people[2].turned.wait(30)
        assert order == ["a", "c"]


def test_a_full_line_refuses_and_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 2)
    line = Queue()
    with waiting_line(line, "abc") as (people, _):
        with pytest.raises(FullError, match="Too many people wait for the model"), line.turn():
            raise AssertionError("a third one waits")
        assert len(line) == 3
        people[0].gone.set()
        people[0].join(30)
        late = Waiting(line, [], "late")
        late.start()
        assert late.hears(2)
        late.stop.set()
        late.join(30)
        assert isinstance(late.error, Stopped)


def test_an_error_lets_the_next_one_in() -> None:
    line = Queue()
    for _ in range(2):
        with pytest.raises(ValueError, match="in the middle"), line.turn():
            raise ValueError("in the middle")
        assert len(line) == 0

    def confused(_: int) -> None:
        raise KeyError("told")

    with line.turn(), pytest.raises(KeyError, match="told"), line.turn(confused):
        raise AssertionError("nobody left, and still it came in")
    assert len(line) == 0


def test_what_turns_lasted_says_how_long_others_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    line = Queue()
    assert line.wait_for(3) == 0  # nothing is known yet
    for seconds in (2.0, 6.0):
        clock = iter([10.0, 10.0 + seconds])
        with monkeypatch.context() as patch:
            patch.setattr(queue_room, "time", SimpleNamespace(monotonic=lambda clock=clock: next(clock)))
            with line.turn():
                pass
    assert line.wait_for(3) == 3 * 4.0
