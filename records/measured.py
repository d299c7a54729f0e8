"""How often each method found the object on the bundled model's scenes, as `python cli.py evaluate` wrote it.

Goes in: demo/measured.csv. Comes out: numbers by the label of what made the maps, and
what a person is told of a method. Needs the standard library alone.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

CENTRE = "centre prior"  # the label of a map that is hottest in the middle, whatever the word
MODEL = "demo"  # the name of the model that was measured: the bundled one
FILE = Path(__file__).parent.parent / "demo" / "measured.csv"


@cache
def measured() -> dict[str, dict[str, float]]:
    """Return each row's figures by name, by the row's label; nothing where the file is not there."""
    figures: dict[str, dict[str, float]] = {}
    if FILE.is_file():
        with FILE.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                figures.setdefault(row["map"], {})[row["figure"]] = float(row["mean"])
    return figures


def ranked() -> list[tuple[str, dict[str, float]]]:
    """Return (label, figures), the best at the pointing game first; of equal ones, the higher energy."""
    return sorted(measured().items(), key=lambda one: (-one[1]["pointing"], -one[1]["energy"]))


def found_by(label: str, model: str) -> float | None:
    """Return for which part of the words (0..1) the hottest patch was on the thing; None if not measured.

    `model` is the name of the model whose maps are shown: only the measured one's figures are its own.
    """
    figures = measured().get(label) if model == MODEL else None
    return figures["pointing"] if figures is not None else None


def told_of(label: str, model: str) -> str:
    """Return in a sentence how often maps of this label found the thing, beside a blind guess."""
    found, guess = found_by(label, model), found_by(CENTRE, model)
    if found is None or guess is None:
        return "Not measured on this model yet."
    return (
        "On this model's scenes its hottest patch lay on the named thing "
        f"for {found * 100:.0f} of 100 words; a blind guess gets {guess * 100:.0f}."
    )
