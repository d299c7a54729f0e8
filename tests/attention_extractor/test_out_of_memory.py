"""The extractor: memory that runs out in the middle of an answer."""

import gc
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import config
from attention_extractor import AttentionExtractor
from internals.hooks import hooked
from internals.recording import Recording
from tests.attention_extractor.kit import PROMPT, TOKENS, everything, picture

# As CUDA says it, as Python does, and as torch does on a CPU.
ERRORS = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has a total capacity of"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried"),
]


class Full:
    """A forward hook that raises at the n-th pass, and notes what was recorded until then."""

    def __init__(self, at: int, error: Exception) -> None:
        self.at, self.error, self.passes = at, error, 0
        self.recordings: list[weakref.ref[Recording]] = []
        self.features: list[weakref.ref[torch.Tensor]] = []

    def __call__(self, index: int, module: Any, args: Any, output: torch.Tensor) -> None:
        self.features.append(weakref.ref(output))
        self.passes += 1
        if self.passes == self.at:
            gc.collect()  # what other tests left in circles
            found = [one for one in gc.get_objects() if type(one) is Recording]
            self.recordings = [weakref.ref(one) for one in found]
            raise type(self.error)(*self.error.args)  # a new one: nobody else holds its frames


def generated(extractor: AttentionExtractor) -> Any:
    return extractor.generate(picture(), PROMPT, TOKENS, 0)


def was_read(extractor: AttentionExtractor) -> Any:
    return extractor.read(picture(), PROMPT, "At the top left?")


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize(("answer", "at"), [(generated, 1), (generated, 5), (was_read, 1)])
def test_it_is_said_in_one_line_and_everything_is_freed(
    small: tuple[Any, Any],
    answer: Callable[[AttentionExtractor], Any],
    at: int,
    error: Exception,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While the caller still holds the error, as a page or a notebook does."""
    before, extractor, full = everything(small[0]), AttentionExtractor(*small), Full(at, error)
    emptied: list[bool] = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
    with hooked([small[0].model.language_model.layers[1].mlp], full), pytest.raises(MemoryError) as caught:
        answer(extractor)
    monkeypatch.undo()
    assert str(caught.value).startswith("there is not enough memory for this answer; fewer new tokens (MAX_")
    assert "\n" not in str(caught.value)
    assert caught.value.__context__ is None
    assert emptied == [True]
    assert full.passes == at
    assert len(full.recordings) == 1
    assert [one() for one in full.recordings] == [None]
    assert [one() for one in full.features] == [None] * at
    assert everything(small[0]) == before
    assert len(generated(extractor).token_ids) == TOKENS


def test_nothing_is_left_of_what_was_recorded_into_a_file(
    small: tuple[Any, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(config, "MAX_CAPTURE_BYTES", 0)
    before, extractor, full = everything(small[0]), AttentionExtractor(*small), Full(5, MemoryError())
    files = Path("/proc/self/fd")  # there on Linux
    opened = len([*files.glob("*")])
    with hooked([small[0].model.language_model.layers[1].mlp], full), pytest.raises(MemoryError) as caught:
        generated(extractor)
    assert "\n" not in str(caught.value)
    assert [one() for one in full.recordings] == [None]
    assert list(tmp_path.iterdir()) == []
    assert len([*files.glob("*")]) == opened
    assert everything(small[0]) == before
    assert len(generated(extractor).token_ids) == TOKENS


def test_another_error_comes_out_as_it_is(small: tuple[Any, Any]) -> None:
    full = Full(3, RuntimeError("a kernel failed"))
    with (
        hooked([small[0].model.language_model.layers[1].mlp], full),
        pytest.raises(RuntimeError, match=r"^a kernel failed$"),
    ):
        generated(AttentionExtractor(*small))
