"""What one person may have under way at a time, so that there is room for others.

Goes in: requests as the guard sees them, and Gradio's queue. Comes out: room for them, or one line that says
why there is none. Knows nothing of what is asked for.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import config
from page.people import People
from page.sources import bytes_of

MOST_SENDING = max(64_000_000, 3 * bytes_of(config.MAX_UPLOAD))  # bytes on their way, of one person
MOST_UNREAD = 1_000  # messages that wait for one person, who has not read them
MOST_AT_ONCE = 8  # of one person's requests that are done without a queue; others of theirs wait
MOST_SESSIONS = 400  # of one person, of which Gradio keeps something; it forgets others' beyond 2,000 of all
LONGEST_SESSION = 200  # characters of a session's id
WORKERS = max(40, min(2 * config.QUEUE_SIZE + 16, 400))  # of Gradio: what can be under way at all


class TooMuchError(Exception):
    """One person asks for more than their share; the message is one line."""


class UnderWay:
    """What everyone has under way."""

    def __init__(self, people: People, queue: Any) -> None:
        """Look after this queue of Gradio's."""
        self._people, self._queue = people, queue
        self._sending: Counter[str] = Counter()  # bytes, by person
        self._direct: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}  # and who holds or waits for it

    @contextmanager
    def sending(self, person: str) -> Iterator["Sending"]:
        """Yield what counts the bytes of a body, until it is taken in."""
        sending = Sending(self._sending, person)
        try:
            yield sending
        finally:
            self._sending[person] -= sending.count
            if not self._sending[person]:
                del self._sending[person]

    def check_asked(self, person: str) -> None:
        """Return if a person may ask for something more in Gradio's queue.

        Raises:
            TooMuchError: if they take more than half of the room that others leave, or do not read.
        """
        events = Counter(
            self._people.of(event.session_hash) for event in list(self._queue.event_ids_to_events.values())
        )
        others = events.total() - events[person]
        if events[person] >= max(1, (WORKERS - others) // 2):
            raise TooMuchError("Too much was asked for at once. Wait until some of it is done.")
        messages = self._queue.pending_messages_per_session
        theirs = [one for one in messages if self._people.of(one) == person]
        if sum(messages[one].qsize() for one in theirs) >= MOST_UNREAD:
            raise TooMuchError("The answers to what was asked before have to be read first.")
        self._forget(theirs)

    def _forget(self, sessions: list[str]) -> None:
        """Drop what Gradio keeps of a person's sessions that wait for nothing, where there are too many."""
        events, messages = self._queue.pending_event_ids_session, self._queue.pending_messages_per_session
        idle = [one for one in sessions if not events.get(one)]
        for one in idle[: max(0, len(sessions) - MOST_SESSIONS)]:
            del messages[one]
        if len(events) > len(messages) + MOST_SESSIONS:
            for one in [one for one, ids in events.items() if not ids and one not in messages]:
                del events[one]

    def tells(self, session: str | None = None, event: str = "") -> bool:
        """Return whether there is something that is told this session, or of this event."""
        messages = self._queue.pending_messages_per_session
        if not event:
            return session in messages
        known = event in messages or event in self._queue.event_ids_to_events
        return known or any(event in ids for ids in list(self._queue.pending_event_ids_session.values()))

    async def direct(self, person: str, work: Any) -> None:
        """Await work that is done without a queue; what is too much of one person's waits."""
        semaphore, there = self._direct.setdefault(person, (asyncio.Semaphore(MOST_AT_ONCE), []))
        there.append(None)
        try:
            async with semaphore:
                await work
        finally:
            there.pop()
            if not there:
                self._direct.pop(person, None)


class Sending:
    """A body on its way."""

    def __init__(self, counts: Counter[str], person: str) -> None:
        self._counts, self._person = counts, person
        self.count = 0
        self.is_cut_off = False  # the sender has left before its end

    def add(self, count: int) -> None:
        """Count more bytes; raise TooMuchError where the person sends too many at a time."""
        self.count += count
        self._counts[self._person] += count
        if self._counts[self._person] > MOST_SENDING:
            raise TooMuchError("Too much is being sent at once. Wait until some of it has arrived.")
