"""Small things that every room needs: files written whole, progress and stopping, number ranges, short texts.

Goes in: paths, texts and plain values. Comes out: files that are complete, numbers that are there. Knows no
word of the field: no pictures, no models.
"""

import json
import os
import re
import reprlib
import secrets
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path`, with the same ending; it becomes `path` when the block ends well.

    After an error nothing is left behind and an earlier file at `path` is as it was. Missing folders are
    made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


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
