"""Sets: what is done."""

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from sets.ledger import ITEM, Item, Ledger, file_content


@pytest.fixture
def items(tmp_path: Path) -> list[Item]:
    """Three items made from files, the last of which is not there."""
    for name in ("a", "b"):
        (tmp_path / name).write_text(name)
    return [Item(f"in/{name}.png", [name, "?"], partial(file_content, tmp_path / name)) for name in "abc"]


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger(tmp_path / "out", "s")


def written(text: str, folder: Path) -> dict[str, Any]:
    (folder / "told.txt").write_text(text)
    return {"told": text}


def test_an_item_is_done_as_long_as_its_content_is_the_same(
    ledger: Ledger, items: list[Item], tmp_path: Path
) -> None:
    assert ledger.left(items) == [0, 1, 2]
    for item in items:
        ledger.do(item, partial(written, "one"))
    assert ledger.left(items) == [2]  # what cannot be read is never known to be the same
    found = ledger.result(items[0])
    assert found is not None
    assert (found["told"], found["content"]) == ("one", file_content(tmp_path / "a"))
    assert found["seconds"] >= 0
    (tmp_path / "b").write_text("other")
    assert ledger.left(items) == [1, 2]
    ledger.do(items[1], partial(written, "two"))
    assert ledger.left(items) == [2]
    assert (ledger.path(items[1]) / "told.txt").read_text() == "two"


def test_settings_and_keys_tell_items_apart(ledger: Ledger, items: list[Item]) -> None:
    other = Ledger(ledger.folder, "t")
    same_name = items[0]._replace(key=["a", "!"])
    places = {ledger.place(items[0]), other.place(items[0]), ledger.place(same_name)}
    assert len(places) == 3
    assert all(place.startswith("a-") for place in places)


def test_an_item_that_fails_is_as_it_was(ledger: Ledger, items: list[Item]) -> None:
    def failing(folder: Path) -> dict[str, Any]:
        written("half", folder)
        raise ValueError("no")

    ledger.do(items[0], partial(written, "whole"))
    for item in items[:2]:
        with pytest.raises(ValueError, match="no"):
            ledger.do(item, failing)
    assert (ledger.path(items[0]) / "told.txt").read_text() == "whole"
    assert ledger.result(items[1]) is None
    assert [place.name for place in (ledger.folder / "items").iterdir()] == [ledger.place(items[0])]


@pytest.mark.parametrize("text", ["", "[1]", '{"told": '])
def test_a_result_that_cannot_be_read_is_none(ledger: Ledger, items: list[Item], text: str) -> None:
    ledger.do(items[0], partial(written, "one"))
    (ledger.path(items[0]) / ITEM).write_text(text)
    assert ledger.result(items[0]) is None
    assert 0 in ledger.left(items)


def test_a_killed_process_leaves_nothing_that_stays(ledger: Ledger, items: list[Item]) -> None:
    ledger.do(items[0], partial(written, "one"))
    left = ledger.folder / "items" / ".word-lens-unfinished-0"
    left.mkdir()
    (left / ITEM).write_text(json.dumps({"told": "half"}))
    ledger.remove_left()
    assert not left.exists()
    assert ledger.left(items) == [1, 2]
