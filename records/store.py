"""Captures kept on disk, so that a question asked again answers at once and a run can be reopened.

Goes in: a `Capture` and its pictures. Comes out: the same, equal in every part, without a model; also
after a restart, and for another process. Knows nothing of maps or pages.

Each entry is a folder named by its id: tensors as safetensors, all else as JSON, its pictures, the frames of
its clips and a small copy of the first as PNG. It appears whole or not at all. What is worked out about it
later is put beside these, a file a part (see additions.py), and can be missing. Nothing is ever unpickled,
and no name on disk comes from a prompt or a file name.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import config
from records.additions import damage_text, read_maps, write_check, write_maps, write_without
from records.capture import Capture
from records.entries import Entry, Kept, listed_entry, read_entry, size_of, write_entry
from records.map_check import MapCheck
from records.pictures import hashes_of
from records.shares import Held, leaving
from records.token_maps import TokenMaps
from records.videos import Video
from utils import PRIVATE, one_line, remove_abandoned, unfinished_folder

ROOT = Path(__file__).parent.parent
REMOVED = ".removed-"
_ID = re.compile(r"[0-9a-f]{32}")
_log = logging.getLogger(__name__)


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
        image: Image.Image | Video | Sequence[Image.Image | Video],
        key: str | None = None,
        known_hash: str | Sequence[str] | None = None,
        otherwise: str | None = None,
        holder: str = "",
    ) -> str | None:
        """Keep a capture with its pictures, and return its id; None if it is larger than the whole store.

        `image` is its picture or clip, or all of them in the order of the prompt. Of a clip its frames here
        are kept.

        Under `key` it answers the same question again. Without a key, or where the answer was stopped, it is
        only listed and opened, under the id `otherwise` or a new one. `known_hash` is the picture's
        `image_hash`, of several a list, for who has worked it out already. With a `holder`, who holds most
        loses theirs first, and each holds at most `config.MAX_VISITOR_BYTES` of what they were the first to
        ask for.

        Raises:
            ValueError: if the pictures are not the capture's, or the key is none.
            OSError: if it cannot be written.
        """
        wanted = otherwise if key is None or capture.stopped else key
        entry_id = secrets.token_hex(16) if wanted is None else _checked_id(wanted)
        images: list[Any] = list(image) if isinstance(image, (list, tuple)) else [image]
        if hashes_of(images, known_hash) != [visual.hash for visual in capture.visuals]:
            raise ValueError("the picture is not the one that the capture was made from")
        if capture.bytes > self.max_bytes:
            return None  # nothing of it is written
        self.folder.mkdir(parents=True, exist_ok=True)
        with unfinished_folder(self.folder, PRIVATE) as unfinished:
            write_entry(unfinished, capture, images)
            if size_of(unfinished) > self.max_bytes:
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
                if rest + size_of(unfinished) > self.max_bytes:
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
        found = [entry for folder in self._folders() if (entry := self._listed(folder)) is not None]
        return sorted(found, key=lambda entry: entry.saved, reverse=True)

    def entry(self, entry_id: str | None) -> Entry | None:
        """Return what a list says of one that is kept, by its id; None where there is none."""
        if entry_id is None or not _ID.fullmatch(entry_id):
            return None
        folder = self.folder / entry_id
        return self._listed(folder) if folder.is_dir() else None

    def _listed(self, folder: Path) -> Entry | None:
        """Return what a list says of an entry; None for one that is damaged, which is reported."""
        try:
            with _damage_told(folder.name):
                return listed_entry(folder)
        except DamagedError as error:
            if folder.exists():  # else another process has just removed it
                _log.warning("%s", error)
        return None

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
                used.append((folder.name == keep, folder.stat().st_mtime_ns, folder.name, size_of(folder)))
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
