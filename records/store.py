"""Captures kept on disk, so that a question asked again answers at once and a run can be reopened.

Goes in: a `Capture` and its picture. Comes out: the same two, equal in every part, without a model; also
after a restart, and for another process. Knows nothing of maps or pages.

Each entry is a folder named by its id: tensors as safetensors, all else as JSON, the picture and a small copy
of it as PNG. It appears whole or not at all. What is worked out about it later is put beside these, a file
a part (see additions.py), and can be missing. Nothing is ever unpickled, and no name on disk comes from a
prompt or a file name.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import config
from records.additions import (
    Additions,
    check_format,
    damage_text,
    disk_told,
    read_additions,
    read_maps,
    write_check,
    write_maps,
    write_without,
)
from records.capture import Capture
from records.map_check import MapCheck
from records.pictures import image_hash, open_image, rgb
from records.shares import Held, leaving
from records.token_maps import TokenMaps
from utils import PRIVATE, one_line, remove_abandoned, unfinished_folder

ROOT = Path(__file__).parent.parent
FORMAT = 1  # raised when an entry is written in a way that older code cannot read
TENSORS, FACTS, PICTURE, THUMBNAIL = "capture.safetensors", "capture.json", "picture.png", "thumbnail.png"
THUMBNAIL_SIDE = 192  # pixels of the longer side
ANSWER_CHARACTERS = 200  # of the answer and of the prompt, in a list
REMOVED = ".removed-"
_ID = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Kept:
    """A capture that was kept, with its picture and what was worked out about it since."""

    id: str
    capture: Capture
    image: Image.Image
    additions: Additions = field(default_factory=Additions)

    @property
    def without(self) -> NDArray[np.float32] | None:
        """Log p of each token (token,) to the same question without the picture; None if not known."""
        return self.additions.without

    @property
    def maps(self) -> Mapping[str, TokenMaps]:
        """Maps by methods that read the answer again, by name; perhaps of some of its tokens only."""
        return self.additions.maps

    @property
    def checks(self) -> tuple[MapCheck, ...]:
        """The maps that were tested."""
        return self.additions.checks


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


def cache_folder() -> Path:
    """Return config's folder; a relative one is beside config.py, wherever the program is started."""
    return ROOT / config.CACHE_DIR


class Store:
    """Captures in one folder, of at most so many bytes together; the one not used for longest goes first.

    Several processes may use the folder at once.
    """

    def __init__(self, folder: str | os.PathLike[str] | None = None, max_bytes: int | None = None) -> None:
        """Use a folder, which need not exist; None reads `config.CACHE_DIR` and `config.MAX_CACHE_BYTES`.

        A relative folder is one beside config.py, wherever the program is started.
        """
        self.folder = cache_folder() if folder is None else ROOT / folder
        self.max_bytes = config.MAX_CACHE_BYTES if max_bytes is None else max_bytes
        self.holders: dict[str, str] = {}  # whose an entry is; each of the others is nobody else's

    def save(
        self,
        capture: Capture,
        image: Image.Image,
        key: str | None = None,
        known_hash: str | None = None,
        otherwise: str | None = None,
        holder: str = "",
    ) -> str | None:
        """Keep a capture with its picture, and return its id; None if it is larger than the whole store.

        Under `key` it answers the same question again. Without a key, or where the answer was stopped, it is
        only listed and opened, under the id `otherwise` or a new one. `known_hash` is the picture's
        `image_hash`, for who has worked it out already. With a `holder`, who holds most loses theirs first,
        and each holds at most `config.MAX_VISITOR_BYTES` of what they were the first to ask for.

        Raises:
            ValueError: if the picture is not the capture's, or the key is none.
            OSError: if it cannot be written.
        """
        wanted = otherwise if key is None or capture.stopped else key
        entry_id = secrets.token_hex(16) if wanted is None else _checked_id(wanted)
        if (known_hash or image_hash(image)) != capture.image_hash:
            raise ValueError("the picture is not the one that the capture was made from")
        if capture.bytes > self.max_bytes:
            return None  # nothing of it is written
        self.folder.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(self.folder, PRIVATE) as unfinished:
            _write(unfinished, capture, image)
            if _size(unfinished) > self.max_bytes:
                return None
            self._place(unfinished, entry_id)
        if holder:
            self.holders.setdefault(entry_id, holder)
        self._shrink(keep=entry_id)
        return entry_id

    def add(
        self,
        entry_id: str,
        capture: Capture,
        *,
        without: NDArray[np.float32] | None = None,
        maps: TokenMaps | None = None,
        check: MapCheck | None = None,
    ) -> bool:
        """Keep what was worked out about an answer beside it; return whether it is kept, all of it.

        `without` is log p of each token (token,) without the picture. Maps of some tokens join those of the
        same method and settings that are kept; others of the method take their place. A test takes the place
        of the one of the same map and tokens. An entry that was removed meanwhile, or would outgrow the
        store, is left alone.

        Raises:
            ValueError: for what is not of this answer, and for maps that are not kept (`write_maps`).
            OSError: if it cannot be written.
        """
        folder = self.folder / _checked_id(entry_id)
        if not folder.is_dir():
            return False
        with unfinished_folder(self.folder, PRIVATE) as unfinished:
            files = [write_without(unfinished, capture, without)] if without is not None else []
            if maps is not None:
                known = read_maps(folder, capture, maps.method, entry_id[:8])
                files.append(write_maps(unfinished, capture, maps.joined_to(known)))
            files += [write_check(unfinished, capture, check)] if check is not None else []
            names = {file.name for file in files}
            try:
                rest = sum(one.stat().st_size for one in folder.iterdir() if one.name not in names)
                if rest + _size(unfinished) > self.max_bytes:
                    return False
                for file in files:
                    file.replace(folder / file.name)
            except (FileNotFoundError, NotADirectoryError):
                return False  # removed meanwhile
        self._shrink(keep=entry_id)
        return True

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
                kept = read_entry(folder)
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
        for _ in range(3):  # another process may have been adding to it, and is done now
            shutil.rmtree(gone, ignore_errors=True)
            if not gone.exists():
                break
        return True

    def tidy(self) -> None:
        """Remove what killed processes left."""
        remove_abandoned(self.folder)
        for left in self.folder.glob(f"{REMOVED}*"):
            shutil.rmtree(left, ignore_errors=True)

    def _folders(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if _ID.fullmatch(path.name) and path.is_dir()]

    def _place(self, unfinished: Path, entry_id: str) -> None:
        """Move a whole entry to its place; the one that is there, of the same question, goes."""
        for _ in range(10):  # another process may be placing the same
            try:
                unfinished.rename(self.folder / entry_id)
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
                self.remove(entry_id)  # another process may have done so by now
            else:
                return
        raise OSError(f"{entry_id} could not be kept: other processes keep it at the same time")

    def _shrink(self, keep: str) -> None:
        """Remove what killed processes left, and the entries not used for longest, until the rest fits."""
        self.tidy()
        used = []
        for folder in self._folders():
            with suppress(OSError):  # removed by another process meanwhile
                used.append((folder.name == keep, folder.stat().st_mtime_ns, folder.name, _size(folder)))
        whose = {name: self.holders.get(name, name if self.holders else "") for _, _, name, _ in used}
        held = [Held(name, whose[name], size, is_kept) for is_kept, _, name, size in sorted(used)]
        each = config.MAX_VISITOR_BYTES if self.holders else self.max_bytes
        for one in leaving(held, self.max_bytes, each):
            self.remove(one.item)
            self.holders.pop(one.item, None)


def _checked_id(entry_id: str) -> str:
    """Return the id if it is one of ours: no path can be made of it."""
    if not isinstance(entry_id, str) or not _ID.fullmatch(entry_id):
        raise ValueError(f"an id is 32 hexadecimal digits; got {one_line(entry_id, 60)!r}")
    return entry_id


def _write(folder: Path, capture: Capture, image: Image.Image) -> None:
    """Write all files of an entry."""
    write_capture(folder, capture, time.time())
    picture = rgb(image).copy()
    picture.info = {}  # the pixels alone, without what a file said of itself
    picture.save(folder / PICTURE, compress_level=1)
    picture.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    picture.save(folder / THUMBNAIL)


def write_capture(folder: Path, capture: Capture, saved: float) -> None:
    """Write an entry's files but for its picture; `saved` is when, in seconds since 1970."""
    from safetensors.torch import save_file
    from torch import Tensor

    values = {part.name: getattr(capture, part.name) for part in fields(capture) if part.name != "picture"}
    tensors = {name: value for name, value in values.items() if isinstance(value, Tensor)}
    with disk_told():
        save_file({name: _whole(tensor) for name, tensor in tensors.items()}, folder / TENSORS)
    facts = {
        "format": FORMAT,
        "saved": saved,
        "capture": {name: value for name, value in values.items() if name not in tensors},
    }
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")


def _whole(tensor: Any) -> Any:
    """Return the tensor in memory of its own, as the file needs it; not copied where it is so already."""
    whole = tensor.detach().cpu().contiguous()
    return whole if whole.untyped_storage().nbytes() == whole.nbytes else whole.clone()


def _facts(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / FACTS).read_text("utf-8"))
    check_format(facts, FORMAT)
    return dict(facts)


def read_entry(folder: Path, picture_file: Path | None = None) -> Kept:
    """Return an entry with what is kept beside it; whatever is wrong with it raises.

    `picture_file` is its picture where that is not in the folder.
    """
    from safetensors.torch import load_file

    plain = {name: _with_tuples(value) for name, value in _facts(folder)["capture"].items()}
    picture = open_image(picture_file or folder / PICTURE)
    capture = Capture(**{**plain, **load_file(folder / TENSORS)}, picture=picture)
    if image_hash(picture) != capture.image_hash:
        raise ValueError("its picture is not the one of its capture")
    return Kept(folder.name, capture, picture, read_additions(folder, capture, folder.name[:8]))


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
        told = f"the kept answer {entry_id[:8]} is damaged and was skipped: {damage_text(error)}"
        raise DamagedError(told) from error
