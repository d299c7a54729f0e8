"""Every family: Grad-CAM and gradient × attention, against slow computations with autograd."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from internals import gradients
from internals.memory import forward_bytes, pass_bytes
from internals.teacher_forcing import TeacherForced
from methods import covered, covering, token_maps
from methods.grad_cam import smooth_grad_cam
from model import decoder_layers, encode
from tests.families.kit import GRID, PROMPT, answer, attended, picture, plain, read
from tests.gradcam.kit import kept_bytes
from tests.numerics import assert_same
from tests.tiny_families import INJECTED, LAYERS, cell, new_family, tiny_family

pytestmark = pytest.mark.numeric

TOKEN = 4


def slow(kind: str, layer: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return features and gradient (patch, channel) after one layer, from a pass of its own.

    The features are the layer's output and, where the tower has some for it, those that are added to it; they
    are computed here from the tower alone.
    """
    model, (inputs, encoded) = plain(kind), read(kind)
    kept: list[Any] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = decoder_layers(model)[layer].register_forward_hook(keep)
    try:
        logits = model(**inputs).logits[0, encoded.prompt_length + TOKEN - 1]
        logits[answer(kind).token_ids[TOKEN]].backward()
    finally:
        handle.remove()
        model.zero_grad(set_to_none=True)
    features, gradient = kept[0].detach()[0], kept[0].grad[0]
    visual = features[encoded.image_positions]
    if layer < INJECTED.get(kind, 0):
        with torch.no_grad():
            tower = model.model.visual(inputs["pixel_values"], grid_thw=inputs["image_grid_thw"])
        visual = visual + tower.deepstack_features[layer]
    return visual, gradient[encoded.image_positions]


@pytest.mark.parametrize("recompute", [False, True])
def test_one_pass_for_all_layers_equals_one_for_each(
    family: tuple[Any, Any], kind: str, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(1, recompute=recompute))
    settings: dict[str, Any] = {"target": TOKEN, "answer": answer(kind), "noise_std": 0.0}
    cam = smooth_grad_cam(*family, picture(kind), PROMPT, "all", **settings)
    norm = smooth_grad_cam(*family, picture(kind), PROMPT, "all", method="gradient-norm", **settings)
    assert cam.layers == tuple(range(LAYERS - 1))  # those without attention too
    for layer in cam.layers:
        features, gradient = slow(kind, layer)
        terms = features * gradient.mean(0)
        heat = np.maximum(terms.sum(1).reshape(GRID).numpy(), 0)
        assert_same(cam.maps[layer], heat, terms=max(float(terms.abs().max()), 1e-6), steps=8192)
        assert_same(norm.maps[layer], gradient.norm(dim=1).reshape(GRID), steps=8192)
        assert gradient.any()


@pytest.mark.parametrize("kind", INJECTED)
def test_what_is_added_after_a_layer_counts(family: tuple[Any, Any], kind: str) -> None:
    """With the layer's own output the map would be another one."""
    cam = smooth_grad_cam(
        *family, picture(kind), PROMPT, [0], TOKEN, noise_std=0.0, answer=answer(kind), method="grad-cam"
    )
    with torch.no_grad():
        tower = plain(kind).model.visual(
            read(kind)[0]["pixel_values"], grid_thw=read(kind)[0]["image_grid_thw"]
        )
    features, gradient = slow(kind, 0)
    without = torch.relu(((features - tower.deepstack_features[0]) * gradient.mean(0)).sum(1)).reshape(GRID)
    assert np.abs(cam.maps[0] - without.numpy()).max() > 0.05 * cam.maps[0].max()


def test_the_last_layer_is_refused(family: tuple[Any, Any], kind: str) -> None:
    with pytest.raises(ValueError, match="layer 3 is the last one and has no Grad-CAM"):
        smooth_grad_cam(*family, picture(kind), PROMPT, [3], TOKEN, answer=answer(kind))


def test_gradient_attention_equals_autograd(family: tuple[Any, Any], kind: str) -> None:
    """With ∂s/∂A at the softmax's own output, and full matrices from the first layer up; gated too."""
    model, tokens = family[0], [0, TOKEN]
    capture, layers = answer(kind), [1, 3]
    found = token_maps(
        "gradient-attention",
        capture,
        model=model,
        processor=family[1],
        image=picture(kind),
        tokens=tokens,
        layers=layers,
    )
    inputs, encoded = read(kind)
    outputs, size = plain(kind)(**inputs, output_attentions=True), inputs["input_ids"].shape[1]
    for token, heat in zip(tokens, found.maps, strict=True):
        row, flow = encoded.prompt_length + token - 1, torch.eye(size, dtype=torch.float64)
        score = outputs.logits[0, row, capture.token_ids[token]]
        slopes = torch.autograd.grad(score, outputs.attentions, retain_graph=True)
        for layer in layers:
            place = attended(kind).index(layer)
            weighted = (slopes[place] * outputs.attentions[place]).clamp(min=0)[0].detach().double()
            flow = flow + weighted.mean(0) @ flow
        assert_same(heat, flow[row, encoded.image_positions].reshape(GRID), steps=8192)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_estimates_cover_what_autograd_keeps(
    kind: str, dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = new_family(kind, intermediate_size=320)
    model.to(dtype)
    forward, kept = gradients.LayerGradients.forward, []

    def measured(self: Any, samples: range) -> Any:
        result, size = kept_bytes(lambda: forward(self, samples))
        kept.append((size, pass_bytes(model, self.read, len(self.rows), self.layers)))
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", measured)
    smooth_grad_cam(
        model, processor, picture(kind), PROMPT, [0], TOKEN, noise_std=0.0, answer=answer(kind).token_ids
    )
    size, estimate = kept[0]
    assert size < estimate < 4 * size
    assert 0 < forward_bytes(model, 100, 1) < forward_bytes(model, 200, 1)


def test_the_size_of_a_visual_token_is_the_familys(kind: str) -> None:
    """A covered cell is that cell of the picture, and a blur leaves an even picture as it is."""
    forced = TeacherForced(
        tiny_family(kind)[0], encode(*tiny_family(kind), picture(kind), PROMPT), answer(kind).token_ids, (0,)
    )
    cells = np.zeros(GRID, dtype=bool)
    cells[3, 1] = True
    changed = (covered(forced, cells, covering(forced, "blur")) != forced.pixels).any(1)
    assert changed.reshape(-1, 4).all(1).reshape(GRID).nonzero().tolist() == [[3, 1]]
    (h, w), side = GRID, cell(kind)
    flat = Image.new("RGB", (side * w, side * h), (90, 90, 90))
    even = TeacherForced(
        tiny_family(kind)[0], encode(*tiny_family(kind), flat, PROMPT), answer(kind).token_ids, (0,)
    )
    assert_same(covering(even, "blur"), even.pixels)
