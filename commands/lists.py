"""What `batch` asks about: the pictures of a folder, or the rows of a list.

Goes in: a path. Comes out: an `Asked` for each picture. Opens no picture: one that cannot be opened is
found out when its turn comes, and stops nobody else.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from commands.terminal import UsageError
from records.pictures import IMAGE_FORMATS

ENDINGS = (".txt", ".csv", ".jsonl")


class Columns(NamedTuple):
    """The names of a list's columns; those of prompt and answer need not be there."""

    image: str = "image"
    prompt: str = "prompt"
    answer: str | None = None


class Asked(NamedTuple):
    """A picture, what is asked about it, and the answer where it is given."""

    name: str  # as the list has it; of a folder, the path within it
    file: Path
    prompt: str
    answer: str | None = None


def asked_in(source: Path, prompt: str | None, columns: Columns, output: Path) -> list[Asked]:
    """Return what is asked, in order; `prompt` is asked where a row has none of its own.

    Of a folder, what is in the folder `output` is left out: it was written, and is not asked about.

    Raises:
        UsageError: one line, for a source that is none of these, a list that cannot be read, a row without a
            picture or a prompt, or nothing to do.
    """
    if source.is_dir():
        if columns.answer is not None:
            raise UsageError(f"--answer-column belongs to a list; {source} is a folder")
        rows = [{columns.image: name} for name in pictures_in(source, output)]
        found = [_asked(row, source, prompt, columns, str(row[columns.image])) for row in rows]
    elif source.suffix.lower() in ENDINGS:
        found = [_asked(row, source.parent, prompt, columns, at) for at, row in _rows(source, columns)]
    else:
        known = ", ".join(ENDINGS)
        raise UsageError(f"{source} is neither a folder of pictures nor a list that ends in {known}")
    if not found:
        raise UsageError(f"there is no picture in {source}")
    return found


def pictures_in(folder: Path, left_out: Path) -> list[str]:
    """Return the paths of the pictures in a folder and its folders, by their endings; hidden ones not."""
    if folder.resolve() == left_out.resolve():
        raise UsageError(f"the pictures of {folder} cannot be written beside: choose another --output")
    Image.init()
    endings = {ending for ending, kind in Image.EXTENSION.items() if kind in IMAGE_FORMATS}
    found = (file for file in folder.rglob("*") if file.suffix.lower() in endings)
    written = left_out.resolve()
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
        table = csv.DictReader(text.splitlines(keepends=True), strict=True)
        _check_columns(source, table.fieldnames or (), columns)
        try:
            yield from ((f"{source}, line {table.line_num}", row) for row in table)
        except csv.Error as error:
            raise UsageError(f"{source}, after line {table.line_num}: {error}") from None
        return
    for number, line in enumerate(text.splitlines(), 1):
        at = f"{source}, line {number}"
        if line.strip() and source.suffix.lower() == ".txt":
            yield at, {columns.image: line.strip()}
        elif line.strip():
            yield at, _json_row(line, at)


def _check_columns(source: Path, there: Any, columns: Columns) -> None:
    for name in (columns.image, columns.answer):
        if name is not None and name not in there:
            raise UsageError(f"{source} has no column {name!r}; its columns are {', '.join(there)}")


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
    name = row.get(columns.image)
    if not isinstance(name, str) or not name.strip():
        raise UsageError(f"{at}: {columns.image!r} names no picture")
    own = row.get(columns.prompt) or prompt
    if not isinstance(own, str) or not own.strip():
        raise UsageError(f"{at}: there is no prompt; add --prompt, or a column {columns.prompt!r}")
    answer = row.get(columns.answer) if columns.answer is not None else None
    if columns.answer is not None and (not isinstance(answer, str) or not answer.strip()):
        raise UsageError(f"{at}: {columns.answer!r} holds no answer")
    return Asked(name.strip(), folder / name.strip(), own, answer)
