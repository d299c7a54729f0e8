"""The store: what comes back; the list."""

import subprocess
import sys
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

from attention_processor import AttentionProcessor
from records import entries, store
from records.capture import Capture
from records.pictures import image_hash
from records.store import Store
from tests.attention_processor.kit import made_capture
from tests.keeping import reduced
from tests.records.store.kit import KEYS, ROOT, capture_of, left, picture, same

# --- what comes back ---


def test_every_part_comes_back_as_it_was(kept: Store) -> None:
    image = picture()
    before = capture_of(image)
    entry_id = kept.save(before, image)
    assert entry_id is not None
    after = Store(kept.folder).open(entry_id)
    for part in fields(Capture):
        value = getattr(before, part.name)
        default = part.default_factory() if part.default_factory is not MISSING else part.default
        assert default is MISSING or not same(value, default), f"give {part.name} a value of its own above"
        assert same(value, getattr(after.capture, part.name)), part.name
    np.testing.assert_array_equal(np.asarray(after.image), np.asarray(image))
    assert (after.id, after.image.mode, after.image.info) == (entry_id, "RGB", {})
    words = AttentionProcessor(after.capture).words()
    assert [word.text for word in words] == [word.text for word in AttentionProcessor(before).words()]


def test_parts_of_larger_tensors_and_transposed_ones_come_back(kept: Store) -> None:
    image, whole = picture(), made_capture()
    twice = torch.cat([whole.attention, whole.attention])
    turned = whole.shares.permute(3, 2, 1, 0).contiguous().permute(3, 2, 1, 0)
    before = capture_of(image, attention=twice[: len(whole.attention)], shares=turned, stopped=False)
    assert kept.save(before, image, KEYS[0]) == KEYS[0]
    found = kept.find(KEYS[0])
    assert found is not None
    assert same(found.capture.attention, whole.attention)
    assert same(found.capture.shares, whole.shares)
    file = kept.folder / KEYS[0] / entries.TENSORS
    assert file.stat().st_size < 1.2 * (2 * whole.attention.nbytes)  # not the rest of the larger one


@pytest.mark.parametrize("keep", ["head-mean", [(5, 0), (0, 1), (5, 1)]])
def test_fewer_heads_come_back(kept: Store, keep: Any) -> None:
    image = picture()
    before = reduced(capture_of(image, stopped=False), keep)
    kept.save(before, image, KEYS[0])
    found = kept.find(KEYS[0])
    assert found is not None
    for part in fields(Capture):
        assert same(getattr(before, part.name), getattr(found.capture, part.name)), part.name
    assert found.capture.keep == before.keep != "all"


def test_one_larger_than_the_store_is_not_even_written(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    image = picture()
    kept.max_bytes = capture_of(image).bytes - 1
    monkeypatch.setattr(store, "write_entry", None)
    assert kept.save(capture_of(image), image) is None
    assert left(kept) == set()


def test_an_empty_answer_comes_back(kept: Store) -> None:
    image, whole = picture(), made_capture()
    before = capture_of(
        image,
        token_ids=(),
        tokens=(),
        text="",
        token_spans=(),
        attention=whole.attention[:0],
        shares=whole.shares[:0],
        logprobs=whole.logprobs[:0],
        stopped=False,
    )
    kept.save(before, image, KEYS[0])
    found = kept.find(KEYS[0])
    assert found is not None
    assert found.capture.attention.shape == (0, *whole.attention.shape[1:])
    assert kept.recent()[0].answer == ""


def test_what_a_picture_file_said_of_itself_is_not_kept(kept: Store, tmp_path: Path) -> None:
    image = picture()
    note = PngImagePlugin.PngInfo()
    note.add_text("Author", "Somebody Private")
    image.save(tmp_path / "named.png", pnginfo=note, dpi=(72, 72))
    with Image.open(tmp_path / "named.png") as named:
        named.load()
        kept.save(capture_of(image, stopped=False), named, KEYS[0])
    assert b"Private" in (tmp_path / "named.png").read_bytes()
    assert b"Private" not in (kept.folder / KEYS[0] / entries.PICTURE).read_bytes()


def test_a_picture_of_another_capture_is_refused(kept: Store) -> None:
    with pytest.raises(ValueError, match="not the one that the capture was made from"):
        kept.save(capture_of(picture(0)), picture(1), KEYS[0])
    assert left(kept) == set()


def test_a_stopped_answer_is_listed_and_never_an_answer(kept: Store) -> None:
    image = picture()
    entry_id = kept.save(capture_of(image, stopped=True), image, KEYS[0])
    assert entry_id not in (None, KEYS[0])
    assert kept.find(KEYS[0]) is None
    assert [(entry.id, entry.stopped) for entry in kept.recent()] == [(entry_id, True)]


def test_the_same_question_again_takes_the_place_of_the_first(kept: Store) -> None:
    image = picture()
    for name in ("first", "second"):
        kept.save(capture_of(image, stopped=False, model_name=name), image, KEYS[0])
    found = kept.find(KEYS[0])
    assert found is not None
    assert found.capture.model_name == "second"
    assert left(kept) == {KEYS[0]}


def test_no_name_on_disk_comes_from_a_person(kept: Store, tmp_path: Path) -> None:
    image = picture()
    kept.save(capture_of(image, model_name="../../evil", stopped=False), image, KEYS[0])
    files = {str(path.relative_to(kept.folder)) for path in kept.folder.rglob("*") if path.is_file()}
    names = (entries.TENSORS, entries.FACTS, entries.PICTURE, entries.THUMBNAIL)
    assert files == {f"{KEYS[0]}/{name}" for name in names}
    assert {path.name for path in tmp_path.iterdir()} == {"made"}


@pytest.mark.parametrize("entry_id", ["", "../cache", "..", "/etc", KEYS[0][:-1], KEYS[0] + "\n", "A" * 32])
def test_an_id_that_is_none_is_refused(kept: Store, entry_id: str) -> None:
    image = picture()
    capture = capture_of(image, stopped=False)
    (kept.folder.parent / "precious").mkdir(parents=True)
    for use in (kept.open, kept.find, kept.remove, lambda key: kept.save(capture, image, key)):
        with pytest.raises(ValueError, match="an id is 32 hexadecimal digits"):
            use(entry_id)
    assert (kept.folder.parent / "precious").is_dir()


# --- the list ---


def test_the_list_is_newest_first_and_reads_no_tensors(kept: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, second in enumerate((1000.0, 3000.0, 2000.0)):
        image = picture(number)
        long = f"question {number}\n" + "x" * 500
        with monkeypatch.context() as patched:
            patched.setattr("records.entries.time.time", lambda second=second: second)
            kept.save(made_capture(image_hash=image_hash(image), prompt=long), image, KEYS[number])
        (kept.folder / KEYS[number] / entries.TENSORS).write_bytes(b"")
    listed = Store(kept.folder).recent()
    assert [(entry.id, entry.saved) for entry in listed] == [
        (KEYS[1], 3000.0),
        (KEYS[2], 2000.0),
        (KEYS[0], 1000.0),
    ]
    entry = listed[0]
    assert entry.prompt.startswith("question 1 xxx")
    assert len(entry.prompt) == entries.ANSWER_CHARACTERS
    assert (entry.model, entry.tokens, entry.stopped) == ("made", 11, False)
    assert entry.answer == " ".join(made_capture().text.split())
    assert entry.bytes == sum(file.stat().st_size for file in (kept.folder / KEYS[1]).iterdir())
    with Image.open(entry.thumbnail) as thumbnail:
        assert thumbnail.size == (192, 137)


def test_nothing_kept_is_an_empty_list(kept: Store) -> None:
    assert kept.recent() == []
    assert kept.find(KEYS[0]) is None
    assert not kept.remove(KEYS[0])
    with pytest.raises(KeyError):
        kept.open(KEYS[0])
    assert not kept.folder.exists()


def test_the_list_needs_no_torch(kept: Store) -> None:
    image = picture()
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    code = """import sys; from records.store import Store
print(len(Store(sys.argv[1]).recent()), 'torch' in sys.modules)"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(kept.folder)], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "1 False\n"
