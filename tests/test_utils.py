"""Files are whole or as they were, long work can be stopped, numbers are read as they are typed."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import utils
from utils import (
    Range,
    as_ranges,
    atomic_write,
    locked,
    numbers_in,
    numbers_of,
    one_line,
    ranges_of,
    remove_abandoned,
    unfinished_folder,
)

ROOT = Path(__file__).parent.parent

# --- Files --------------------------------------------------------------------------------------------------


def test_a_file_is_written_whole_with_its_ending_and_folders(tmp_path: Path) -> None:
    target = tmp_path / "new" / "deep" / "map.png"
    with atomic_write(target) as unfinished:
        assert unfinished.suffix == ".png"
        assert unfinished.parent == target.parent
        unfinished.write_bytes(b"whole")
        assert not target.exists()
    assert target.read_bytes() == b"whole"
    assert list(target.parent.iterdir()) == [target]


def test_a_failed_write_leaves_the_earlier_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "map.txt"
    target.write_text("earlier")

    def write() -> None:
        with atomic_write(target) as unfinished:
            unfinished.write_text("half")
            raise RuntimeError("stopped")

    with pytest.raises(RuntimeError, match="stopped"):
        write()
    assert target.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [target]


def test_writers_of_one_file_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "map.txt"

    def write(letter: str) -> None:
        for _ in range(20):
            with atomic_write(target) as unfinished:
                unfinished.write_text(letter * 5000)

    writers = [threading.Thread(target=write, args=(letter,)) for letter in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    content = target.read_text()
    assert content in {letter * 5000 for letter in "abc"}
    assert list(tmp_path.iterdir()) == [target]


KILLED = """
import os, signal, sys
from pathlib import Path
from utils import {name}
with {name}(Path(sys.argv[1])) as unfinished:
    part = unfinished / "part" if unfinished.is_dir() else unfinished
    part.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_in(name: str, path: Path) -> None:
    """Have another process killed while it writes."""
    done = subprocess.run([sys.executable, "-c", KILLED.format(name=name), str(path)], cwd=ROOT)
    assert done.returncode == -signal.SIGKILL


def test_what_a_killed_process_left_is_removed_and_what_is_held_is_not(tmp_path: Path) -> None:
    with unfinished_folder(tmp_path) as held:
        killed_in("unfinished_folder", tmp_path)
        (left,) = set(tmp_path.iterdir()) - {held}
        assert (left / "part").read_text() == "half"
        for other in (".word-lens-unfinished", "unfinished-1", ".git"):
            (tmp_path / other).mkdir()
        remove_abandoned(tmp_path)
        assert not left.exists()
        assert len([*tmp_path.iterdir()]) == 4
        (held / "part").write_text("whole")
        held.rename(tmp_path / "place")
    assert (tmp_path / "place" / "part").read_text() == "whole"


def test_the_next_write_of_a_file_removes_what_a_killed_one_left(tmp_path: Path) -> None:
    for name in ("map.txt", "map.b.txt"):
        killed_in("atomic_write", tmp_path / name)
    assert len([*tmp_path.iterdir()]) == 2
    with atomic_write(tmp_path / "map.b.txt") as unfinished:
        unfinished.write_text("whole")
    rest = {path.name for path in tmp_path.iterdir()} - {"map.b.txt"}
    assert [re.sub("[0-9a-f]{16}", "…", name) for name in rest] == [".word-lens-unfinished-map.….txt"]


@pytest.mark.parametrize("clock", [0.0, -7200.0], ids=["now", "jumped back"])
def test_where_nothing_can_be_locked_the_time_since_tells(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: float
) -> None:
    monkeypatch.setattr(utils, "fcntl", None)
    for seconds in (10, 4000):
        left = tmp_path / f".word-lens-unfinished-{seconds}"
        left.mkdir()
        os.utime(left, (time.time() - seconds,) * 2)
    monkeypatch.setattr(utils, "time", SimpleNamespace(time=lambda: time.time() + clock))
    remove_abandoned(tmp_path)
    names = {path.name.removeprefix(".word-lens-unfinished-") for path in tmp_path.iterdir()}
    assert names == ({"10"} if clock == 0 else {"10", "4000"})


def test_a_lock_is_anothers_until_it_ends(tmp_path: Path) -> None:
    with locked(tmp_path) as first, locked(tmp_path) as second:
        assert (first, second) == (True, False)
    with locked(tmp_path) as third:
        assert third is True


def test_a_text_becomes_one_line() -> None:
    assert one_line("  a\n\tb  c \r\n") == "a b c"
    assert one_line(ValueError("x\ny")) == "x y"
    assert one_line("word " * 100, limit=20) == "word word word word…"
    assert len(one_line("x" * 500)) == 300


# --- Numbers as people type them ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(30))
def test_numbers_in_short_are_read_back(seed: int) -> None:
    random = np.random.default_rng(seed)
    numbers = tuple(map(int, np.flatnonzero(random.random(12) < 0.6)))
    if numbers:
        assert numbers_of(as_ranges(numbers), 12, "layer") == numbers


def test_numbers_in_short() -> None:
    assert as_ranges([0, 1, 2, 5, 7, 8]) == "0-2,5,7-8"
    assert as_ranges((0, 1, 2, 5), "–", ", ") == "0–2, 5"
    assert as_ranges([3]) == "3"
    assert as_ranges([]) == ""


def test_ranges_are_read_before_the_count_is_known() -> None:
    assert ranges_of("0-3,-1") == ((0, 3), (-1, -1))
    assert ranges_of("-4--2, 7") == ((-4, -2), (7, 7))
    assert ranges_of(" 1 - 2 ") == ((1, 2),)
    for wrong in ("", "a", "1-", "1,,2", "1-2-3", "1.5", "٣x", "9" * 30):
        with pytest.raises(ValueError, match="no list of numbers and ranges such as 3 or 0-3,7"):
            ranges_of(wrong)


def test_numbers_are_counted_from_either_end() -> None:
    assert numbers_in(((0, 1), (-1, -1)), 5, "layer") == (0, 1, 4)
    assert numbers_in(((-4, -2), (3, 3)), 5, "layer") == (1, 2, 3)
    assert numbers_in(((2, -1),), 5, "layer") == (2, 3, 4)
    assert numbers_in((), 5, "layer") == ()


@pytest.mark.parametrize(
    ("ranges", "owner", "line"),
    [
        (((0, 5),), "", "There is no layer 5: there are 5, 0 to 4."),
        (((-6, 1),), "the model", "There is no layer -6: the model has 5 layers, 0 to 4."),
        (((4, 1),), "", "The range of layers 4-1 runs backwards."),
        (((0, 1), (-1, -2)), "", "The range of layers -1--2 runs backwards."),
        (((3, -3),), "", "The range of layers 3--3 runs backwards."),
    ],
)
def test_numbers_that_are_not_there_are_refused(ranges: tuple[Range, ...], owner: str, line: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(line)}$"):
        numbers_in(ranges, 5, "layer", owner)


def test_numbers_are_read_as_they_are_typed() -> None:
    assert numbers_of("all", 4, "head") == (0, 1, 2, 3)
    assert numbers_of(" 0-1, -1 ", 4, "head") == (0, 1, 3)
    for wrong in ("", "a", "1-", "0--9", "4", "1.5", "3-1", "9" * 30):
        with pytest.raises(ValueError, match=r"head") as caught:
            numbers_of(wrong, 4, "head")
        assert len(str(caught.value)) < 120
