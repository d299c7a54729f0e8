"""The page's callbacks: the queue for the model."""

from functools import partial
from types import SimpleNamespace

import pytest

import config
import page.queue as queue_room
from page.queue import FullError, Queue
from tests.page.app.kit import soon
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


# --- Somebody who wants several turns -----------------------------------------------------------------------


def waits(line: Queue, order: list[str], name: str, person: str) -> Waiting:
    """Return somebody who has just come into the line."""
    one = Waiting(line, order, name, person)
    one.start()
    soon(lambda: one.told or one.turned.is_set() or one.error is not None)
    return one


def longer_than(order: list[str], count: int) -> bool:
    return len(order) > count


def served_in_turn(line: Queue, people: list[Waiting], order: list[str]) -> None:
    """Let each go as soon as it has its turn."""
    for place in range(len(people)):
        soon(partial(longer_than, order, place))
        next(one for one in people if one.name == order[place]).gone.set()
    for one in people:
        one.join(30)


def test_who_wants_many_turns_has_one_in_each_round() -> None:
    line, order = Queue(), list[str]()
    people = [waits(line, order, f"a{number}", "a") for number in range(4)]
    people += [waits(line, order, name, name[0]) for name in ("b0", "c0", "b1")]
    assert [ticket.person for ticket in line._waiting] == ["b", "c", "a", "b", "a", "a"]
    assert people[1].hears(3)  # those who came later were put before it
    served_in_turn(line, people, order)
    assert order == ["a0", "b0", "c0", "a1", "b1", "a2", "a3"]


def test_who_comes_again_and_again_overtakes_nobody() -> None:
    """Each time the greedy one is served they come again; the other's turns come all the same, in a row."""
    line, order = Queue(), list[str]()
    people = [waits(line, order, "a0", "a"), *(waits(line, order, f"b{number}", "b") for number in range(3))]
    for number in range(1, 4):
        people.append(waits(line, order, f"a{number}", "a"))
        served = people[[one.name for one in people].index(order[-1])]
        served.gone.set()
        served.join(30)
        soon(partial(longer_than, order, number))
    for one in people:
        one.gone.set()
    for one in people:
        one.join(30)
    assert order == ["a0", "b0", "b1", "a1", "b2", "a2", "a3"]


def test_a_full_line_takes_a_place_back_from_who_has_most(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "QUEUE_SIZE", 3)
    line, order = Queue(), list[str]()
    people = [waits(line, order, f"a{number}", "a") for number in range(4)]
    more = waits(line, order, "a4", "a")
    assert isinstance(more.error, FullError)
    for last, person in ((3, "b"), (2, "c"), (1, "d")):
        people.append(waits(line, order, f"{person}0", person))
        people[last].join(30)
        assert isinstance(people[last].error, FullError)
    assert isinstance(waits(line, order, "e0", "e").error, FullError)  # nobody has more than one now
    for one in people:
        one.gone.set()
        one.join(30)
    assert order == ["a0", "b0", "c0", "d0"]
    assert len(line) == 0


def test_several_have_a_turn_at_a_time_where_there_is_room_for_them() -> None:
    line, order = Queue(2), list[str]()
    people = [waits(line, order, name, "") for name in "abc"]
    soon(lambda: order == ["a", "b"])
    assert people[2].hears(2)
    people[1].gone.set()
    soon(lambda: order == ["a", "b", "c"])
    for one in people:
        one.gone.set()
        one.join(30)
    assert len(line) == 0
