"""The store: bounds."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import config
from records.store import Store
from tests.records.store.kit import KEYS, ROOT, age, capture_of, left, picture, same
from utils import unfinished_folder


def test_the_entry_not_used_for_longest_goes_first(kept: Store) -> None:
    image = picture()
    capture = capture_of(image, stopped=False)
    kept.save(capture, image, KEYS[0])
    size = kept.recent()[0].bytes
    bounded = Store(kept.folder, int(3.5 * size))
    for number in (1, 2):
        bounded.save(capture, image, KEYS[number])
    for number, seconds in enumerate((300, 200, 100)):
        age(bounded, KEYS[number], seconds)
    assert bounded.find(KEYS[0]) is not None  # used now: number 1 is the oldest
    bounded.save(capture, image, KEYS[3])
    assert left(bounded) == {KEYS[0], KEYS[2], KEYS[3]}
    assert sum(entry.bytes for entry in bounded.recent()) <= bounded.max_bytes


def test_an_entry_larger_than_the_store_is_not_kept(kept: Store) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    assert Store(kept.folder, 1000).save(capture_of(image, stopped=False), image, KEYS[1]) is None
    assert left(kept) == {KEYS[0]}


def test_bounds_and_folder_are_those_of_config(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "own"))
    monkeypatch.setattr(config, "MAX_CACHE_BYTES", 12345)
    assert (Store().folder, Store().max_bytes) == (tmp_path / "own", 12345)
    monkeypatch.setattr(config, "CACHE_DIR", "cache")
    assert Store().folder == ROOT / "cache"


def test_what_a_crash_left_is_cleared_and_what_is_being_written_is_not(kept: Store) -> None:
    image = picture()
    for name in (".word-lens-unfinished-1", ".removed-1"):
        (kept.folder / name).mkdir(parents=True)
        (kept.folder / name / "part").write_bytes(b"x")
    with unfinished_folder(kept.folder) as written:
        kept.save(capture_of(image, stopped=False), image, KEYS[0])
        assert left(kept) == {KEYS[0], written.name}
    (kept.folder / ".removed-2").mkdir()
    kept.tidy()
    assert left(kept) == {KEYS[0]}


def test_removing(kept: Store) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    assert kept.remove(KEYS[0])
    assert not kept.remove(KEYS[0])
    assert left(kept) == set()


def test_many_at_once_leave_whole_entries(kept: Store) -> None:
    """Threads with stores of their own stand for processes: all they share is the folder."""
    image = picture()
    capture = capture_of(image, stopped=False)
    kept.save(capture, image, KEYS[0])
    bound = int(4.5 * kept.recent()[0].bytes)

    def work(number: int) -> bool:
        own = Store(kept.folder, bound)
        for turn in range(6):
            own.save(capture, image, KEYS[(number + turn) % 6])
            found = own.find(KEYS[turn])
            if found is not None and not same(found.capture.attention, capture.attention):
                return False
            own.recent()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert left(kept) <= set(KEYS[:6])
    assert 1 <= len(kept.recent()) <= 6
    for entry in kept.recent():
        assert same(kept.open(entry.id).capture.attention, capture.attention)


def test_another_process_opens_what_this_one_kept(kept: Store) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    code = (
        "import sys; from records import store; one = store.Store(sys.argv[1]).open(sys.argv[2]);"
        "print(float(one.capture.attention.float().sum()), one.image.size)"
    )
    command = [sys.executable, "-c", code, str(kept.folder), KEYS[0]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    total = float(capture_of(image).attention.float().sum())
    assert done.stdout == f"{total} (196, 140)\n"
