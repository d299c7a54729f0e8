"""How often each method found the object on the bundled model's scenes, as `python cli.py evaluate` wrote it.

Goes in: demo/measured.csv. Comes out: numbers by the label of what made the maps, and how they are written.
"""

from __future__ import annotations

import csv
from functools import cache
from pathlib import Path

from evaluation.baselines import CENTRE

FILE = Path(__file__).parent.parent / "demo" / "measured.csv"
__all__ = ["CENTRE", "FILE", "best", "figure_text", "measured", "ranked"]


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
    """Return (label, figures), the best at the pointing game first."""
    return sorted(measured().items(), key=lambda one: -one[1]["pointing"])


def best() -> str:
    """Return the label of what found the object most often; empty where nothing was measured."""
    return next((label for label, _ in ranked()), "")


def figure_text(name: str, value: float) -> str:
    """Return a figure to read: shares in per cent, passes and seconds as they are."""
    if name in ("pointing", "energy"):
        return f"{value:.0%}".replace("%", " %")
    return f"{value:.2g}" if name in ("forward", "backward") else f"{value:.2f}"
