"""The store: which question it is."""

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

import config
from model import checkpoint
from records.crops import Crop
from tests.records.store.kit import asked, source


def test_the_same_question_has_the_same_key(folder: Path) -> None:
    first = asked(folder)
    assert first == asked(folder)
    assert len(first) == 32
    same_questions: list[dict[str, Any]] = [
        {"layers": [5, 4, 3, 2, 1, 0]},
        {"layers": [0, 1, 2, -3, -2, -1, 5]},
        {"max_new_tokens": config.MAX_NEW_TOKENS, "seed": config.SEED, "float16": config.USE_FLOAT16},
        {"generation": "checkpoint"},
        {"keep": "all"},
        {"system": None, "clips": False},
    ]
    for changed in same_questions:
        assert asked(folder, **changed) == first, changed
    greedy = asked(folder, generation="greedy")
    assert greedy != first
    for changed in (
        {"generation": "greedy", "seed": 7},
        {"temperature": 0},
        {"temperature": 0.0, "top_p": 0.5},
    ):
        assert asked(folder, **changed) == greedy, changed  # a greedy answer is not drawn
    pairs = asked(folder, keep=[(2, 1), (1, 0)])
    assert pairs == asked(folder, keep=((1, 0), (2, 1), (1, 0)))
    assert pairs == asked(folder, keep=[(1, 0), (2, 1)], layers=[1])  # pairs name their layers
    assert asked(folder, temperature=1) == asked(folder, temperature=1.0, top_k=0)


def test_another_question_has_another_key(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes: list[dict[str, Any]] = [
        {},
        {"image": "b" * 64},
        {"prompt": "What? "},
        {"max_new_tokens": 7},
        {"generation": "greedy"},
        {"seed": 1},
        {"answer": "A given one."},
        {"answer": "Another given one."},
        {"repetition_penalty": 1.2},
        {"temperature": 0.5, "top_k": 4},
        {"temperature": 0.5},
        {"temperature": 0.5, "seed": 1},
        {"temperature": 0.5, "top_p": 0.9},
        {"layers": [1]},
        {"layers": [-1]},
        {"keep": "head-mean"},
        {"keep": [(1, 0), (2, 1)]},
        {"keep": [(1, 0), (2, 2)]},
        {"float16": not config.USE_FLOAT16},
        {"system": "Be brief."},
        {"system": ""},
        {"clips": True},
        {"image": ["a" * 64, "b" * 64]},
        {"image": ["b" * 64, "a" * 64]},
        {"image": ["a" * 64, "b" * 64], "crop": Crop(1, 0, (0, 0, 30, 40))},
        {"image": ["a" * 64, "b" * 64], "crop": Crop(1, 0, (0, 10, 30, 50))},
    ]
    keys = [asked(folder, **changed) for changed in changes]
    settings = [
        ("DTYPE", "bfloat16"),
        ("ATTENTION_BACKEND", "eager"),
        ("MAX_PIXELS", 100_352),
        ("EXTRACT_ALL_LAYERS", False),
        ("KEEP", [(3, 3)]),
    ]
    for name, value in settings:
        with monkeypatch.context() as patched:
            patched.setattr(config, name, value)
            keys.append(asked(folder))
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", 100_352)
    assert asked(folder) == keys[0]  # which has no clip
    keys.append(asked(folder, clips=True))
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
