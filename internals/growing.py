"""A tensor that grows token by token, in memory or in a file of its own.

Goes in: shapes. Comes out: room for the next tokens, and at the end the whole. Knows nothing of attention.

The file has no name for others to find, so that it is gone with the last tensor in it, also after an error or
a crash. Its pages are the system's to write out and to drop: they are not the process's own memory.
"""

from __future__ import annotations

import errno
import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from utils import one_line

Shape = tuple[int, ...]
CHUNK = 1 << 20  # bytes that are written at a time where a disk cannot set room aside
_CANNOT_RESERVE = (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS)


class Growing(Protocol):
    """A tensor that grows along its first axis (token). Its last axis may be wider from room to room."""

    def room(self, shape: Shape) -> Tensor:
        """Return zeros of this shape for the next tokens, to be written into."""

    def whole(self) -> Tensor:
        """Return all tokens as one tensor, zeros where a room was narrower than the last; once."""


class InMemory:
    """One that grows in a device's memory."""

    def __init__(self, dtype: torch.dtype, device: torch.device) -> None:
        self.dtype, self.device = dtype, device
        self._rooms: list[Tensor] = []

    def room(self, shape: Shape) -> Tensor:
        """Return zeros of this shape for the next tokens."""
        self._rooms.append(torch.zeros(shape, dtype=self.dtype, device=self.device))
        return self._rooms[-1]

    def whole(self) -> Tensor:
        """Return all tokens as one tensor; each room is freed as soon as it is copied."""
        if len(self._rooms) == 1:
            return self._rooms.pop()
        count, last = sum(map(len, self._rooms)), self._rooms[-1]
        # Memory is taken page by page as it is written: what was freed meanwhile makes up for it.
        found = torch.empty((count, *last.shape[1:]), dtype=self.dtype, device=self.device)
        start = 0
        while self._rooms:
            room = self._rooms.pop(0)
            of_room = found[start : start + len(room)]
            of_room[..., : room.shape[-1]] = room
            of_room[..., room.shape[-1] :] = 0
            start += len(room)
        return found


class InFile:
    """One that grows in a temporary file in a folder; on the CPU."""

    def __init__(self, dtype: torch.dtype, folder: Path) -> None:
        self.dtype, self.folder = dtype, folder
        self._rooms: list[tuple[int, Shape]] = []  # where each begins, in bytes
        self._end = 0
        with _told():
            folder.mkdir(parents=True, exist_ok=True)
            self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this grows
        weakref.finalize(self, self._file.close)  # what was mapped stays

    def room(self, shape: Shape) -> Tensor:
        """Return zeros of this shape for the next tokens.

        Raises:
            ValueError: one line, if the disk has no room for them.
        """
        start, size = self._end, math.prod(shape) * self.dtype.itemsize
        with _told():
            _reserve(self._file.fileno(), start, size)
        self._rooms.append((start, shape))
        self._end = start + size
        return self._mapped(start, shape)

    def whole(self) -> Tensor:
        """Return all tokens as one tensor: the file as it is, or a second one where the rooms differ."""
        count, rest = sum(shape[0] for _, shape in self._rooms), self._rooms[-1][1][1:]
        if all(shape[1:] == rest for _, shape in self._rooms):
            return self._mapped(0, (count, *rest))
        found, at = InFile(self.dtype, self.folder).room((count, *rest)), 0
        for start, shape in self._rooms:
            found[at : at + shape[0], ..., : shape[-1]] = self._mapped(start, shape)
            at += shape[0]
        return found

    def _mapped(self, start: int, shape: Shape) -> Tensor:
        if math.prod(shape) == 0:  # nothing can be mapped
            return torch.zeros(shape, dtype=self.dtype)
        kind = torch.empty(0, dtype=self.dtype).numpy().dtype
        return torch.from_numpy(np.memmap(self._file, kind, "r+", start, shape))


def free_disk(folder: Path) -> int:
    """Return the bytes that are free on the disk of a folder, which need not exist yet.

    Raises:
        ValueError: one line, if that is not told.
    """
    with _told():
        while not folder.exists() and folder != folder.parent:
            folder = folder.parent
        return shutil.disk_usage(folder).free


def _reserve(file: int, start: int, size: int) -> None:
    """Set bytes of zeros aside at the end of a file; OSError if the disk does not have them.

    A page that is first written through a mapping when the disk is full would end the process.
    """
    if size == 0:
        return
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file, start, size)
        except OSError as error:
            if error.errno not in _CANNOT_RESERVE:
                raise
        else:
            return
    os.lseek(file, start, os.SEEK_SET)
    for first in range(0, size, CHUNK):
        os.write(file, bytes(min(CHUNK, size - first)))


@contextmanager
def _told() -> Iterator[None]:
    """Turn what a disk raises into a line that says what to do."""
    try:
        yield
    except OSError as error:
        why = one_line(error.strerror or error)
        raise ValueError(
            f"So long an answer is recorded into a file in CACHE_DIR, which cannot be written ({why}): "
            'choose another CACHE_DIR, keep less (KEEP = "head-mean"), or use memory (MAX_CAPTURE_BYTES).'
        ) from None
