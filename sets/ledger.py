"""What is done of a set: a folder for each item, which appears when all in it is written.

Its item.json holds the result, and what tells the content that it was made from: a later run takes the item
as done if that is the same. A process that dies loses the item in hand.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from utils import atomic_write, remove_abandoned, unfinished_folder

ITEM = "item.json"
ITEMS = "items"  # the folder of all of them

Result = dict[str, Any]  # JSON-ready


class Item(NamedTuple):
    """One of many."""

    name: str  # for people
    key: Sequence[Any]  # JSON-ready: with the set's settings it tells this item from every other
    content: Callable[[], str]  # tells what the item is made from now; "" if that cannot be read
    given: Any = None  # what its work takes


class Ledger:
    """The items that are done, in a folder; `settings` tells what they are done with from all else."""

    def __init__(self, folder: Path, settings: str) -> None:
        self.folder, self.settings = folder, settings

    def place(self, item: Item) -> str:
        """Return the name of an item's folder."""
        stem = re.sub(r"[^A-Za-z0-9]+", "-", PurePath(item.name).stem)[:40].strip("-") or "picture"
        return f"{stem}-{digest([*item.key, self.settings])[:12]}"

    def path(self, item: Item) -> Path:
        """Return an item's folder, which is there if it is done."""
        return self.folder / ITEMS / self.place(item)

    def result(self, item: Item) -> Result | None:
        """Return an item's result, with its `content` and the `seconds` it took; None if it is not done."""
        try:
            found = json.loads((self.path(item) / ITEM).read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) else None

    def left(self, items: Sequence[Item]) -> list[int]:
        """Return the positions of the items that are not done, or no longer as they were."""
        return [number for number, item in enumerate(items) if not self._is_done(item)]

    def _is_done(self, item: Item) -> bool:
        content = (self.result(item) or {}).get("content")
        return bool(content) and content == item.content()

    def do(self, item: Item, one: Callable[[Path], Result]) -> None:
        """Have an item done: `one` writes its files into an empty folder and returns the result.

        An earlier folder of the item is replaced; after an error it is as it was.
        """
        content, began = item.content(), time.monotonic()
        with _finished(self.path(item)) as folder:
            result = {**one(folder), "content": content}
            write_json(folder / ITEM, {**result, "seconds": round(time.monotonic() - began, 3)})

    def remove_left(self) -> None:
        """Remove what killed processes left."""
        remove_abandoned(self.folder / ITEMS)
        remove_abandoned(self.folder)


@contextmanager
def _finished(place: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `place` when the block ends well; else it is gone."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with unfinished_folder(place.parent) as unfinished, unfinished_folder(place.parent) as earlier:
        yield unfinished
        if place.exists():
            place.replace(earlier / place.name)
        unfinished.replace(place)


def digest(value: Any) -> str:
    """Return what tells one value, JSON-ready, from another."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def file_content(file: Path) -> str:
    """Return what tells a file's content from another's; "" of one that cannot be read."""
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError:
        return ""


def write_json(path: Path, value: Any) -> None:
    """Write a value as JSON, whole or not at all."""
    with atomic_write(path) as unfinished:
        unfinished.write_text(json.dumps(value), encoding="utf-8")
