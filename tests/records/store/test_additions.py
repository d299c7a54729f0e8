"""The store: what is worked out about an answer later, beside its entry."""

import json
import logging
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from records import additions
from records.capture import Capture
from records.store import Store
from records.token_maps import Cost, TokenMaps
from tests.attention_processor.kit import GRID, TOKENS
from tests.records.kit import map_check
from tests.records.store.kit import KEYS, age, capture_of, left, picture, same

WITHOUT = np.linspace(-9, 0, TOKENS).astype(np.float32)
PATCHES = GRID[0] * GRID[1]


def maps_of(*tokens: int, method: str = "gradient-attention", **parts: Any) -> TokenMaps:
    """Return maps in which each value is its token and place."""
    values = np.stack([token + np.arange(PATCHES).reshape(GRID) / 1000 for token in tokens])
    settings = {"layers": [3, 5], "heads": [0, 1], "dtype": "float32"}
    cost = Cost(1, len(tokens), 0.5)
    given = {"cost": cost, "settings": settings, "notes": ("A note.",), **parts}
    return TokenMaps(method, tokens, values.astype(np.float32), **given)


@pytest.fixture
def capture() -> Capture:
    return capture_of(picture(), stopped=False)


@pytest.fixture
def entry(kept: Store, capture: Capture) -> str:
    kept.save(capture, picture(), KEYS[0])
    return KEYS[0]


def assert_same_maps(found: TokenMaps, expected: TokenMaps) -> None:
    for name in ("method", "tokens", "cost", "settings", "notes", "of_prompt", "removed"):
        assert getattr(found, name) == getattr(expected, name), name
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert found.maps.dtype == np.float32


# --- What comes back ---


def test_an_entry_without_additions_opens(kept: Store, entry: str) -> None:
    found = kept.open(entry)
    assert (found.without, dict(found.maps), found.checks) == (None, {}, ())


def test_every_part_comes_back_as_it_was(kept: Store, entry: str, capture: Capture) -> None:
    maps, others = maps_of(*range(TOKENS)), maps_of(*range(TOKENS), method="tam", settings={})
    tests = [map_check(1), map_check(1, 2), map_check(1, map_key="occlusion-2")]
    assert kept.add(entry, capture, without=WITHOUT, maps=maps, check=tests[0])
    assert kept.add(entry, capture, maps=others)
    for check in tests[1:]:
        assert kept.add(entry, capture, check=check)
    found = Store(kept.folder).open(entry)
    np.testing.assert_array_equal(found.without, WITHOUT)
    assert set(found.maps) == {"gradient-attention", "tam"}
    assert_same_maps(found.maps["gradient-attention"], maps)
    assert_same_maps(found.maps["tam"], others)
    assert all(one.capture is found.capture for one in found.maps.values())
    assert found.maps["tam"].key == others.key
    known = {(one.map_key, one.tokens): one.as_dict() for one in found.checks}
    assert known == {(one.map_key, one.tokens): one.as_dict() for one in tests}
    assert same(found.capture.attention, capture.attention)
    assert kept.find(entry) is not None


def test_a_part_takes_the_place_of_the_one_before(kept: Store, entry: str, capture: Capture) -> None:
    for start in (0.5, 0.7):
        check = map_check(3, hottest=np.array([start, 0.1]))
        kept.add(entry, capture, check=check, without=WITHOUT - np.float32(start))
    found = kept.open(entry)
    assert [one.hottest[0] for one in found.checks] == [0.7]
    np.testing.assert_array_equal(found.without, WITHOUT - np.float32(0.7))


def test_maps_of_some_tokens_join_those_that_were_made_in_the_same_way(
    kept: Store, entry: str, capture: Capture
) -> None:
    kept.add(entry, capture, maps=maps_of(4))
    assert kept.open(entry).maps["gradient-attention"].tokens == (4,)
    kept.add(entry, capture, maps=maps_of(0, 1, 7))
    joined = kept.open(entry).maps["gradient-attention"]
    assert_same_maps(joined, maps_of(0, 1, 4, 7, cost=Cost(2, 4, 1.0)))
    kept.add(entry, capture, maps=maps_of(2, settings={"layers": [4]}))
    assert_same_maps(kept.open(entry).maps["gradient-attention"], maps_of(2, settings={"layers": [4]}))


def test_nothing_on_disk_is_pickled_or_named_by_a_person(
    kept: Store, entry: str, capture: Capture, tmp_path: Path
) -> None:
    check = map_check(1, map_key="../../evil")
    kept.add(entry, capture, without=WITHOUT, maps=maps_of(0), check=check)
    names = {file.name for file in (kept.folder / entry).iterdir()}
    (test,) = (name for name in names if name.startswith("check-"))
    assert len(test) == len("check-0123456789abcdef.json")
    assert {"without.safetensors", "maps-gradient-attention.safetensors"} < names
    assert left(kept) == {entry}
    assert {path.name for path in tmp_path.iterdir()} == {"made"}
    assert all(b"pickle" not in file.read_bytes()[:200] for file in (kept.folder / entry).iterdir())


# --- What is refused ---


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"without": WITHOUT[:-1]}, r"expected log p in float32 of shape \(11,\)"),
        ({"without": WITHOUT.astype(np.float64)}, "expected log p in float32"),
        ({"without": -WITHOUT}, "expected log p in float32"),
        ({"without": np.full(TOKENS, np.nan, np.float32)}, "expected log p in float32"),
        ({"maps": maps_of(TOKENS)}, "expected maps of 11 tokens"),
        ({"maps": TokenMaps("tam", (0,), np.zeros((1, 7, 5), np.float32))}, r"each of shape \(5, 7\)"),
        ({"maps": maps_of(0, of_prompt=True)}, "only maps of the answer"),
        ({"maps": maps_of(0, removed=(3,))}, "only maps of the answer"),
        ({"check": map_check(TOKENS)}, "is not of this answer"),
    ],
)
def test_what_is_not_of_the_answer_is_refused(
    kept: Store, entry: str, capture: Capture, given: dict[str, Any], message: str
) -> None:
    before = {file.name for file in (kept.folder / entry).iterdir()}
    with pytest.raises(ValueError, match=message):
        kept.add(entry, capture, **given)
    assert {file.name for file in (kept.folder / entry).iterdir()} == before
    assert left(kept) == {entry}


def test_what_was_worked_out_for_another_answer_is_not_read(
    kept: Store, entry: str, capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    """The same question may have been answered anew meanwhile, with other words."""
    other = capture_of(picture(), stopped=False, token_ids=tuple(range(1, TOKENS + 1)))
    kept.add(entry, other, without=WITHOUT, maps=maps_of(0), check=map_check(1))
    with caplog.at_level(logging.WARNING):
        found = kept.open(entry)
    assert (found.without, dict(found.maps), found.checks) == (None, {}, ())
    assert len(caplog.messages) == 3
    assert all("it was worked out for another answer" in one for one in caplog.messages)


# --- Damage ---


def spoilt(folder: Path) -> dict[str, Any]:
    array, maps = folder / "without.safetensors", folder / "maps-gradient-attention.safetensors"
    (test,) = folder.glob("check-*.json")
    known = json.loads(test.read_text("utf-8"))
    return {
        "cut": (array, lambda: array.write_bytes(array.read_bytes()[:-3])),
        "pickled": (array, lambda: torch.save({"without": torch.zeros(TOKENS)}, array)),
        "empty": (maps, lambda: maps.write_bytes(b"")),
        "of another kind": (maps, lambda: shutil.copy(array, maps)),
        "no JSON": (test, lambda: test.write_text('{"format"')),
        "list": (test, lambda: test.write_text("[1]")),
        "another format": (test, lambda: test.write_text(json.dumps(known | {"format": 99}))),
        "parts disagree": (
            test,
            lambda: test.write_text(json.dumps(known | {"check": known["check"] | {"hottest": [1]}})),
        ),
        "a part missing": (test, lambda: test.write_text(json.dumps(known | {"check": {"text": "red"}}))),
    }


def test_a_damaged_part_is_reported_and_left_out_and_the_answer_opens(
    kept: Store, entry: str, capture: Capture, caplog: pytest.LogCaptureFixture
) -> None:
    parts = {"without": WITHOUT, "maps": maps_of(0, 3), "check": map_check(1)}
    kept.add(entry, capture, **parts)  # type: ignore[arg-type]
    for name in spoilt(kept.folder / entry):
        file, spoil = spoilt(kept.folder / entry)[name]
        spoil()
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            found = kept.open(entry)
        (message,) = caplog.messages
        start = f"{file.name} beside the kept answer {entry[:8]} is damaged and was left out: "
        assert message.startswith(start), name
        assert len(message.splitlines()) == 1
        assert same(found.capture.attention, capture.attention)
        there = (found.without is not None, len(found.maps), len(found.checks))
        assert there == tuple(int(not file.name.startswith(kind)) for kind in ("without", "maps", "check"))
        kept.add(entry, capture, **parts)  # type: ignore[arg-type]
        caplog.clear()
        assert len(kept.open(entry).checks) == 1
        assert not caplog.messages, name


def test_half_a_part_never_appears(
    kept: Store, entry: str, capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept.add(entry, capture, check=map_check(1, hottest=np.array([0.5, 0.1])))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="No space left"):
        kept.add(entry, capture, without=WITHOUT, check=map_check(1, hottest=np.array([0.7, 0.1])))
    monkeypatch.undo()
    found = kept.open(entry)
    assert found.without is None
    assert [one.hottest[0] for one in found.checks] == [0.5]
    assert left(kept) == {entry}


# --- Bounds, and others at the same time ---


def test_parts_count_towards_the_bound(kept: Store, capture: Capture) -> None:
    for key in KEYS[:2]:
        kept.save(capture, picture(), key)
    size = kept.recent()[0].bytes
    age(kept, KEYS[0], 100)
    bounded = Store(kept.folder, 2 * size + 200)
    assert bounded.add(KEYS[1], capture, maps=maps_of(*range(TOKENS)))
    assert left(kept) == {KEYS[1]}
    (entry,) = kept.recent()
    grown = size + (kept.folder / KEYS[1] / additions.MAPS.format("gradient-attention")).stat().st_size
    assert entry.bytes == grown


def test_a_part_that_would_outgrow_the_store_is_not_kept(kept: Store, entry: str, capture: Capture) -> None:
    size = kept.recent()[0].bytes
    assert not Store(kept.folder, size + 100).add(entry, capture, maps=maps_of(*range(TOKENS)))
    assert not kept.open(entry).maps
    assert left(kept) == {entry}


def test_an_entry_that_is_gone_is_no_error(
    kept: Store, entry: str, capture: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not kept.add(KEYS[5], capture, without=WITHOUT)
    real = Path.replace

    def removed_first(self: Path, target: Path) -> Path:
        kept.remove(entry)
        return real(self, target)

    monkeypatch.setattr(Path, "replace", removed_first)
    assert not kept.add(entry, capture, without=WITHOUT)
    assert left(kept) == set()
    assert not Store(kept.folder / "never").add(entry, capture, without=WITHOUT)
    with pytest.raises(ValueError, match="an id is 32 hexadecimal digits"):
        kept.add("../cache", capture, without=WITHOUT)


def test_many_at_once_leave_whole_parts(kept: Store, entry: str, capture: Capture) -> None:
    def work(number: int) -> bool:
        own = Store(kept.folder)
        for turn in range(6):
            own.add(entry, capture, without=WITHOUT, maps=maps_of(number, turn + 4), check=map_check(number))
            if (number, turn) == (3, 3):
                own.save(capture, picture(), entry)
            found = own.find(entry)
            if found is not None and found.without is not None and not (found.without == WITHOUT).all():
                return False
            own.recent()
        return True

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(work, range(4)))
    assert left(kept) == {entry}
    assert kept.open(entry).without is not None
