"""What `batch` asks about: the pictures of a folder, or the rows of a list.

Goes in: a path. Comes out: an `Asked` for each picture. Opens no picture: one that cannot be opened is
found out when its turn comes, and stops nobody else.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from commands.terminal import UsageError
from records.pictures import IMAGE_FORMATS
from report.batch import TABLES
from sets.ledger import ITEMS
from utils import HALF, is_broken

WITH_COLUMNS = (".csv", ".jsonl")
ENDINGS = (".txt", *WITH_COLUMNS)


class Columns(NamedTuple):
    """The columns of a list that a person named: they must be there; None is the usual name, or no answer."""

    image: str | None = None
    prompt: str | None = None
    answer: str | None = None


class Asked(NamedTuple):
    """A picture, what is asked about it, and the answer where it is given."""

    name: str  # as the list has it; of a folder, the path within it
    file: Path
    prompt: str
    answer: str | None = None


def asked_in(source: Path, prompt: str | None, columns: Columns, output: Path) -> list[Asked]:
    """Return what is asked, in order and once each; `prompt` is asked where a row has none of its own.

    Of a folder, what is in the folder `output` is left out: it was written, and is not asked about.

    Raises:
        UsageError: one line, for a source that is none of these, a list that cannot be read, a row without a
            picture or a prompt, or nothing to do.
    """
    ending = source.suffix.lower()
    if not source.exists():
        raise UsageError(f"{source} is not there")
    if not source.is_dir() and ending not in ENDINGS:
        known = ", ".join(ENDINGS)
        raise UsageError(f"{source} is neither a folder of pictures nor a list that ends in {known}")
    if any(columns) and (source.is_dir() or ending not in WITH_COLUMNS):
        raise UsageError(
            f"--image-column, --prompt-column and --answer-column belong to .csv and .jsonl; {source} is none"
        )
    if source.is_dir():
        found = [
            _asked({"image": name}, source, prompt, columns, name) for name in pictures_in(source, output)
        ]
    elif source.resolve() in [(output / f"{name}.csv").resolve() for name in TABLES]:
        raise UsageError(f"{source} would be written over: choose another --output")
    else:
        found = [_asked(row, source.parent, prompt, columns, at) for at, row in _rows(source, columns)]
    if not found:
        raise UsageError(f"there is no picture in {source}")
    return list(dict.fromkeys(found))


def pictures_in(folder: Path, output: Path) -> list[str]:
    """Return the paths of the pictures in a folder and its folders, by their endings; hidden ones not."""
    here, written = folder.resolve(), output.resolve()
    if here == written:
        raise UsageError(f"the pictures of {folder} cannot be written beside: choose another --output")
    if here.is_relative_to(written):  # the tables stand above it
        written /= ITEMS
    Image.init()
    endings = {ending for ending, kind in Image.EXTENSION.items() if kind in (*IMAGE_FORMATS, "MPO")}
    found = (file for file in folder.rglob("*") if file.suffix.lower() in endings and file.is_file())
    files = (file.relative_to(folder) for file in found if not file.resolve().is_relative_to(written))
    return sorted(file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts))


def _rows(source: Path, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the rows of a list, each with its name for errors."""
    try:
        text = source.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise UsageError(f"{source} cannot be read: {reason}") from None
    if source.suffix.lower() == ".csv":
        yield from _csv_rows(source, text, columns)
        return
    for number, line in enumerate(text.split("\n"), 1):
        at = f"{source}, line {number}"
        if line.strip() and source.suffix.lower() == ".txt":
            yield at, {"image": line.strip()}
        elif line.strip():
            yield at, _json_row(line, at)


def _csv_rows(source: Path, text: str, columns: Columns) -> Iterator[tuple[str, Mapping[str, Any]]]:
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        there = table.fieldnames or ()
        for name in (columns.image or "image", columns.prompt, columns.answer):
            if name is not None and name not in there:
                raise UsageError(f"{source} has no column {name!r}; its columns are {', '.join(there)}")
        yield from ((f"{source}, line {table.line_num}", row) for row in table)
    except csv.Error as error:
        raise UsageError(f"{source}, after line {table.line_num}: {error}") from None


def _json_row(line: str, at: str) -> Mapping[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise UsageError(f"{at} is no JSON object")
    return row


def _asked(row: Mapping[str, Any], folder: Path, prompt: str | None, columns: Columns, at: str) -> Asked:
    """Return what a row asks; a path in it is one beside the list."""
    image = columns.image or "image"
    name = row.get(image)
    if not isinstance(name, str) or not name.strip() or "\0" in name:
        raise UsageError(f"{at}: {image!r} names no picture")
    own = row.get(columns.prompt or "prompt")
    if own is not None and not isinstance(own, str):
        raise UsageError(f"{at}: {columns.prompt or 'prompt'!r} holds no text")
    asked = own if own and own.strip() else prompt
    if asked is None:
        raise UsageError(
            f"{at}: there is no prompt; add --prompt, or a column {columns.prompt or 'prompt'!r}"
        )
    answer = row.get(columns.answer) if columns.answer is not None else None
    if columns.answer is not None and (not isinstance(answer, str) or not answer.strip()):
        raise UsageError(f"{at}: {columns.answer!r} holds no answer")
    for text in (asked, answer or ""):
        if is_broken(text):
            raise UsageError(f"{at}: it {HALF}")
    shown = name.strip().encode("utf-8", "backslashreplace").decode()  # of a file whose name is no text
    return Asked(shown, folder / name.strip(), asked, answer)
