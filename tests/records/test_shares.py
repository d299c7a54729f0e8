"""Who lets go of what where room is shared."""

from records.shares import Held, leaving


def held(*entries: tuple[str, int], newest_stays: bool = True) -> list[Held[int]]:
    """Return what is held, the oldest first, each as (person, size); items are numbered."""
    last = len(entries) - 1
    return [
        Held(number, person, size, newest_stays and number == last)
        for number, (person, size) in enumerate(entries)
    ]


def gone(found: list[Held[int]]) -> list[int]:
    return [one.item for one in found]


def test_where_there_is_room_nothing_goes() -> None:
    assert leaving([], 0, 0) == []
    assert leaving(held(("a", 3), ("b", 4)), 7, 4) == []


def test_who_has_most_loses_their_own_oldest() -> None:
    some = held(("b", 2), ("a", 3), ("a", 3), ("a", 3), ("b", 1))
    assert gone(leaving(some, 9, 100)) == [1]
    assert gone(leaving(some, 6, 100)) == [1, 2]
    assert gone(leaving(some, 5, 100)) == [1, 2, 0]  # equally much: who used theirs longest ago first
    assert gone(leaving(held(("a", 9), ("b", 9), ("c", 9)), 20, 100)) == [0]


def test_each_has_a_bound_of_their_own() -> None:
    some = held(("a", 3), ("b", 1), ("a", 3), ("a", 3), ("b", 1))
    assert gone(leaving(some, 100, 6)) == [0]
    assert gone(leaving(some, 100, 3)) == [0, 2]


def test_who_is_alone_has_all_of_it() -> None:
    alone = [("a", 3), ("a", 3), ("a", 3)]
    assert gone(leaving(held(*alone), 9, 3)) == []
    assert gone(leaving(held(*alone), 8, 3)) == [0]
    assert gone(leaving(held(*alone, ("b", 1)), 100, 3)) == [0, 1]


def test_the_newest_stays_however_large_it_is() -> None:
    assert gone(leaving(held(("a", 3), ("b", 3), ("a", 99)), 10, 5)) == [0, 1]
    assert gone(leaving(held(("a", 99)), 10, 5)) == []
    assert gone(leaving(held(("a", 99), newest_stays=False), 10, 5)) == [0]


def test_nobody_is_pushed_out_by_who_holds_more() -> None:
    """By the definition: after each new thing of the greedy one, the modest one still has all of theirs."""
    kept = [Held("modest", "b", 4)]
    for number in range(50):
        kept.append(Held(str(number), "a", 1 + number % 3))
        leave = {one.item for one in leaving(kept, 12, 100)}
        kept = [one for one in kept if one.item not in leave]
        assert kept[0].item == "modest"
        assert sum(one.size for one in kept) <= 12
