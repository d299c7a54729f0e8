"""Evaluation: files."""

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation import (
    METRICS,
    Value,
    chart,
    csv_text,
    markdown,
    write,
)
from evaluation.memory import measured
from tests.evaluation.kit import (
    evaluation,
    filled,
)


def test_the_table_has_every_map_and_figure_that_was_measured() -> None:
    lines = markdown(filled()).splitlines()
    heads = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert heads == [
        *("map", "pointing game", "above centre prior", "energy inside", "Obj-IoU", "Func-IoU", "F1-IoU"),
        *("deletion AUC", "forward", "backward", "seconds", "MB"),
    ]
    row = [cell.strip() for cell in lines[2].strip("|").split("|")]
    assert row[:3] == ["a", "40.0 % (30.0 to 50.0)", "+30.0 % (+30.0 to +30.0)"]
    assert row[-4:] == ["1.5", "0", "0.25", "12"]
    assert "- Left out, words of wrong answers: 3." in lines
    assert "nothing" not in "".join(lines[:6])
    assert any("low is good" in line and "deletion" in line for line in lines)


def test_csv_and_json_hold_the_estimates(tmp_path: Path) -> None:
    found = filled()
    rows = list(csv.DictReader(io.StringIO(csv_text(found))))
    one = next(row for row in rows if (row["map"], row["figure"]) == ("a", "energy"))
    assert [float(one[name]) for name in ("mean", "low", "high")] == pytest.approx([0.4, 0.3, 0.5])
    assert (one["words"], one["pictures"]) == ("3", "3")
    paths = write(found, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in paths)
    assert [path.suffix for path in paths] == [".md", ".csv", ".json", ".png"]
    known = json.loads((tmp_path / "evaluation.json").read_text("utf-8"))
    assert known["rows"]["a"]["figures"]["f1_iou"]["mean"] == pytest.approx(2 * 0.4 * 0.5 / 0.9)
    assert known["rows"]["a"]["cost"]["peak_bytes"] == 12_300_000
    assert [tuple(value) for value in known["values"]] == list(found.values)
    with Image.open(tmp_path / "evaluation.png") as image:
        assert image.width > 600


def test_json_has_no_nan_for_a_single_picture(tmp_path: Path) -> None:
    single = evaluation([Value(row, "pointing", "word", "x", 1) for row in ("a", "centre prior")])
    write(single, tmp_path)
    known = json.loads((tmp_path / "evaluation.json").read_text("utf-8"), parse_constant=pytest.fail)
    assert known["rows"]["a"]["figures"]["pointing"]["low"] is None
    assert "| a | 100.0 % | +0.0 % |" in markdown(single)


def test_the_plot_shows_every_interval_and_the_centre_prior_as_a_line() -> None:
    found = filled()
    panels = [panel for panel in chart(found).axes if panel.get_visible()]
    assert [panel.get_title().split(" (")[0] for panel in panels] == [
        *("pointing game", "energy inside", "Obj-IoU", "Func-IoU", "F1-IoU", "deletion AUC")
    ]
    lines = [np.asarray(line.get_xdata()).tolist() for line in panels[1].get_lines()]
    assert lines[0] == pytest.approx([0.1, 0.1])  # the centre prior
    assert lines[1] == pytest.approx([0.3, 0.5])
    assert lines[2] == pytest.approx([0.4])
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["a", "centre prior"]
    assert panels[0].yaxis_inverted()


def test_every_figure_says_what_it_is() -> None:
    assert all(figure.label and figure.what for figure in METRICS.values())
    assert [name for name, figure in METRICS.items() if not figure.higher] == ["deletion"]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much memory a process took")
def test_memory_is_the_highest_not_the_last(small: tuple[Any, Any]) -> None:
    result, peak = measured(small[0], lambda: float(np.ones(8_000_000).sum()))
    assert result == 8_000_000
    if peak is None:
        pytest.skip("this system does not let a process forget its peak")
    assert 50e6 < peak < 200e6
    assert (measured(small[0], lambda: 1)[1] or 0) < 20e6
