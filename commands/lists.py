"""What `batch` asks about: the pictures of a folder, or the rows of a list.

Goes in: a path. Comes out: an `Asked` for each row. Opens no picture: one that cannot be opened is found out
when its turn comes, and stops nobody else.

A row may be about several pictures and clips. They are those of its columns `image`, `image_2`, `image_3` …,
or of those that a person named, in that order; in JSONL a value may also be a list of them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from itertools import count, takewhile
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
IMAGE = "image"  # the usual column; of several image, image_2, image_3 …


class Columns(NamedTuple):
    """The columns of a list that a person named: they must be there; None is the usual name, or no answer."""

    images: tuple[str, ...] = ()  # several of one question, in its order
    prompt: str | None = None
    answer: str | None = None


class Asked(NamedTuple):
    """A picture or clip, or several, what is asked about them, and the answer where it is given."""

    names: tuple[str, ...]  # as the list has them; of a folder, the path within it
    files: tuple[Path, ...]
    prompt: str
    answer: str | None = None

    @property
    def name(self) -> str:
        """All of them for people: "a.jpg, b.jpg"."""
        return ", ".join(self.names)


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
    found = (file for file in folder.rglob("*") if is_picture_name(file) and file.is_file())
    files = (file.relative_to(folder) for file in found if not file.resolve().is_relative_to(written))
    return sorted(file.as_posix() for file in files if not any(part.startswith(".") for part in file.parts))


def is_picture_name(file: Path) -> bool:
    """Return whether a file's ending is that of a picture; of a list, all else may be a clip."""
    Image.init()
    return Image.EXTENSION.get(file.suffix.lower()) in (*IMAGE_FORMATS, "MPO")


def may_have_clip(asked: Asked) -> bool:
    """Return whether there may be a clip among the files, by their endings."""
    return not all(map(is_picture_name, asked.files))


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
        for name in (*(columns.images or (IMAGE,)), columns.prompt, columns.answer):
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
    names = _names(row, columns, at)
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
    shown = (name.encode("utf-8", "backslashreplace").decode() for name in names)  # one may be no text
    return Asked(tuple(shown), tuple(folder / name for name in names), asked, answer)


def _names(row: Mapping[str, Any], columns: Columns, at: str) -> list[str]:
    """Return the pictures of a row; only the first column has to name one.

    Raises:
        UsageError: for a value that names none; of several, with its place among them.
    """
    first, *more = columns.images or (IMAGE, *_numbered(row))
    values = [row.get(first), *(value for column in more if (value := row.get(column)) not in (None, ""))]
    given = [one for value in values for one in (value if isinstance(value, list) else [value])]
    names = []
    for number, one in enumerate(given, start=1):
        if not isinstance(one, str) or not one.strip() or "\0" in one:
            several = f"picture {number} of {len(given)} is no path of a file"
            raise UsageError(f"{at}: {several if len(given) > 1 else f'{first!r} names no picture'}")
        names.append(one.strip())
    if not names:
        raise UsageError(f"{at}: {first!r} names no picture")
    return names


def _numbered(row: Mapping[str, Any]) -> Iterator[str]:
    """Yield image_2, image_3 … as far as the row has them."""
    names = (f"{IMAGE}_{number}" for number in count(2))
    yield from takewhile(row.__contains__, names)
