"""Files are whole or as they were, long work can be stopped, numbers are read as they are typed."""

import re
import threading
from pathlib import Path

import numpy as np
import pytest

from utils import Range, as_ranges, atomic_write, numbers_in, numbers_of, one_line, ranges_of

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
