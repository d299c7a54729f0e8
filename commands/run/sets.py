"""Work on a set as a person sees it: progress, what failed in one line each, Ctrl-C; what is done stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from commands.terminal import (
    StoppedEarlyError,
    UsageError,
    bar,
    counter,
    printable,
    refusal,
    say,
    say_above,
    stop_on_interrupt,
)
from model import answer_key, checkpoint
from sets.ledger import Item, Ledger, Result
from sets.loop import each
from sets.team import Team
from utils import Stopped, Watch, locked, one_line


class Failure(NamedTuple):
    """An item that could not be used, and why."""

    name: str
    reason: str  # one line
    place: str  # the name of the folder that it would have had


class Outcome(NamedTuple):
    """What came of the items in this run, in all processes together."""

    failures: list[Failure]  # by name
    undone: frozenset[str]  # places: what may be there of these is not as it would be now
    is_stopped: bool


class Work(NamedTuple):
    """What is done with each item of a set."""

    what: str  # over the progress bar
    unit: str
    begin: Callable[[], object]  # before a process's first item: what is wrong here is wrong for all
    one: Callable[[Item, Path, Watch], Result]  # writes files into the folder; JSON-ready


@contextmanager
def alone_in(output: Path, what: str) -> Iterator[None]:
    """Have the folder for the block; UsageError while another one (`what`) writes into it."""
    output.mkdir(parents=True, exist_ok=True)
    with locked(output) as is_ours:
        if is_ours is False:
            raise UsageError(f"another {what} writes into {output}: wait for it, or choose another --output")
        try:
            yield
        finally:
            with suppress(OSError):
                output.rmdir()  # where nothing came to be in it


def worked(team: Team, ledger: Ledger, items: Sequence[Item], work: Work, again: bool = False) -> Outcome:
    """Do what is not done of the items, in this process its own share of it.

    All processes have the same items in the same order. A failed item is said on stderr in one line; Ctrl-C
    ends the work between two steps. With `again` all are done, whatever is there.

    Raises:
        KeyboardInterrupt: at the second Ctrl-C, which ends it at once.
    """
    left = team.same((list(range(len(items))) if again else ledger.left(items)) if team.is_first else [])
    todo = [items[number] for number in team.share(left)]
    if todo:
        work.begin()
    done: list[str] = []
    failures: list[Failure] = []

    def failed(item: Item, error: Exception) -> None:
        told = refusal(error) or f"unexpected {type(error).__name__}: {error}"
        failures.append(Failure(item.name, one_line(told), ledger.place(item)))
        say_above(f"{printable(item.name)}: {printable(failures[-1].reason)}")

    # One process of several shows how far its own part is.
    with stop_on_interrupt() as stop, bar(work.what, work.unit, len(todo), team.is_first) as progress:

        def one(item: Item) -> None:
            ledger.do(item, lambda folder: work.one(item, folder, Watch(None, stop)))
            done.append(ledger.place(item))

        with suppress(Stopped):
            each(todo, one, len(todo), Watch(counter(progress), stop), failed)
    found = team.all_of((done, failures, stop.is_set()))
    every = {place for places, _, _ in found for place in places}
    return Outcome(
        failures=sorted(failure for _, those, _ in found for failure in those),
        undone=frozenset(place for number in left if (place := ledger.place(items[number])) not in every),
        is_stopped=any(is_stopped for _, _, is_stopped in found),
    )


def results(ledger: Ledger, items: Sequence[Item], outcome: Outcome) -> list[tuple[int, Result]]:
    """Return the results of all items that are done as they are now, each with its position."""
    there = [number for number, item in enumerate(items) if ledger.place(item) not in outcome.undone]
    found = ((number, ledger.result(items[number])) for number in there)
    return [(number, result) for number, result in found if result is not None]


@contextmanager
def what_stays() -> Iterator[None]:
    """Say what stays where the second Ctrl-C ends the block, and raise StoppedEarlyError."""
    try:
        yield
    except KeyboardInterrupt:
        say("Stopped at once. What was done stays: run the same command again.")
        raise StoppedEarlyError from None


def answering(name: str, load: Callable[[], object], **how: Any) -> Any:
    """Return what tells a checkpoint, and how it answers, from all others, JSON-ready.

    `load` brings a hub id onto this computer, where it is not there yet; `how` are keywords of `answer_key`.
    """
    source = checkpoint(name)
    if source is None:
        load()
        source = checkpoint(name)
    return [name, how] if source is None else answer_key(source, "", "", **how)
