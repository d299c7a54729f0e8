"""The queue for one thing: people are served as they came, hear their place, and may leave.

Goes in: who wants it. Comes out: a turn of one's own. Knows nothing of models and of Gradio.

Who wants it several times has one turn in each round of all who wait: a round's number is a ticket's start
tag of start-time fair queuing (Goyal, Vin, Cheng 1996), each turn counted as equally long.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import config
from utils import Stopped

TICK = 0.25  # seconds after which who waits looks again whether they still want to

REMEMBERED = 8  # turns whose length says how long others will take

OnPlace = Callable[[int], None]  # people ahead


class FullError(RuntimeError):
    """Too many people wait already."""

    def __str__(self) -> str:
        return "Too many people wait for the model. Try again in a minute."


@dataclass(eq=False)
class Ticket:
    """Somebody's place."""

    person: str  # "" for somebody who wants nothing else
    round: int
    is_void: bool = False  # taken back for somebody who has fewer


class Queue:
    """People waiting for one thing, of which there are some; at most `config.QUEUE_SIZE` wait.

    Where the line is full, the last ticket of whoever has most is taken back for somebody with fewer.
    """

    def __init__(self, places: int = 1) -> None:
        self._changed = threading.Condition()
        self._places = places  # turns at a time
        self._turns: list[Ticket] = []
        self._waiting: list[Ticket] = []  # the first one is next
        self._round = 0  # the latest that had a turn
        self._lasted: deque[float] = deque(maxlen=REMEMBERED)  # seconds of the latest turns

    def __len__(self) -> int:
        return len(self._turns) + len(self._waiting)

    def wait_for(self, ahead: int) -> float:
        """Return the seconds that so many people ahead will take, by the latest turns; 0 before any."""
        lasted = list(self._lasted)
        return ahead * sum(lasted) / len(lasted) if lasted else 0.0

    @contextmanager
    def turn(
        self, on_place: OnPlace | None = None, stop: threading.Event | None = None, person: str = ""
    ) -> Iterator[None]:
        """Wait for one's turn and hold it; `on_place(people ahead)` is called whenever that number changes.

        `person` is who wants it, for whom other tickets may wait too.

        Raises:
            Stopped: if `stop` was set before the turn came.
            FullError: if too many wait already, or the place went to somebody who has fewer.
        """
        with self._changed:
            ticket = self._ticket(person)
        try:
            self._wait(ticket, on_place, stop)
            began = time.monotonic()
            yield
            self._lasted.append(time.monotonic() - began)
        finally:
            with self._changed:
                for tickets in (self._turns, self._waiting):
                    if ticket in tickets:
                        tickets.remove(ticket)
                self._begin()

    def _ticket(self, person: str) -> Ticket:
        """Return a ticket that is in its place."""
        own = self._of(person)
        ticket = Ticket(person, max([self._round, *(one.round + 1 for one in own)]))
        if len(self._turns) >= self._places and len(self._waiting) >= config.QUEUE_SIZE:
            self._make_room(len(own) + 1)
        self._waiting.append(ticket)
        self._waiting.sort(key=lambda one: one.round)  # those of a round stay as they came
        self._begin()
        return ticket

    def _make_room(self, count: int) -> None:
        """Take a ticket back from who has more than so many; FullError where nobody has."""
        most = max(self._waiting, key=lambda one: len(self._of(one.person)), default=None)
        if most is None or len(self._of(most.person)) <= count:
            raise FullError
        last = next(one for one in reversed(self._waiting) if one.person == most.person)
        last.is_void = True
        self._waiting.remove(last)

    def _of(self, person: str) -> list[Ticket]:
        return [one for one in (*self._turns, *self._waiting) if person and one.person == person]

    def _begin(self) -> None:
        """Have the turns begin for which there are places, and everybody look."""
        while self._waiting and len(self._turns) < self._places:
            self._turns.append(self._waiting.pop(0))
            self._round = max(self._round, self._turns[-1].round)
        self._changed.notify_all()

    def _wait(self, ticket: Ticket, on_place: OnPlace | None, stop: threading.Event | None) -> None:
        told = None
        while True:
            with self._changed:
                ahead = self._ahead(ticket)
                if ahead and ahead == told:
                    self._changed.wait(TICK)
                    ahead = self._ahead(ticket)
            if stop is not None and stop.is_set():
                raise Stopped
            if not ahead:
                return
            if ahead != told and on_place is not None:
                on_place(ahead)
            told = ahead

    def _ahead(self, ticket: Ticket) -> int:
        """Return how many are ahead of a ticket; 0 once its turn has begun."""
        if ticket.is_void:
            raise FullError
        return 0 if ticket in self._turns else len(self._turns) + self._waiting.index(ticket)
