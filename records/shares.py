"""Who has to let go of what, where something that has a bound is shared.

Goes in: what is held, by whom, and how large it is. Comes out: what goes, so that the rest fits. Knows
nothing of what is held: answers in memory, answers on disk, files.

Whoever holds most lets go of their own oldest, so that nobody can push out what others hold by holding more.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item", bound=Hashable)


@dataclass(frozen=True)
class Held(Generic[Item]):
    """Something that somebody holds; of what several hold there is one for each."""

    item: Item
    person: str
    size: int
    stays: bool = False  # however large it is


def leaving(held: Sequence[Held[Item]], most: int, each: int) -> list[Held[Item]]:
    """Return what goes, so that the rest is of at most `most` bytes, and what each person has of `each`.

    Who is alone has all of it to themselves: `each` counts where several hold something. `held` is in the
    order of last use, the oldest first.
    """
    totals: defaultdict[str, int] = defaultdict(int)  # by person, who used theirs longest ago first
    for one in held:
        totals[one.person] += one.size
    going: list[Held[Item]] = []
    left = {person: [one for one in held if one.person == person and not one.stays] for person in totals}
    while True:
        able = [person for person, theirs in left.items() if theirs]
        if sum(totals.values()) <= most:
            able = [person for person in able if len(totals) > 1 and totals[person] > each]
        if not able:
            return going
        person = max(able, key=totals.__getitem__)  # of equal ones the first
        going.append(left[person].pop(0))
        totals[person] -= going[-1].size
