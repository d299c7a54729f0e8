"""Methods: the model, kept as it was."""

import threading
from dataclasses import replace
from typing import Any

import pytest

from internals import teacher_forcing
from internals.exclusive import alone
from internals.hooks import hooked
from internals.teacher_forcing import TeacherForced
from methods import token_maps
from model import decoder_config, decoder_layers, encode
from tests.conftest import traces
from tests.methods.kit import LANDSCAPE, PROMPT, WITH_MODEL, answer, maps_of, picture
from utils import Stopped

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("method", WITH_MODEL)
def test_stop_ends_it_and_says_so(small: tuple[Any, Any], method: str) -> None:
    stop, told = threading.Event(), []

    def on_progress(done: int, count: int) -> None:
        told.append((done, count))
        stop.set()

    with pytest.raises(Stopped):
        maps_of(small, method, on_progress=on_progress, stop=stop)
    assert told[0][0] == 0
    assert len(told) == 1
    assert maps_of(small, method, tokens=0).maps.shape == (1, *LANDSCAPE)


@pytest.mark.parametrize("method", ["gradient-attention", "occlusion"])
def test_stop_between_passes(small: tuple[Any, Any], method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher_forcing, "free_bytes", lambda model: 0)  # one at a time
    stop, told = threading.Event(), []

    def on_progress(done: int, count: int) -> None:
        told.append(done)
        if done == 3:
            stop.set()

    with pytest.raises(Stopped):
        maps_of(small, method, on_progress=on_progress, stop=stop)
    assert told == [0, 1, 2, 3]


@pytest.mark.parametrize("method", WITH_MODEL)
def test_an_error_leaves_the_model_as_it_was(small: tuple[Any, Any], method: str) -> None:
    def broken(index: int, module: Any, args: Any, output: Any) -> None:
        raise ArithmeticError("broken")

    small[0].train()
    before = traces(small[0])
    with pytest.raises(ArithmeticError), hooked([decoder_layers(small[0])[-1]], broken):
        maps_of(small, method, tokens=1)
    assert traces(small[0]) == before
    small[0].eval()
    assert all(weight.requires_grad for weight in small[0].parameters())


@pytest.mark.parametrize("method", WITH_MODEL)
def test_a_busy_model_is_refused(small: tuple[Any, Any], method: str) -> None:
    with alone(decoder_config(small[0])), pytest.raises(RuntimeError, match="wait for it"):
        maps_of(small, method, tokens=1)


@pytest.mark.parametrize("method", WITH_MODEL)
def test_a_capture_of_something_else_is_refused(small: tuple[Any, Any], method: str) -> None:
    with pytest.raises(ValueError, match="another picture or prompt, or by another model"):
        maps_of(small, method, image=picture(seed=1))
    with pytest.raises(ValueError, match="another picture or prompt, or by another model"):
        maps_of(small, method, capture=replace(answer(), model_name="other"))
    with pytest.raises(ValueError, match="needs the model, its processor and the picture"):
        token_maps(method, answer())


def test_grown_keys_of_the_processor_are_passed_on(small: tuple[Any, Any]) -> None:
    """Without mm_token_type_ids the model falls back to text positions, silently: the maps would differ."""
    inputs = TeacherForced(small[0], encode(*small, picture(), PROMPT), (65, 66, 67), (1,)).inputs()
    assert set(inputs) == set(encode(*small, picture(), PROMPT).inputs)
    assert inputs["input_ids"][0, -1] == 65
    assert inputs["mm_token_type_ids"].shape == inputs["input_ids"].shape
