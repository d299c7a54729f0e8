"""Small things that every room needs: files written whole, progress and stopping, number ranges, short texts.

Goes in: paths, texts and plain values. Comes out: files that are complete, numbers that are there. Knows no
word of the field: no pictures, no models.
"""

import errno
import glob
import json
import os
import re
import reprlib
import secrets
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

fcntl: Any = import_module("fcntl") if os.name == "posix" else None

Value = TypeVar("Value")

PRIVATE = 0o700  # of a folder
UNFINISHED = ".word-lens-unfinished-"
ABANDONED = 3600.0  # seconds after which what is unfinished was left behind, where nothing can be locked


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path`, with the same ending; it becomes `path` when the block ends well.

    After an error nothing is left behind and an earlier file at `path` is as it was; what a killed process
    left of the same file is removed. Missing folders are made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    name = f"{UNFINISHED}{target.stem}."
    remove_abandoned(target.parent, f"{glob.escape(name)}*{glob.escape(target.suffix)}")
    with ExitStack() as held:
        unfinished = _held(held, target.with_name(name), target.suffix, lambda file: file.open("xb").close())
        try:
            yield unfinished
            unfinished.replace(target)
        finally:
            unfinished.unlink(missing_ok=True)


@contextmanager
def unfinished_folder(parent: Path, mode: int = 0o777, prefix: str = UNFINISHED) -> Iterator[Path]:
    """Yield a new folder in `parent` for what is not whole yet; what is there at the end is removed.

    The block moves it, or what is in it, to its place. `remove_abandoned` knows it from what a killed process
    left.
    """
    with ExitStack() as held:
        folder = _held(held, parent / prefix, "", lambda made: made.mkdir(mode))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def remove_abandoned(parent: Path, pattern: str = f"{UNFINISHED}*") -> None:
    """Remove the files and folders of this pattern that no process holds any more; others stay.

    A lock tells, which ends with its process, however that ends; where the disk has none, the time since the
    last change. What may not be removed stays.
    """
    for left in parent.glob(pattern):
        with suppress(OSError), locked(left) as is_ours:
            old = time.time() - left.stat().st_mtime > ABANDONED
            if old if is_ours is None else is_ours:
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _held(held: ExitStack, stem: Path, suffix: str, make: Callable[[Path], object]) -> Path:
    """Make a file or a folder under a new name, and return it, locked as long as `held` lasts."""
    while True:
        path = stem.with_name(f"{stem.name}{secrets.token_hex(8)}{suffix}")
        make(path)
        with suppress(FileNotFoundError):
            # Who removes what is left behind may come before the lock.
            if held.enter_context(locked(path)) is not False and path.exists():
                return path


@contextmanager
def locked(path: Path) -> Iterator[bool | None]:
    """Yield whether a file or folder could be locked for the block; None where there are no locks.

    False: somebody else has locked it. A lock ends with its process, however that ends.
    """
    if fcntl is None:
        yield None
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_ours: bool | None = True
        except OSError as error:
            is_ours = False if error.errno in (errno.EWOULDBLOCK, errno.EACCES) else None
        yield is_ours
    finally:
        os.close(descriptor)


DISK_PROBLEMS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the room that you have on the disk is used up",
    errno.EROFS: "the disk is read-only",
}


def disk_problem(error: BaseException) -> str:
    """Return what is wrong with the disk, for people; "" for any other error."""
    return DISK_PROBLEMS.get(error.errno or 0, "") if isinstance(error, OSError) else ""


NamedArrays = Mapping[str, tuple[NDArray[Any], str]]  # name: values, and their axes, such as "layer,h,w"


def described_arrays(
    arrays: NamedArrays, facts: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """Return arrays and facts as one NPZ holds them; `axes` and `settings` are JSON."""
    texts = {
        "axes": json.dumps({name: axes.split(",") for name, (_, axes) in arrays.items()}),
        "settings": json.dumps(settings),
    }
    return {name: values for name, (values, _) in arrays.items()} | {
        name: np.array(fact) for name, fact in {**facts, **texts}.items()
    }


def save_arrays(path: str | os.PathLike[str], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a compressed NPZ that can be read without pickle, whole or not at all."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


OnProgress = Callable[[int, int], None]  # steps done, steps in all


class Stopped(Exception):  # noqa: N818 - not an error: the person wanted it
    """The person stopped the work; there is no result."""


@dataclass(frozen=True)
class Watch:
    """Whom to tell how far long work is, and who may stop it."""

    on_progress: OnProgress | None = None
    stop: threading.Event | None = None

    def tell(self, done: int, count: int) -> None:
        """Report; raise Stopped if the person wants no more and there is more to do."""
        if self.on_progress is not None:
            self.on_progress(done, count)
        if done < count:
            self.check()

    def check(self) -> None:
        """Raise Stopped if the person wants no more."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped


WHOLE = 4000  # characters of a line that ends with what to do: names of folders in it may be long


def one_line(text: object, limit: int = 300) -> str:
    """Return the text (or an error's text) with all white space folded into single spaces, cut at `limit`."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


HALF = "has half a character in it (a lone surrogate)"  # what is said of a text that is broken


def is_broken(text: str) -> bool:
    """Return whether a text has half a character in it (a lone surrogate), which nothing can write."""
    return any("\ud800" <= character <= "\udfff" for character in text)


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80


def shown(value: object) -> str:
    """Return a value as it would be typed, for an error: in one line, and not endless, whatever it is."""
    return one_line(_SHORT.repr(value), 120)


# --- Numbers as people type them ----------------------------------------------------------------------------

Range = tuple[int, int]  # first and last, both included; negative ones count from the end


def alone_or_list(values: Sequence[Value]) -> Value | list[Value]:
    """Return the only value, or a list of several or none: of one it is written as it was before."""
    return values[0] if len(values) == 1 else list(values)


def as_list(given: Any) -> list[Any]:
    """Return one, or several, as a list."""
    return list(given) if isinstance(given, (list, tuple)) else [given]


def as_ranges(numbers: Sequence[int], dash: str = "-", comma: str = ",") -> str:
    """Return ascending numbers in short, by default as they can be typed: [0, 1, 2, 5] is "0-2,5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return comma.join(f"{run[0]}{dash}{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def ranges_of(text: str) -> tuple[Range, ...]:
    """Return "0-3,-1" as ((0, 3), (-1, -1)), before it is known how many numbers there are.

    Raises:
        ValueError: one line, for anything else.
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,9})(?:\s*-\s*(-?\d{1,9}))?\s*", part)
        if match is None:
            raise ValueError(f"{shown(text)} is no list of numbers and ranges such as 3 or 0-3,7")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def numbers_in(ranges: Sequence[Range], count: int, name: str, owner: str = "") -> tuple[int, ...]:
    """Return the numbers in the ranges, ascending, each once; negative ones are counted from the last.

    `name` says what is numbered ("layer"), `owner` whose these are ("the model").

    Raises:
        ValueError: one line, for a number that is not there, or a range that runs backwards.
    """
    found: set[int] = set()
    for ends in ranges:
        for number in ends:
            if not -count <= number < count:
                there = f"{owner} has {count} {name}s" if owner else f"there are {count}"
                raise ValueError(f"There is no {name} {number}: {there}, 0 to {count - 1}.")
        first, last = (number % count for number in ends)
        if first > last:
            raise ValueError(f"The range of {name}s {ends[0]}-{ends[1]} runs backwards.")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def numbers_of(text: str, count: int, name: str) -> tuple[int, ...]:
    """Return "all", "3", "0-3,-1" as ascending numbers below `count`, as `numbers_in` does.

    Raises:
        ValueError: one line, for anything else.
    """
    if text.strip() == "all":
        return tuple(range(count))
    try:
        ranges = ranges_of(text)
    except ValueError:
        raise ValueError(f'The {name}s must be "all", or numbers such as 3 or 0-2,5.') from None
    return numbers_in(ranges, count, name)
