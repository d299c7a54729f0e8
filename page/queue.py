"""The queue for one thing: people are served as they came, hear their place, and may leave.

Goes in: who wants it. Comes out: a turn of one's own. Knows nothing of models and of Gradio.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import config
from utils import Stopped

TICK = 0.25  # seconds after which who waits looks again whether they still want to

REMEMBERED = 8  # turns whose length says how long others will take

OnPlace = Callable[[int], None]  # people ahead


class FullError(RuntimeError):
    """Too many people wait already."""

    def __str__(self) -> str:
        return "Too many people wait for the model. Try again in a minute."


class Queue:
    """People waiting for one thing; at most `config.QUEUE_SIZE` wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: list[object] = []  # the first one has its turn
        self._lasted: deque[float] = deque(maxlen=REMEMBERED)  # seconds of the latest turns

    def __len__(self) -> int:
        return len(self._tickets)

    def wait_for(self, ahead: int) -> float:
        """Return the seconds that so many people ahead will take, by the latest turns; 0 before any."""
        lasted = list(self._lasted)
        return ahead * sum(lasted) / len(lasted) if lasted else 0.0

    @contextmanager
    def turn(self, on_place: OnPlace | None = None, stop: threading.Event | None = None) -> Iterator[None]:
        """Wait for one's turn and hold it; `on_place(people ahead)` is called whenever that number changes.

        Raises:
            Stopped: if `stop` was set before the turn came.
            FullError: if too many wait already.
        """
        ticket = object()
        with self._changed:
            if len(self._tickets) > config.QUEUE_SIZE:
                raise FullError
            self._tickets.append(ticket)
        try:
            self._wait(ticket, on_place, stop)
            began = time.monotonic()
            yield
            self._lasted.append(time.monotonic() - began)
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: object, on_place: OnPlace | None, stop: threading.Event | None) -> None:
        told = None
        while True:
            with self._changed:
                ahead = self._tickets.index(ticket)
                if ahead and ahead == told:
                    self._changed.wait(TICK)
                    ahead = self._tickets.index(ticket)
            if stop is not None and stop.is_set():
                raise Stopped
            if not ahead:
                return
            if ahead != told and on_place is not None:
                on_place(ahead)
            told = ahead
