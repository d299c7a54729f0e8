"""Sets: one item after the other."""

import errno
import threading

import pytest

from sets.loop import each
from utils import Stopped, Watch


def test_what_fails_is_told_and_stops_nobody_else() -> None:
    told: list[tuple[int, int]] = []
    failed: list[tuple[int, str]] = []
    done: list[float] = []
    each(
        [1, 0, 4],
        lambda item: done.append(1 / item),
        3,
        Watch(lambda number, count: told.append((number, count))),
        lambda item, error: failed.append((item, str(error))),
    )
    assert done == [1, 0.25]
    assert failed == [(0, "division by zero")]
    assert told == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_error_that_nobody_hears_of_ends_the_work() -> None:
    done: list[float] = []
    with pytest.raises(ZeroDivisionError):
        each(iter([1, 0, 4]), lambda item: done.append(1 / item), 3, Watch())
    assert done == [1]


def test_a_full_disk_is_true_of_every_item() -> None:
    def full(item: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        each([1, 2], full, 2, Watch(), lambda item, error: pytest.fail("it went on"))


@pytest.mark.parametrize("within", [False, True])
def test_it_is_stopped_between_two_items_or_within_one(within: bool) -> None:
    stop = threading.Event()
    done: list[int] = []

    def one(item: int) -> None:
        if item == 2:
            stop.set()
            if within:
                raise Stopped
        done.append(item)

    with pytest.raises(Stopped):
        each([1, 2, 3], one, 3, Watch(None, stop), lambda item, error: pytest.fail("it is no failure"))
    assert done == ([1] if within else [1, 2])


def test_after_the_last_item_nothing_is_left_to_stop() -> None:
    stop = threading.Event()
    each([1], lambda item: stop.set(), 1, Watch(None, stop))
