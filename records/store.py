"""Captures kept on disk, so that a question asked again answers at once and a run can be reopened.

Goes in: a `Capture` and its picture. Comes out: the same two, equal in every part, without a model; also
after a restart, and for another process. Knows nothing of maps or pages.

Each entry is a folder named by its id: tensors as safetensors, all else as JSON, the picture and a small copy
of it as PNG. It appears whole or not at all. Nothing is ever unpickled, and no name on disk comes from a
prompt or a file name.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from PIL import Image

import config
from records.capture import Capture
from records.pictures import image_hash, open_image, rgb
from utils import one_line

ROOT = Path(__file__).parent.parent
FORMAT = 1  # raised when an entry is written in a way that older code cannot read
TENSORS, FACTS, PICTURE, THUMBNAIL = "capture.safetensors", "capture.json", "picture.png", "thumbnail.png"
THUMBNAIL_SIDE = 192  # pixels of the longer side
ANSWER_CHARACTERS = 200  # of the answer and of the prompt, in a list
UNFINISHED, REMOVED = ".unfinished-", ".removed-"
ABANDONED = 3600.0  # seconds after which an unfinished entry is taken for a crashed process's
_ID = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Kept:
    """A capture that was kept, with its picture."""

    id: str
    capture: Capture
    image: Image.Image


@dataclass(frozen=True)
class Entry:
    """What a list says of a capture that is kept; read without its tensors."""

    id: str
    model: str
    prompt: str  # on one line, cut
    answer: str  # on one line, cut
    tokens: int
    stopped: bool
    saved: float  # seconds since 1970
    bytes: int  # on disk
    thumbnail: Path  # a PNG


class DamagedError(ValueError):
    """An entry cannot be read; the message is one line."""


class Store:
    """Captures in one folder, of at most so many bytes together; the one not used for longest goes first.

    Several processes may use the folder at once.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, max_bytes: int | None = None) -> None:
        """Use a folder, which need not exist; None reads `config.CACHE_DIR` and `config.MAX_CACHE_BYTES`.

        A relative folder is one beside config.py, wherever the program is started.
        """
        self.folder = ROOT / (config.CACHE_DIR if folder is None else folder)
        self.max_bytes = config.MAX_CACHE_BYTES if max_bytes is None else max_bytes

    def save(
        self, capture: Capture, image: Image.Image, key: str | None = None, known_hash: str | None = None
    ) -> str | None:
        """Keep a capture with its picture, and return its id; None if it is larger than the whole store.

        Under `key` it answers the same question again. Without a key, or where the answer was stopped, it is
        only listed and opened. `known_hash` is the picture's `image_hash`, for who has worked it out already.

        Raises:
            ValueError: if the picture is not the capture's, or the key is none.
            OSError: if it cannot be written.
        """
        entry_id = secrets.token_hex(16) if key is None or capture.stopped else _checked_id(key)
        if (known_hash or image_hash(image)) != capture.image_hash:
            raise ValueError("the picture is not the one that the capture was made from")
        self.folder.mkdir(parents=True, exist_ok=True)
        with self._unfinished() as unfinished:
            _write(unfinished, capture, image)
            if _size(unfinished) > self.max_bytes:
                return None
            self._place(unfinished, entry_id)
        self._shrink(keep=entry_id)
        return entry_id

    def find(self, key: str) -> Kept | None:
        """Return the answer kept under this key, or None; one that is damaged is reported and not used."""
        try:
            return self.open(key)
        except KeyError:
            return None
        except DamagedError as error:
            _log.warning("%s", error)
            return None

    def open(self, entry_id: str) -> Kept:
        """Return a capture that is kept, by its id.

        Raises:
            KeyError: if there is none of that id.
            DamagedError: one line, if it cannot be read.
        """
        folder = self.folder / _checked_id(entry_id)
        try:
            with _damage_told(entry_id):
                kept = _read(folder)
        except DamagedError:
            if folder.is_dir():
                raise
            raise KeyError(entry_id) from None  # never there, or removed meanwhile
        with suppress(OSError):
            os.utime(folder)  # used now
        return kept

    def recent(self) -> list[Entry]:
        """Return all that is kept, newest first; damaged entries are left out and reported."""
        found = []
        for folder in self._folders():
            try:
                with _damage_told(folder.name):
                    found.append(_entry(folder))
            except DamagedError as error:
                if folder.exists():  # else another process has just removed it
                    _log.warning("%s", error)
        return sorted(found, key=lambda entry: entry.saved, reverse=True)

    def remove(self, entry_id: str) -> bool:
        """Remove an entry; return whether there was one."""
        gone = self.folder / f"{REMOVED}{secrets.token_hex(8)}"
        try:
            (self.folder / _checked_id(entry_id)).rename(gone)
        except FileNotFoundError:
            return False
        shutil.rmtree(gone, ignore_errors=True)
        return True

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if _ID.fullmatch(path.name) and path.is_dir()]

    @contextmanager
    def _unfinished(self) -> Iterator[Path]:
        """Yield a new empty folder; what is left of it at the end is removed."""
        folder = self.folder / f"{UNFINISHED}{secrets.token_hex(8)}"
        folder.mkdir(mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _place(self, unfinished: Path, entry_id: str) -> None:
        """Move a whole entry to its place; the one that is there, of the same question, goes."""
        for _ in range(10):  # another process may be placing the same
            try:
                unfinished.rename(self.folder / entry_id)
            except OSError:
                if not self.remove(entry_id):
                    raise
            else:
                return
        raise OSError(f"{entry_id} could not be kept: other processes keep it at the same time")

    def _shrink(self, keep: str) -> None:
        """Remove what crashed processes left, and the entries not used for longest, until the rest fits."""
        for left in (*self.folder.glob(f"{UNFINISHED}*"), *self.folder.glob(f"{REMOVED}*")):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > ABANDONED:
                    shutil.rmtree(left, ignore_errors=True)
        used = []
        for folder in self._folders():
            with suppress(OSError):  # removed by another process meanwhile
                used.append((folder.name == keep, folder.stat().st_mtime_ns, folder.name, _size(folder)))
        total = sum(size for *_, size in used)
        for _, _, name, size in sorted(used):
            if total <= self.max_bytes:
                return
            self.remove(name)
            total -= size


def _checked_id(entry_id: str) -> str:
    """Return the id if it is one of ours: no path can be made of it."""
    if not isinstance(entry_id, str) or not _ID.fullmatch(entry_id):
        raise ValueError(f"an id is 32 hexadecimal digits; got {one_line(entry_id, 60)!r}")
    return entry_id


def _write(folder: Path, capture: Capture, image: Image.Image) -> None:
    """Write all files of an entry."""
    from safetensors.torch import save_file
    from torch import Tensor

    values = {part.name: getattr(capture, part.name) for part in fields(capture)}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    save_file({name: _whole(tensor) for name, tensor in tensors.items()}, folder / TENSORS)
    facts = {
        "format": FORMAT,
        "saved": time.time(),
        "capture": {name: value for name, value in values.items() if name not in tensors},
    }
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    picture = rgb(image).copy()
    picture.info = {}  # the pixels alone, without what a file said of itself
    picture.save(folder / PICTURE, compress_level=1)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    picture.save(folder / THUMBNAIL)


def _whole(tensor: Any) -> Any:
    """Return the tensor in memory of its own, as the file needs it; not copied where it is so already."""
    whole = tensor.detach().cpu().contiguous()
    return whole if whole.untyped_storage().nbytes() == whole.nbytes else whole.clone()


def _facts(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    if facts["format"] != FORMAT:
        raise ValueError(f"it is in format {facts['format']}, not {FORMAT}")
    return dict(facts)


def _read(folder: Path) -> Kept:
    """Read a whole entry; whatever is wrong with it raises."""
    from safetensors.torch import load_file

    plain = {name: _with_tuples(value) for name, value in _facts(folder)["capture"].items()}
    capture = Capture(**{**plain, **load_file(folder / TENSORS)})
    picture = open_image(folder / PICTURE)
    if image_hash(picture) != capture.image_hash:
        raise ValueError("its picture is not the one of its capture")
    return Kept(folder.name, capture, picture)


def _with_tuples(value: Any) -> Any:
    """Return what JSON wrote as lists as tuples; what is inside a dict stays as JSON has it."""
    return tuple(map(_with_tuples, value)) if isinstance(value, list) else value


def _entry(folder: Path) -> Entry:
    facts = _facts(folder)
    capture = facts["capture"]
    return Entry(
        id=folder.name,
        model=str(capture["model_name"]),
        prompt=one_line(capture["prompt"], ANSWER_CHARACTERS),
        answer=one_line(capture["text"], ANSWER_CHARACTERS),
        tokens=len(capture["token_ids"]),
        stopped=bool(capture["stopped"]),
        saved=float(facts["saved"]),
        bytes=_size(folder),
        thumbnail=folder / THUMBNAIL,
    )


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


@contextmanager
def _damage_told(entry_id: str) -> Iterator[None]:
    """Turn whatever a damaged file raises into a DamagedError of one line."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:  # three readers raise a dozen kinds
        what = type(error).__name__ if isinstance(error, KeyError) else one_line(error, 120)
        raise DamagedError(f"the kept answer {entry_id[:8]} is damaged and was skipped: {what}") from error
