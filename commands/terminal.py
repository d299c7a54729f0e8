"""What a person sees in the shell: progress bars, lines on stderr, Ctrl-C between two steps of work."""

from __future__ import annotations

import signal
import sys
import threading
import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from tqdm import tqdm

from utils import disk_problem


class UsageError(ValueError):
    """The arguments cannot be used; the message is one line."""


class StoppedEarlyError(Exception):
    """Ctrl-C ended the work; what was done before stays, and that has been told."""


class FailedError(Exception):
    """What was tried failed, and has been told; nothing went wrong in trying."""


@contextmanager
def stop_on_interrupt() -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets; the second one interrupts at once, as ever."""
    stop = threading.Event()
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or before in (signal.SIG_IGN, None):
        yield stop
        return

    def ask(*_: object) -> None:
        stop.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, ask)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def bar(what: str, unit: str, total: int, is_shown: bool = True) -> Iterator[tqdm[NoReturn]]:
    """Yield a progress bar on stderr; an error wipes it away, so that its line stands alone."""
    settings: dict[str, Any] = {"dynamic_ncols": True, "file": sys.stderr, "disable": not is_shown}
    with tqdm(total=total, desc=what, unit=unit, **settings) as progress:
        try:
            yield progress
        except Exception:
            progress.leave = False
            raise


def counter(progress: tqdm[NoReturn]) -> Callable[[int, int], None]:
    """Return a function of (done, in all) that moves the bar."""

    def count(done: int, total: int) -> None:
        progress.total = total
        progress.update(done - progress.n)

    return count


def refusal(error: Exception) -> str | None:
    """Return what to tell a person about an error that they can do something about, else None."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if kinds & {"OutOfMemoryError", "MemoryError"}:
        return "there is not enough memory; a smaller picture, fewer --layers or --max-new-tokens need less"
    if problem := disk_problem(error):
        return f"{problem}: free some of it, or choose another folder; what was there before is as it was"
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
    return str(error) if kinds & {"ValueError", "ModelError"} else None


def say(text: str) -> None:
    """Write a line to stderr, without what could rewrite the terminal."""
    print(printable(text), file=sys.stderr, flush=True)


def say_above(text: str) -> None:
    """Write a line to stderr above the progress bars there are."""
    tqdm.write(text, file=sys.stderr)


def printable(text: str) -> str:
    """Return the text without the control characters that could rewrite the terminal."""
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) not in ("Cc", "Cs"))
