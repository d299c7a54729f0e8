"""The ways to explain an answer that the page offers: attention, and the methods that read it again.

Goes in: a `Run` and the way that was chosen. Comes out: the maps as files and viewer take them. Knows nothing
of Gradio.
"""

import csv
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import viewer
from methods import METHODS
from page.inputs import RefusedError
from page.reading import view_of
from page.sessions import Run
from views import Made, View, whole_drawing
from ways import ATTENTION, LOCAL, WAYS, made_by, of_heads, reads_again, unsunk

MEASURED = Path(__file__).parent.parent / "demo" / "measured.csv"


def needs_model(way: Any) -> bool:
    """Return whether a way has to read the answer again; ValueError for none of WAYS."""
    if way not in WAYS:
        raise RefusedError(f"The method must be one of {', '.join(WAYS)}.")
    return reads_again(way)


@cache
def measured() -> dict[str, dict[str, float]]:
    """Return each way's figures on the bundled model's scenes, by its label; `evaluate` made the file."""
    figures: dict[str, dict[str, float]] = {}
    if MEASURED.is_file():
        with MEASURED.open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                figures.setdefault(row["map"], {})[row["figure"]] = float(row["mean"])
    return figures


def table() -> str:
    """Return the figures as an HTML table, the best at the pointing game first."""
    columns = {
        "pointing": "hottest cell on the object",
        "energy": "of the map on the object",
        "f1_iou": "F1-IoU",
        "deletion": "deletion AUC (low is good)",
        "forward": "forward passes",
        "backward": "backward passes",
        "seconds": "seconds",
    }
    ranked = sorted(measured().items(), key=lambda one: -one[1]["pointing"])
    known = [name for name in columns if all(name in figures for _, figures in ranked)]
    head = "".join(f"<th>{escape(columns[name])}</th>" for name in known)
    rows = ""
    for label, figures in ranked:
        cells = "".join(f"<td>{cell(name, figures[name])}</td>" for name in known)
        rows += f"<tr><td>{escape(label)}</td>{cells}</tr>"
    return f"<table><thead><tr><th>map</th>{head}</tr></thead><tbody>{rows}</tbody></table>"


def cell(name: str, value: float) -> str:
    """Return a figure to read: shares in per cent, passes and seconds as they are."""
    if name in ("pointing", "energy"):
        return f"{value:.0%}".replace("%", " %")
    return f"{value:.2g}" if name in ("forward", "backward") else f"{value:.2f}"


def best() -> str:
    """Return the label of what found the object most often."""
    return max(measured(), key=lambda label: measured()[label]["pointing"], default="")


def told_of(way: str) -> str:
    """Return what a way shows, how it misleads, and how often it found the object where that is known."""
    figures, blind = measured().get(WAYS[way]), measured().get("centre prior")
    if figures is None or blind is None:
        return what_of(way)
    hit, prior = cell("pointing", figures["pointing"]), cell("pointing", blind["pointing"])
    most = ", the most of all" if WAYS[way] == best() else ""
    return (
        f"{what_of(way)} On the bundled model's scenes its hottest cell was on the object for {hit} of the "
        f"words{most} (centre prior {prior})."
    )


def what_of(way: str) -> str:
    """Return what a way shows, and how it misleads, in two sentences."""
    if way in LOCAL:
        return (
            f"The mean of the {LOCAL[way]} heads whose maps are the most local: high share on the image, few "
            "pieces (arXiv 2503.06287). Which heads these are is found for this answer."
        )
    return f"{METHODS[way].what} {METHODS[way].caveat}"


def made_of(run: Run, way: str, no_sinks: bool, view: View) -> Made | None:
    """Return the maps of a way; None for attention as it is, which a view folds by itself.

    Raises:
        ValueError: one line, if the maps of this way are not computed yet.
    """
    if way == ATTENTION:
        return unsunk(run.capture, view) if no_sinks else None
    found = of_heads(run.capture, LOCAL[way]) if way in LOCAL else run.maps.get(way)
    if found is None:
        raise RefusedError(f"{WAYS[way]} is not computed for this answer yet: choose it again.")
    return made_by(found, WAYS[way])


def shown(run: Run, view: View, way: Any, no_sinks: Any) -> View:
    """Return the view with the maps of a way."""
    needs_model(way)
    return replace(view, made=made_of(run, way, no_sinks is True, view))


def explored(
    run: Run, run_id: str, key: str, ranges: Sequence[Any], way: Any, no_sinks: Any
) -> dict[str, Any]:
    """Return what the viewer shows of an answer, without its picture; `key` is picked if nothing is yet."""
    view = shown(run, view_of(run, ranges, None), way, no_sinks)
    return {**viewer.payload(run.capture, None, pick=key, **viewer.maps_of(run.capture, view)), "run": run_id}


def checked_map(run: Run, view: View) -> NDArray[np.float32]:
    """Return the map (h, w) of the view's tokens together."""
    return whole_drawing(run.capture, view).values
