"""The extractor: a record that is too large for memory goes into a file."""

import errno
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import config
from attention_extractor import AttentionExtractor
from internals import growing, memory, recording
from internals.growing import InFile, InMemory, free_disk
from records.plan import Plan
from tests.attention_extractor.kit import PROMPT, TOKENS, everything, picture
from tests.attention_extractor.test_keep import PAIRS, PARTS


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder for files, not there yet; every record goes into one."""
    made = tmp_path / "made" / "cache"
    monkeypatch.setattr(config, "CACHE_DIR", str(made))
    monkeypatch.setattr(config, "MAX_CAPTURE_BYTES", 0)
    return made


def is_mapped(tensor: torch.Tensor) -> bool:
    """Return whether a tensor stands in a file, which has no name any more."""
    addresses = [line.split() for line in Path("/proc/self/maps").read_text().splitlines()]
    for place, _, _, _, inode, *_ in addresses:
        first, last = (int(end, 16) for end in place.split("-"))
        if first <= tensor.data_ptr() < last:
            return inode != "0"
    return False


@pytest.mark.numeric
@pytest.mark.parametrize("keep", ["all", "head-mean", PAIRS])
@pytest.mark.parametrize("block", [64, 4])
def test_a_file_holds_what_memory_would(
    small: tuple[Any, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, keep: Any, block: int
) -> None:
    monkeypatch.setattr(recording, "BLOCK", block)
    extractor = AttentionExtractor(*small, keep=keep)
    plans: list[Plan] = []
    filed = extractor.generate(picture(), PROMPT, TOKENS, 0, on_plan=plans.append)
    read = extractor.read(picture(), PROMPT, filed.token_ids)
    with monkeypatch.context() as patch:
        patch.setattr(config, "MAX_CAPTURE_BYTES", 10**9)
        plain = extractor.generate(picture(), PROMPT, TOKENS, 0, on_plan=plans.append)
        read_plain = extractor.read(picture(), PROMPT, filed.token_ids)
    for name in PARTS:
        assert torch.equal(getattr(filed, name), getattr(plain, name)), name
        assert torch.equal(getattr(read, name), getattr(read_plain, name)), name
        assert getattr(filed, name).untyped_storage().nbytes() == getattr(filed, name).nbytes
    assert [plan.in_file for plan in plans] == [True, False]
    assert plans[0].line == plans[1].line.replace("recorded", "recorded into a file")
    assert list(folder.iterdir()) == []  # nobody finds it, and nobody has to clear it away
    if Path("/proc/self/maps").exists():
        for name in ("attention", "prompt_attention", "text_attention"):
            assert is_mapped(getattr(filed, name)), name
            assert not is_mapped(getattr(plain, name)), name


def test_nothing_is_left_after_an_error(small: tuple[Any, Any], folder: Path) -> None:
    def fail(text: str, count: int) -> None:
        raise ZeroDivisionError

    before = everything(small[0])
    with pytest.raises(ZeroDivisionError):
        AttentionExtractor(*small).generate(picture(), PROMPT, TOKENS, 0, on_token=fail)
    assert list(folder.iterdir()) == []
    assert everything(small[0]) == before


def test_an_empty_answer_has_no_rows(small: tuple[Any, Any]) -> None:
    end = small[1].tokenizer.convert_tokens_to_ids("<|im_end|>")
    with pytest.raises(ValueError, match="empty"):
        AttentionExtractor(*small).read(picture(), PROMPT, [end])
    made = InFile(torch.float16, Path(config.CACHE_DIR))
    made.room((0, 3, 2, 5))
    assert made.whole().shape == (0, 3, 2, 5)


@pytest.mark.parametrize("moment", ["at once", "later"])
def test_a_full_disk_is_told_in_a_line(
    small: tuple[Any, Any], folder: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    monkeypatch.setattr(recording, "BLOCK", 4)
    reserve, asked = growing._reserve, [0]

    def full(file: int, start: int, size: int) -> None:
        asked[0] += 1
        if moment == "at once" or asked[0] > 4:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        reserve(file, start, size)

    before = everything(small[0])
    monkeypatch.setattr(growing, "_reserve", full)
    line = r"^So long an answer is recorded into a file in CACHE_DIR, which cannot be written \(No space.*\)"
    with pytest.raises(ValueError, match=line) as error:
        AttentionExtractor(*small).generate(picture(), PROMPT, TOKENS, 0)
    assert "\n" not in str(error.value)
    assert str(folder) not in str(error.value)
    assert asked[0] == (1 if moment == "at once" else 5)
    assert list(folder.iterdir()) == []
    assert everything(small[0]) == before


def test_a_folder_that_cannot_be_written_is_told_in_a_line(
    small: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.raises(
        ValueError, match=r"in CACHE_DIR, which cannot be written \(Not a directory\): choose"
    ):
        AttentionExtractor(*small).generate(picture(), PROMPT, TOKENS, 0)


def test_what_does_not_fit_on_the_disk_is_refused_before_the_model_begins(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans: list[Plan] = []
    monkeypatch.setattr(memory, "free_disk", lambda folder: 1_000_000)
    line = (
        r"^An answer of 4,000 tokens would record \d+ MB and 1 MB are free on the disk of CACHE_DIR: lower "
    )
    with pytest.raises(ValueError, match=line) as error:
        AttentionExtractor(*small).generate(picture(), PROMPT, 4000, on_plan=plans.append)
    assert 'KEEP = "head-mean"' in str(error.value)
    assert plans == []
    monkeypatch.setattr(memory, "free_memory", lambda device: 0)  # no matter
    AttentionExtractor(*small).generate(picture(), PROMPT, 1, on_plan=plans.append)
    assert [plan.in_file for plan in plans] == [True]


def test_room_is_set_aside_where_a_disk_cannot_do_it_at_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing, "CHUNK", 7)

    def cannot(file: int, start: int, size: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "not here")

    monkeypatch.setattr(os, "posix_fallocate", cannot, raising=False)
    made, rooms = InFile(torch.float32, folder), []
    for number in range(1, 4):
        room = made.room((number, 2, 3))
        assert not room.any()
        room += number
        rooms.append(room.clone())
    assert torch.equal(made.whole(), torch.cat(rooms))


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_narrower_rooms_end_in_zeros(folder: Path, kind: str) -> None:
    in_memory = InMemory(torch.float32, torch.device("cpu"))
    made = in_memory if kind == "memory" else InFile(torch.float32, folder)
    expected = torch.zeros(5, 2, 4)
    for start, count, width in ((0, 3, 2), (3, 1, 3), (4, 1, 4)):
        values = torch.rand(count, 2, width)
        made.room((count, 2, width))[:] = values
        expected[start : start + count, :, :width] = values
    assert torch.equal(made.whole(), expected)


def test_free_disk_asks_the_nearest_folder_that_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Path] = []

    def usage(folder: Path) -> Any:
        asked.append(folder)
        return SimpleNamespace(free=7)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert free_disk(tmp_path / "a" / "b") == 7
    assert asked == [tmp_path]
