"""The store: disks that take no more, and clocks that jump."""

import errno
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors import SafetensorError

from records import entries
from records.additions import disk_told
from records.store import Store
from tests.records.store.kit import KEYS, capture_of, left, picture, same


@contextmanager
def no_file_beyond(size: int) -> Iterator[None]:
    """Have the system refuse to write more bytes than these into any file."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 40, 2000])
def test_a_disk_that_takes_no_more_is_an_oserror_and_leaves_nothing(kept: Store, size: int) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    with no_file_beyond(size), pytest.raises(OSError, match="File too large") as error:
        kept.save(capture_of(image, stopped=False), image, KEYS[1])
    assert error.value.errno == errno.EFBIG
    assert left(kept) == {KEYS[0]}
    assert same(kept.open(KEYS[0]).capture.attention, capture_of(image).attention)


def test_nor_does_what_is_worked_out_about_an_answer(kept: Store) -> None:
    image = picture()
    capture = capture_of(image, stopped=False)
    kept.save(capture, image, KEYS[0])
    before = np.full(len(capture.token_ids), -1.0, np.float32)
    assert kept.add(KEYS[0], capture, without=before)
    with no_file_beyond(10), pytest.raises(OSError, match="File too large"):
        kept.add(KEYS[0], capture, without=2 * before)
    assert left(kept) == {KEYS[0]}
    without = kept.open(KEYS[0]).without
    assert without is not None
    np.testing.assert_array_equal(without, before)


def test_a_full_disk_is_told_by_its_number() -> None:
    """The words are those of safetensors 0.8 on a full disk."""
    line = "Error while serializing: I/O error: No space left on device (os error 28)"
    with pytest.raises(OSError, match="No space left on device") as error, disk_told():
        raise SafetensorError(line)
    assert error.value.errno == errno.ENOSPC


@pytest.mark.parametrize("year", [1970, 1985, 2100])
def test_a_clock_that_jumps_loses_nothing(kept: Store, monkeypatch: pytest.MonkeyPatch, year: int) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    monkeypatch.setattr(entries, "time", SimpleNamespace(time=lambda: (year - 1970) * 365.25 * 86400.0))
    kept.save(capture_of(image, stopped=False), image, KEYS[1])
    assert left(kept) == set(KEYS[:2])
    assert {entry.id for entry in kept.recent()} == set(KEYS[:2])
    assert kept.find(KEYS[1]) is not None
