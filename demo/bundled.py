"""Answers to the example pictures that come with the program: opened from files, without a model.

Goes in: an example's name. Comes out: what the bundled model answered, with its maps and tests.
`demo.make_examples` writes them.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from records.entries import Kept, read_entry

FOLDER = Path(__file__).parent / "examples"
FIRST = "star"  # the example that the page opens with


@cache
def bundled_example(name: str = FIRST) -> Kept | None:
    """Return the answer to an example's picture and question; None if there is none of that name.

    It has no id: it is in no store. Nothing is read of a model. It is read once: all who ask share it.

    Raises:
        ValueError, OSError, KeyError: if its files are damaged.
    """
    if name not in bundled_names():
        return None
    return replace(read_entry(FOLDER / name, FOLDER / f"{name}.png"), id="")


def bundled_names() -> tuple[str, ...]:
    """Return the names of the examples that have an answer, such as "star" for star.png."""
    return tuple(sorted(folder.name for folder in FOLDER.iterdir() if folder.is_dir()))
