"""An evaluation as files: a Markdown table, CSV, JSON, and a plot."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Drawing

from evaluation.baselines import BLIND
from evaluation.charts import BLUE, GREY, ORANGE
from evaluation.metrics import METRICS
from evaluation.record import Estimate, Evaluation, Spent
from records.measured import CENTRE
from utils import atomic_write

SHARES = ("pointing",)  # shown in percent


def write(evaluation: Evaluation, folder: Path, name: str = "evaluation") -> list[Path]:
    """Write the table (.md), the estimates (.csv), everything (.json) and the plot (.png); the paths.

    Each file appears whole or not at all.
    """
    texts = {
        "md": markdown(evaluation),
        "csv": csv_text(evaluation),
        "json": json.dumps(as_dict(evaluation), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
    }
    paths = [folder / f"{name}.{ending}" for ending in (*texts, "png")]
    for path, text in zip(paths, texts.values(), strict=False):
        with atomic_write(path) as unfinished:
            unfinished.write_text(text, encoding="utf-8", newline="")
    with atomic_write(paths[-1]) as unfinished:
        chart(evaluation).savefig(unfinished, format="png", dpi=150)
    return paths


# --- Table --------------------------------------------------------------------------------------------------


def markdown(evaluation: Evaluation) -> str:
    """Return the metrics as a Markdown table, with what they were measured on and how to read them."""
    shown = _measured(evaluation)
    heads = ["map", *(METRICS[name].label for name in shown)]
    heads.insert(2, f"above {CENTRE}")
    heads += ["forward", "backward", "seconds", "MB"]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    for row in evaluation.rows:
        cells = [_cell(evaluation.estimate(row, name), name in SHARES) for name in shown]
        cells.insert(1, _cell(evaluation.above(row, "pointing"), share=True, sign=True))
        lines.append(f"| {' | '.join([row, *cells, *_spent_cells(evaluation.spent[row])])} |")
    return "\n".join([*lines, "", *notes(evaluation), ""])


def _measured(evaluation: Evaluation) -> list[str]:
    row = evaluation.rows[0]
    return [name for name in METRICS if evaluation.estimate(row, name) is not None]


def _cell(estimate: Estimate | None, share: bool = False, sign: bool = False) -> str:
    if estimate is None:
        return "–"
    scale, digits, unit = (100, 1, " %") if share else (1, 2, "")
    plus = "+" if sign else ""
    mean, low, high = (f"{scale * value:{plus}.{digits}f}" for value in estimate[:3])
    return f"{mean}{unit}" if math.isnan(estimate.low) else f"{mean}{unit} ({low} to {high})"


def _spent_cells(spent: Spent) -> list[str]:
    passes = [f"{number:.3g}" for number in (spent.forward, spent.backward)]
    memory = "–" if spent.peak_bytes is None else f"{spent.peak_bytes / 1e6:.0f}"
    return [*passes, f"{spent.seconds:.2g}", memory]


def _counted(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number:,} {name}s"


def notes(evaluation: Evaluation) -> list[str]:
    """Return what a reader of the table must know, as Markdown lines."""
    settings = evaluation.settings
    one = evaluation.estimate(evaluation.rows[0], "pointing")
    words = one.words if one else 0
    lines = [
        f"Model {settings['model']} ({settings['dtype']}, {settings['device']}); "
        f"{_counted(words, 'word')} of {_counted(evaluation.answers, 'answer')} about "
        f"{_counted(len(evaluation.groups()), 'picture')}"
        + (f" of {settings['data']}" if "data" in settings else "")
        + f", seed {evaluation.seed}.",
        *(f"Left out, {reason}: {count}." for reason, count in evaluation.skipped.items() if count),
        "In brackets: 95 % bootstrap intervals over pictures.",
    ]
    if curves := evaluation.groups("deletion"):
        lines.append(
            f"Deletion and insertion: the words of {_counted(len(curves), 'picture')}, filled with "
            f"{'a blur' if settings['filling'] == 'blur' else 'the mean colour'} of the picture."
        )
    for name in _measured(evaluation):
        metric = METRICS[name]
        lines.append(f"{metric.label}: {metric.what} ({'high' if metric.higher else 'low'} is good).")
    lines.append(
        "Forward and backward: passes for an answer's words; seconds: for them, once; "
        f"MB: {settings['memory']}. A map that knows nothing costs nothing; a figure that does not beat the "
        f"{CENTRE}'s means little."
    )
    return [f"- {line}" for line in lines]


# --- Numbers ------------------------------------------------------------------------------------------------


def csv_text(evaluation: Evaluation) -> str:
    """Return a line for each row and metric, and one for each part of a row's cost."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["map", "figure", "mean", "low", "high", "words", "pictures"])
    for row in evaluation.rows:
        for name in METRICS:
            estimate = evaluation.estimate(row, name)
            if estimate is not None:
                numbers = ["" if math.isnan(value) else f"{value:.6g}" for value in estimate[:3]]
                table.writerow([row, name, *numbers, estimate.words, estimate.groups])
        spent = evaluation.spent[row]._asdict()
        answers = spent.pop("answers")
        for name, value in spent.items():
            table.writerow([row, name, "" if value is None else f"{value:.6g}", "", "", "", answers])
    return text.getvalue()


def as_dict(evaluation: Evaluation) -> dict[str, Any]:
    """Return all of it, JSON-ready: the estimates, and every word's values."""
    rows = {}
    for row in evaluation.rows:
        estimates = {name: evaluation.estimate(row, name) for name in METRICS}
        above = evaluation.above(row, "pointing")
        rows[row] = {
            "figures": {name: _plain(one) for name, one in estimates.items() if one is not None},
            "pointing_above_centre_prior": None if above is None else _plain(above),
            "cost": evaluation.spent[row]._asdict(),
        }
    return {
        "settings": dict(evaluation.settings),
        "answers": evaluation.answers,
        "skipped": dict(evaluation.skipped),
        "rows": rows,
        "values": [list(value) for value in evaluation.values],
        "value_parts": ["map", "figure", "kind", "picture", "value"],
    }


def _plain(estimate: Estimate) -> dict[str, float | int | None]:
    each = estimate._asdict()
    return {
        name: None if isinstance(value, float) and math.isnan(value) else value
        for name, value in each.items()
    }


# --- Plot ---------------------------------------------------------------------------------------------------


def chart(evaluation: Evaluation) -> Drawing:
    """Return a plot: a panel for each metric, in it a row for each map, and the centre prior as a line."""
    shown, rows = _measured(evaluation), evaluation.rows
    columns = min(4, len(shown))
    lines = math.ceil(len(shown) / columns)
    drawing = Drawing(figsize=(2.2 + 2.6 * columns, lines * (1.3 + 0.24 * len(rows))), layout="constrained")
    FigureCanvasAgg(drawing)
    panels = drawing.subplots(lines, columns, sharey=True, squeeze=False).reshape(-1)
    for panel, name in zip(panels, shown, strict=False):
        _panel(panel, evaluation, name)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    panels[0].set_yticks(range(len(rows)), rows)
    panels[0].invert_yaxis()
    words = evaluation.estimate(rows[0], "pointing")
    drawing.suptitle(
        f"{evaluation.settings['model']}: {words.words if words else 0} words, "
        f"{len(evaluation.groups())} pictures, 95 % intervals; dashed: {CENTRE}",
        fontsize=10,
        parse_math=False,
    )
    return drawing


def _panel(panel: Axes, evaluation: Evaluation, name: str) -> None:
    metric = METRICS[name]
    centre = evaluation.estimate(CENTRE, name)
    if centre is not None:
        panel.axvline(centre.mean, color=ORANGE, linestyle="--", linewidth=1, zorder=0)
    for place, row in enumerate(evaluation.rows):
        one = evaluation.estimate(row, name)
        if one is None:
            continue
        knows = row not in BLIND
        low, high = (one.mean if math.isnan(end) else end for end in (one.low, one.high))
        colour = BLUE if knows else GREY
        panel.plot([low, high], [place, place], color=colour, linewidth=1.5)
        panel.plot([one.mean], [place], "o" if knows else "s", color=colour, markersize=5)
    panel.set_xlim(-0.02, 1.02)
    panel.set_title(f"{metric.label} ({'→' if metric.higher else '←'} better)", fontsize=9)
    panel.tick_params(labelsize=8)
    panel.grid(axis="x", color="#dddddd", linewidth=0.6)
    panel.set_axisbelow(True)
