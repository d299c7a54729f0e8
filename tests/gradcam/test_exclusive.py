"""Grad-CAM: the model comes back as it was; progress and stopping."""

import threading
from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from internals import gradients
from internals.hooks import hooked
from methods.grad_cam import token_grad_cams
from model import decoder_layers
from tests.conftest import traces
from tests.gradcam.kit import ANSWER, LAYERS, PROMPT, cam_of, picture, wants_gradients
from utils import Stopped

pytestmark = pytest.mark.numeric


# --- The model comes back as it was ---


def test_everything_is_put_back(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model = small[0]
    layers: Any = decoder_layers(model)
    frozen, trained = layers[1].mlp.up_proj.weight, layers[2].mlp.up_proj.weight
    frozen.requires_grad_(False)
    trained.grad = torch.ones_like(trained)
    layers[3].train()
    model.model.rope_deltas = offset = torch.tensor([[7]])
    before = traces(model)
    forward = gradients.LayerGradients.forward

    def broken(self: Any, samples: range) -> Any:
        forward(self, samples)
        raise RuntimeError("broken")

    try:
        usual = cam_of(small)
        assert traces(model) == before
        monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(1, recompute=True))
        cam_of(small)
        assert traces(model) == before
        monkeypatch.setattr(gradients.LayerGradients, "forward", broken)
        with pytest.raises(RuntimeError, match="broken"):
            cam_of(small)
        assert traces(model) == before
        assert model.model.rope_deltas is offset
        assert torch.equal(trained.grad, torch.ones_like(trained))
        assert all(set(vars(layer)) == set(vars(layers[0])) for layer in layers)
    finally:
        frozen.requires_grad_(True)
        trained.grad = None
        layers[3].eval()
        model.model.rope_deltas = None
    monkeypatch.undo()
    np.testing.assert_array_equal(cam_of(small).maps, usual.maps)  # train mode was off meanwhile


def test_no_parameter_gets_a_gradient(small: tuple[Any, Any]) -> None:
    asked: list[bool] = []
    with hooked(list(decoder_layers(small[0])), lambda *_: asked.append(wants_gradients(small[0]))):
        cam_of(small, num_samples=1)
    assert asked == [False] * LAYERS
    assert wants_gradients(small[0])


def test_nothing_is_differentiated_below_the_lowest_layer(small: tuple[Any, Any]) -> None:
    differentiated: dict[int, bool] = {}
    model = small[0]
    modules = [model.model.visual, *decoder_layers(model)]

    def note(index: int, module: Any, args: Any, output: Any) -> None:
        differentiated[index - 1] = getattr(output, "pooler_output", output).requires_grad

    with hooked(modules, note):
        cam_of(small, layers=[2, 3], num_samples=1)
    assert differentiated == {-1: False, 0: False, 1: False, 2: False, 3: True, 4: True}


def test_it_works_where_gradients_are_off(small: tuple[Any, Any]) -> None:
    usual = cam_of(small)
    with torch.no_grad():
        np.testing.assert_array_equal(cam_of(small).maps, usual.maps)
        assert not torch.is_grad_enabled()
    with torch.inference_mode():
        np.testing.assert_array_equal(cam_of(small).maps, usual.maps)


def test_two_at_a_time_on_one_model_are_refused(small: tuple[Any, Any]) -> None:
    refused: list[str] = []

    def again(done: int, count: int) -> None:
        for other in (
            lambda: cam_of(small),
            lambda: AttentionExtractor(*small).generate(picture(), PROMPT, 2),
        ):
            with pytest.raises(RuntimeError, match="already at work for another answer or map"):
                other()
            refused.append("")

    cam_of(small, num_samples=1, on_progress=again)
    assert len(refused) == 4


# --- Progress and stopping ---


def test_stopping_between_batches(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(2))
    stop, told = threading.Event(), []

    def tell(done: int, count: int) -> None:
        told.append((done, count))
        if done == 4:
            stop.set()

    with pytest.raises(Stopped):
        cam_of(small, num_samples=9, on_progress=tell, stop=stop)
    assert told == [(0, 9), (2, 9), (4, 9)]
    with pytest.raises(Stopped):
        cam_of(small, stop=stop)
    with pytest.raises(Stopped):
        cam_of(small, answer=None, max_new_tokens=50, stop=stop)


def test_stopping_between_tokens(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    stop, plain, cams = threading.Event(), gradients.LayerGradients.at_patches, []

    def cam(self: Any, *given: Any) -> Any:
        cams.append(1)
        stop.set()
        return plain(self, *given)

    monkeypatch.setattr(gradients.LayerGradients, "at_patches", cam)
    with pytest.raises(Stopped):
        token_grad_cams(*small, picture(), PROMPT, [1, 2], num_samples=1, answer=ANSWER, stop=stop)
    assert len(cams) == 2  # both layers of the first token
