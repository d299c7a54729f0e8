"""The store: damage."""

import logging
from pathlib import Path
from typing import Any

import pytest

from records.store import DamagedError, Store
from tests.records.store.kit import (
    KEYS,
    capture_of,
    left,
    picture,
    same,
    spoilt_files,
)


@pytest.mark.parametrize("damage", ["no list", "cut list", "list of another kind", "another format"])
def test_a_damaged_entry_is_left_out_of_the_list(
    kept: Store, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    image = picture()
    for key in KEYS[:2]:
        kept.save(capture_of(image, stopped=False), image, key)
    spoilt_files(kept.folder / KEYS[1])[damage]()
    with caplog.at_level(logging.WARNING):
        assert [entry.id for entry in kept.recent()] == [KEYS[0]]
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"the kept answer {KEYS[1][:8]} is damaged and was skipped: ")
    assert "\n" not in caplog.messages[0]


def test_a_damaged_answer_is_not_used_and_can_be_replaced(
    kept: Store, caplog: pytest.LogCaptureFixture
) -> None:
    image = picture()
    before = capture_of(image, stopped=False)
    kept.save(before, image, KEYS[0])
    for name in spoilt_files(kept.folder / KEYS[0]):
        spoilt_files(kept.folder / KEYS[0])[name]()
        caplog.clear()
        assert kept.find(KEYS[0]) is None, name
        assert len(caplog.messages) == 1, name
        with pytest.raises(DamagedError, match="is damaged and was skipped"):
            kept.open(KEYS[0])
        kept.save(before, image, KEYS[0])
        found = kept.find(KEYS[0])
        assert found is not None, name
        assert same(found.capture.attention, before.attention)


def test_half_an_entry_never_appears(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    for key in KEYS[:2]:
        with pytest.raises(OSError, match="No space left"):
            kept.save(capture_of(image, stopped=False), image, key)
    monkeypatch.undo()
    assert left(kept) == {KEYS[0]}
    assert kept.find(KEYS[0]) is not None
