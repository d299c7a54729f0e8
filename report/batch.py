"""What came of many pictures: a row for each answer and word, tables of them, and an index to look at.

Goes in: `Subject`s, and later what was written of each. Comes out: rows, ready for JSON; CSV, Parquet and
HTML files. Knows nothing of models.
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Sequence
from html import escape
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from attention_processor import AttentionProcessor
from drawing.glow import shares
from records.capture import Capture
from records.visuals import Visual, is_picture
from report.view import Subject
from sets.ledger import ITEM, ITEMS
from utils import as_ranges, atomic_write, one_line

TABLES = ("answers", "words", "failed")  # each a CSV file
SHARES = ("on_image", "on_prompt", "on_answer")
PAGE = 200  # pictures on one page of the index

Row = dict[str, Any]


class Failure(NamedTuple):
    """A row, of a picture or several, that could not be used, and why."""

    image: str
    prompt: str
    reason: str
    place: str  # the name of the folder that it would have had


# --- Rows ---------------------------------------------------------------------------------------------------


def answer_row(capture: Capture, note: str = "", subject: Subject | None = None) -> Row:
    """Return the figures of an answer; without a subject those that need no maps, for an empty one.

    `note` says what was left out of the picture, or that it was scaled down.

    `logprob` is the sum over tokens; `on_image`, `on_prompt` and `on_answer` are the shares of attention,
    means over tokens and the chosen layers and heads; `on_each` are those on each of several pictures, in
    their order. Several have no size and grid here: these stand in their numbers (npz).
    """
    count = len(capture.visuals)
    (_, h, w), (height, width) = (
        (capture.visuals[0].grid, capture.visuals[0].size) if count == 1 else ((None,) * 3, (None,) * 2)
    )
    row: Row = {
        "answer_text": capture.text,
        "model": capture.model_name,
        "tokens": len(capture.token_ids),
        "words": len(AttentionProcessor(capture).words()),
        "stopped": capture.stopped,
        "logprob": round(float(capture.logprobs.sum()), 5),
        "image_width": width,
        "image_height": height,
        "grid_width": w,
        "grid_height": h,
        "note": note,
        "method": None,
        **dict.fromkeys(SHARES),
        "pictures": count,
        "on_each": None,
    }
    if subject is not None:
        chosen = subject.selection
        found = subject.processor.shares(subject.tokens, chosen.layers, chosen.heads)
        rounded = [round(float(share), 5) for share in found]
        row |= {"method": chosen.method, **dict(zip(SHARES, rounded, strict=True))}
        if count > 1:
            each = subject.processor.visual_shares(subject.tokens, chosen.layers, chosen.heads)
            row["on_each"] = "; ".join(f"{share:.5f}" for share in each)
    return row


def word_rows(subject: Subject) -> list[Row]:
    """Return the figures of each chosen word of an answer.

    `row` and `column` are the hottest cell's, from 1; `x` and `y` its centre in pixels of the picture as
    it was used, `image_width` × `image_height` of its answer.
    `hottest` is its share of the map's values above 0. `cells` is how many cells the map is spread over: exp
    of the entropy of these shares, from 1 to all of them; both are None for a map without values above 0.
    All are of the map on all pictures; `picture` is the hottest cell's, from 1, and `time` that of its step
    in a clip, in seconds.
    """
    rows = []
    for number, word in subject.words():
        logprob = float(subject.capture.logprobs[list(word.tokens)].sum())
        rows.append(
            {
                "word": number,
                "text": word.text,
                "token_numbers": as_ranges(word.tokens),
                "probability": round(math.exp(logprob), 6),
                "on_image": round(_on_all(subject, word.tokens), 5),
                **_place(subject.found.mean_map(word.tokens).reshape(-1), subject.capture.visuals),
            }
        )
    return rows


def _on_all(subject: Subject, tokens: Sequence[int]) -> float:
    """Return the share of some tokens' attention that is on the picture, or on all of several, 0..1."""
    if is_picture(subject.capture.visuals):
        return subject.on_image(tokens)
    return float(subject.plane_shares(tokens).sum())


def _place(values: NDArray[np.float32], visuals: Sequence[Visual]) -> Row:
    """Return where a map (patch,) is hottest, and how widely it is spread."""
    hottest = int(values.argmax())
    number = next(i for i, visual in enumerate(visuals) if hottest < visual.patches.stop)
    visual = visuals[number]
    (_, h, w), (height, width) = visual.grid, visual.size
    step, row, column = np.unravel_index(hottest - visual.first, visual.grid)
    place = {
        "row": int(row) + 1,
        "column": int(column) + 1,
        "x": round((int(column) + 0.5) * width / w, 1),
        "y": round((int(row) + 0.5) * height / h, 1),
        "picture": number + 1,
        "time": round(visual.times[step], 3) if visual.times else None,
    }
    of_cells = shares(values.astype(np.float64))
    of_cells = of_cells[of_cells > 0]
    if not len(of_cells):
        return {**place, "hottest": None, "cells": None}
    spread = float(np.exp(-(of_cells * np.log(of_cells)).sum()))
    return {**place, "hottest": round(float(of_cells.max()), 5), "cells": round(spread, 2)}


# --- Of all pictures ----------------------------------------------------------------------------------------


def write_tables(output: Path, rows: Sequence[Row], failures: Sequence[Failure]) -> list[str]:
    """Write answers and words as CSV, as Parquet where pyarrow is there too; failures as CSV."""
    answers = [
        {**_question(row), **row["answer"], "seconds": row["seconds"], "folder": _at(row)} for row in rows
    ]
    words = [{**_question(row), **word, "folder": _at(row)} for row in rows for word in row["words"]]
    failed = [{"image": one.image, "prompt": one.prompt, "reason": one.reason} for one in failures]
    tables = zip(TABLES, (answers, words, failed), strict=True)
    return [file for name, table in tables for file in write_table(output, name, table)]


def write_table(output: Path, name: str, table: Sequence[Row]) -> list[str]:
    """Write a table, return the files' names; of an empty one what an earlier run left is removed."""
    if not table:
        (output / f"{name}.csv").unlink(missing_ok=True)
        (output / f"{name}.parquet").unlink(missing_ok=True)
        return []
    columns = dict.fromkeys(column for row in table for column in row)
    table = [{**columns, **row} for row in table]  # what was done before may know fewer
    _write_csv(output / f"{name}.csv", table)
    if name == "failed" or find_spec("pyarrow") is None:
        return [f"{name}.csv"]
    _write_parquet(output / f"{name}.parquet", table)
    return [f"{name}.csv", f"{name}.parquet"]


def _question(row: Row) -> Row:
    return {"image": row["image"], "prompt": row["prompt"]}


def _at(row: Row) -> str:
    return f"{ITEMS}/{row['folder']}"


def no_formula(value: Any) -> Any:
    """Return a cell as it is, but with ' before a text that a spreadsheet would run as a formula."""
    is_formula = isinstance(value, str) and len(value) > 1 and value[0] in "=+-@\t\r"
    return f"'{value}" if is_formula and not re.fullmatch(r"[+-][\d.,]+", value) else value


def _write_csv(path: Path, table: Sequence[Row]) -> None:
    with atomic_write(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]))
        writer.writeheader()
        writer.writerows({name: no_formula(value) for name, value in row.items()} for row in table)


def _write_parquet(path: Path, table: Sequence[Row]) -> None:
    arrow, parquet = import_module("pyarrow"), import_module("pyarrow.parquet")
    with atomic_write(path) as unfinished:
        parquet.write_table(arrow.Table.from_pylist(list(table)), unfinished)


# --- The index ----------------------------------------------------------------------------------------------

STYLE = """:root { color-scheme: light dark }
body { font: 15px/1.45 system-ui, sans-serif; margin: 24px auto; max-width: 1200px; padding: 0 16px }
ol { list-style: none; padding: 0; display: grid; gap: 24px }
ol { grid-template-columns: repeat(auto-fill, minmax(340px, 1fr)) }
li { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 10px; padding: 12px }
img { width: 100%; height: 240px; object-fit: contain; background: #8881 }
h2 { font-size: 15px; margin: 0; overflow-wrap: anywhere } p { margin: 4px 0; overflow-wrap: anywhere }
.faint { color: color-mix(in srgb, currentColor 75%, transparent); font-size: 13px }
nav a { margin-right: 10px }"""


def write_index(output: Path, rows: Sequence[Row], failures: Sequence[Failure]) -> list[str]:
    """Write index.html, and index-2.html and so on where there are many pictures; return the first's name."""
    pages = [rows[first : first + PAGE] for first in range(0, len(rows), PAGE)] or [[]]
    names = [f"index-{number}.html" if number > 1 else "index.html" for number in range(1, len(pages) + 1)]
    for old in output.glob("index-*.html"):
        if re.fullmatch(r"index-\d+\.html", old.name) and old.name not in names:
            old.unlink()
    for name, page in zip(names, pages, strict=True):
        with atomic_write(output / name) as unfinished:
            unfinished.write_text(_page(output, page, names, name, failures, len(rows)), encoding="utf-8")
    return names[:1]


def _page(
    output: Path,
    rows: Sequence[Row],
    names: Sequence[str],
    name: str,
    failures: Sequence[Failure],
    count: int,
) -> str:
    """Return one page of the index."""
    tables = [file for name in TABLES if (output / (file := f"{name}.csv")).is_file()]
    links = "".join(f'<a href="{file}">{file}</a>' for file in tables)
    if len(names) > 1:
        links += "".join(
            f"<b>{number}</b> " if one == name else f'<a href="{one}">{number}</a>'
            for number, one in enumerate(names, 1)
        )
    failed = "".join(
        f"<li><h2>{escape(one.image)}</h2><p>{escape(one.reason)}</p></li>" for one in failures[:PAGE]
    )
    failed = f"<h1>{len(failures)} could not be used</h1><ol>{failed}</ol>" if failures else ""
    done = f"{count} answer{'s' * (count != 1)}"
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{done}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{STYLE}</style><h1>{done}</h1><nav>{links}</nav>"
        f"<ol>{''.join(_entry(output, row) for row in rows)}</ol>{failed if name == names[0] else ''}\n"
    )


def _entry(output: Path, row: Row) -> str:
    """Return one answer's part of the index."""
    folder, at = output / _at(row), quote(_at(row))
    files = sorted(file.name for file in folder.iterdir() if file.name not in ("overview.png", ITEM))
    links = " ".join(f'<a href="{at}/{quote(file)}">{escape(file)}</a>' for file in files)
    picture = f'<a href="{at}/overview.png"><img loading="lazy" src="{at}/overview.png" alt=""></a>'
    on_image, several = row["answer"]["on_image"], row["answer"].get("pictures", 1) > 1
    share = "" if on_image is None else f"{on_image:.0%} of its attention on the picture{'s' * several} · "
    return (
        f"<li>{picture if (folder / 'overview.png').is_file() else ''}<h2>{escape(row['image'])}</h2>"
        f'<p class="faint">{escape(one_line(row["prompt"]))}</p>'
        f"<p>{escape(one_line(row['answer']['answer_text'])) or '<i>an empty answer</i>'}</p>"
        f'<p class="faint">{share}{links}</p></li>'
    )
