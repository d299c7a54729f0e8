"""What comes back from disk against what was kept, after damage, crashes, eviction and a second process."""

import json
import logging
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, PngImagePlugin

import config
from attention_processor import AttentionProcessor
from model import Checkpoint, answer_key, checkpoint
from records import store
from records.capture import Capture
from records.pictures import image_hash
from records.store import DamagedError, Store
from tests.test_attention_processor import made_capture

KEYS = [f"{number:032x}" for number in range(12)]
ROOT = Path(store.__file__).parent.parent


def picture(seed: int = 0) -> Image.Image:
    """Return a picture of 196 x 140 pixels."""
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (140, 196, 3), dtype=np.uint8))


def capture_of(image: Image.Image, **changed: Any) -> Capture:
    """Return a capture in which no part has its default value, so that none can be left out unseen."""
    whole = made_capture()
    parts: dict[str, Any] = {
        "image_hash": image_hash(image),
        "picture": image,
        "settings": {"temperature": 0.0, "layers": [0, 2], "more": {"deep": [[1], None]}, "dtype": "float32"},
        "stopped": True,
        "attention": whole.attention.half(),
        "model_name": "../../Modell “mit” \ud83d 模型",
    }
    return made_capture(**parts | changed)


def same(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor):
        return left.dtype == right.dtype and left.shape == right.shape and torch.equal(left, right)
    if isinstance(left, Image.Image) and isinstance(right, Image.Image):
        return left.mode == right.mode and left.size == right.size and left.tobytes() == right.tobytes()
    return type(left) is type(right) and left == right


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "made" / "cache")


def left(kept: Store) -> set[str]:
    return {path.name for path in kept.folder.iterdir()} if kept.folder.exists() else set()


def age(kept: Store, entry_id: str, seconds: float) -> None:
    """Make an entry look as if it was used so long ago."""
    then = (kept.folder / entry_id).stat().st_mtime - seconds
    os.utime(kept.folder / entry_id, (then, then))


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
    file = kept.folder / KEYS[0] / store.TENSORS
    assert file.stat().st_size < 1.2 * (2 * whole.attention.nbytes)  # not the rest of the larger one


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
    assert b"Private" not in (kept.folder / KEYS[0] / store.PICTURE).read_bytes()


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
    names = (store.TENSORS, store.FACTS, store.PICTURE, store.THUMBNAIL)
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
            patched.setattr("records.store.time.time", lambda second=second: second)
            kept.save(made_capture(image_hash=image_hash(image), prompt=long), image, KEYS[number])
        (kept.folder / KEYS[number] / store.TENSORS).write_bytes(b"")
    listed = Store(kept.folder).recent()
    assert [(entry.id, entry.saved) for entry in listed] == [
        (KEYS[1], 3000.0),
        (KEYS[2], 2000.0),
        (KEYS[0], 1000.0),
    ]
    entry = listed[0]
    assert entry.prompt.startswith("question 1 xxx")
    assert len(entry.prompt) == store.ANSWER_CHARACTERS
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


# --- damage ---


def spoilt_files(folder: Path) -> dict[str, Any]:
    facts = json.loads((folder / store.FACTS).read_text("utf-8"))
    short = facts["capture"] | {"tokens": facts["capture"]["tokens"][:-1]}
    return {
        "no list": lambda: (folder / store.FACTS).unlink(),
        "cut list": lambda: (folder / store.FACTS).write_text('{"format": 1, "capt'),
        "list of another kind": lambda: (folder / store.FACTS).write_text("[1]"),
        "another format": lambda: (folder / store.FACTS).write_text(json.dumps(facts | {"format": 99})),
        "parts disagree": lambda: (folder / store.FACTS).write_text(json.dumps(facts | {"capture": short})),
        "unknown part": lambda: (folder / store.FACTS).write_text(
            json.dumps(facts | {"capture": facts["capture"] | {"mood": 1}})
        ),
        "no tensors": lambda: (folder / store.TENSORS).unlink(),
        "cut tensors": lambda: (folder / store.TENSORS).write_bytes(
            (folder / store.TENSORS).read_bytes()[:-9]
        ),
        "pickled tensors": lambda: torch.save({"attention": torch.ones(1)}, folder / store.TENSORS),
        "no picture": lambda: (folder / store.PICTURE).unlink(),
        "another picture": lambda: picture(9).save(folder / store.PICTURE),
        "cut picture": lambda: (folder / store.PICTURE).write_bytes(
            (folder / store.PICTURE).read_bytes()[:400]
        ),
    }


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


# --- bounds ---


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
    for name, seconds in ((".unfinished-old", 4000), (".removed-old", 4000), (".unfinished-now", 5)):
        (kept.folder / name).mkdir(parents=True)
        (kept.folder / name / "part").write_bytes(b"x")
        age(kept, name, seconds)
    kept.save(capture_of(image, stopped=False), image, KEYS[0])
    assert left(kept) == {KEYS[0], ".unfinished-now"}


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


# --- which question it is ---


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a checkpoint."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"text_config": {"num_hidden_layers": 6}}))
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def source(folder: Path) -> Checkpoint:
    found = checkpoint(str(folder))
    assert found is not None
    return found


def asked(folder: Path, **changed: Any) -> str:
    return answer_key(source(folder), **{"image": "a" * 64, "prompt": "What?", **changed})


def test_the_same_question_has_the_same_key(folder: Path) -> None:
    first = asked(folder)
    assert first == asked(folder)
    assert len(first) == 32
    same_questions: list[dict[str, Any]] = [
        {"seed": 7},  # a greedy answer is not drawn
        {"top_p": 0.5},
        {"layers": [5, 4, 3, 2, 1, 0]},
        {"layers": [0, 1, 2, -3, -2, -1, 5]},
        {"max_new_tokens": config.MAX_NEW_TOKENS, "temperature": 0, "float16": config.USE_FLOAT16},
    ]
    for changed in same_questions:
        assert asked(folder, **changed) == first, changed


def test_another_question_has_another_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"image": "b" * 64},
        {"prompt": "What? "},
        {"max_new_tokens": 7},
        {"temperature": 0.5},
        {"temperature": 0.5, "seed": 1},
        {"temperature": 0.5, "top_p": 0.9},
        {"layers": [1]},
        {"layers": [-1]},
        {"float16": not config.USE_FLOAT16},
    ]
    keys = [asked(folder, **changed) for changed in changes]
    settings = [
        ("DTYPE", "bfloat16"),
        ("ATTENTION_BACKEND", "eager"),
        ("MAX_PIXELS", 100_352),
        ("EXTRACT_ALL_LAYERS", False),
    ]
    for name, value in settings:
        with monkeypatch.context() as patched:
            patched.setattr(config, name, value)
            keys.append(asked(folder))
    (folder / "model.safetensors").write_bytes(b"weights, trained on")
    keys.append(asked(folder))
    os.utime(folder / "model.safetensors", (1, 1))
    keys.append(asked(folder))
    shutil.copytree(folder, folder.with_name("other"))
    keys.append(asked(folder.with_name("other")))
    assert len(set(keys)) == len(keys)


def test_checkpoints_that_are_not_here_have_no_key(folder: Path, tmp_path: Path) -> None:
    assert source(folder).layer_count == 6
    for name in ("nobody/no-such-model", str(tmp_path / "none"), "", "a b", "../x/y/z"):
        assert checkpoint(name) is None
    (folder / "config.json").write_text("{}")
    assert checkpoint(str(folder)) is None
    demo = checkpoint("demo")
    assert demo is not None
    assert demo.layer_count == 6
