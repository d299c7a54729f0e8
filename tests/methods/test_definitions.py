"""Methods: against the definitions."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

import internals.attention_rows as attention_rows_room
import methods.flow
import methods.question
from attention_processor import AttentionProcessor
from methods import token_maps, top_heads
from methods.attended import GENERAL_PROMPT
from methods.grad_cam import smooth_grad_cam
from model import decoder_config, encode
from tests.attention_processor.kit import (
    PROMPT_TOKENS,
    TOKENS,
    made_capture,
)
from tests.methods.kit import (
    LANDSCAPE,
    OF_MODEL,
    PORTRAIT,
    PROMPT,
    answer,
    assert_each_same,
    maps_of,
    methods_layers,
    picture,
    plain,
    read,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("aggregation", ["mean", "max", "min"])
def test_attention_is_that_of_the_capture(aggregation: Any) -> None:
    capture = made_capture()
    found = token_maps(
        "attention", capture, tokens=[9, -8], layers=[0, 5], heads=[1], aggregation=aggregation
    )
    processor = AttentionProcessor(capture)
    expected = [
        processor.get_attention_heatmap_for_token(token, [0, 5], [1], aggregation) for token in (3, 9)
    ]
    np.testing.assert_array_equal(found.maps, expected)
    assert found.tokens == (3, 9)
    settings = {"layers": [0, 5], "heads": [1], "aggregation": aggregation, "pairs": None}
    assert found.settings == settings
    assert (found.cost.forward, found.cost.backward) == (0, 0)
    assert_same(found.token_map([9, 3]), np.mean(expected, axis=0))


def test_attention_of_the_prompt_is_that_of_the_capture() -> None:
    capture = made_capture()
    found = token_maps("attention", capture, of_prompt=True, layers=[2], aggregation="max")
    fold = AttentionProcessor(capture).get_attention_heatmap_for_prompt_token
    expected = [fold(token, [2], None, "max") for token in range(PROMPT_TOKENS)]
    np.testing.assert_array_equal(found.maps, expected)
    assert (found.of_prompt, found.tokens) == (True, tuple(range(PROMPT_TOKENS)))
    with pytest.raises(ValueError, match="Attention, 3 most local heads explains words of the answer, not"):
        token_maps("heads-3", capture, of_prompt=True)


@pytest.mark.parametrize("count", [3, 5])
def test_local_heads_are_attention_of_the_best_ranked(count: int) -> None:
    capture = made_capture()
    found = token_maps(f"heads-{count}", capture, tokens=[2, 7])
    expected = token_maps("attention", capture, tokens=[2, 7], pairs=top_heads(capture, count))
    np.testing.assert_array_equal(found.maps, expected.maps)
    assert found.settings == {"pairs": [list(pair) for pair in top_heads(capture, count)]}
    with pytest.raises(ValueError, match="does not take 'layers'; it takes no options"):
        token_maps(f"heads-{count}", capture, layers=[1])


@pytest.mark.parametrize("aggregation", ["mean", "max", "min"])
def test_attention_of_single_heads(aggregation: Any) -> None:
    capture = made_capture()
    pairs = [(5, 0), (2, 1), (-6, 1)]
    found = token_maps("attention", capture, pairs=pairs, aggregation=aggregation)
    fold: Any = {"mean": np.mean, "max": np.max, "min": np.min}[aggregation]
    for token in range(TOKENS):
        each = [capture.attention[token, index, head].numpy() for index, head in ((2, 0), (1, 1), (0, 1))]
        assert_same(found.maps[token].reshape(-1), fold(each, axis=0))
    pairs_ = [[5, 0], [2, 1], [0, 1]]
    assert found.settings == {"layers": None, "heads": None, "aggregation": aggregation, "pairs": pairs_}


@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_relative_attention_equals_the_definition(small: tuple[Any, Any], grid: tuple[int, int]) -> None:
    found = maps_of(small, "relative", grid, layers=[1, 4], heads=[0, 3], epsilon=0.01)
    general = encode(plain(), small[1], picture(grid), GENERAL_PROMPT)
    inputs, encoded = read(small, picture(grid), answer(grid))
    with torch.no_grad():
        own = plain()(**inputs, output_attentions=True).attentions
        other = plain()(**general.inputs, output_attentions=True).attentions
    expected = np.zeros((7, *grid))
    for token, layer, head in product(range(7), (1, 4), (0, 3)):
        above = own[layer][0, head, encoded.prompt_length + token - 1, encoded.image_positions]
        below = other[layer][0, head, general.prompt_length - 1, general.image_positions]
        expected[token] += (above / (below + 0.01)).reshape(grid).numpy() / 4
    assert_each_same(found.maps, expected)
    assert (found.cost.forward, found.cost.backward) == (1, 0)


@pytest.mark.parametrize(("layers", "heads"), [(None, None), ([0, 2, 4], None), ([3, 1], [2, 0, 3])])
@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_rollout_equals_the_definition(
    small: tuple[Any, Any], grid: tuple[int, int], layers: Any, heads: Any
) -> None:
    found = maps_of(small, "rollout", grid, tokens=[0, 3, 6], layers=layers, heads=heads)
    inputs, encoded = read(small, picture(grid), answer(grid))
    with torch.no_grad():
        attentions = plain()(**inputs, output_attentions=True).attentions
    size = inputs["input_ids"].shape[1]
    flow = torch.eye(size, dtype=torch.float64)
    for layer in sorted(layers or methods_layers(found)):
        matrix = attentions[layer][0, heads or list(range(OF_MODEL))].double().mean(0) + torch.eye(size)
        flow = matrix / matrix.sum(1, keepdim=True) @ flow
    at = [encoded.prompt_length + token - 1 for token in (0, 3, 6)]
    assert_each_same(found.maps, flow[at][:, encoded.image_positions].reshape(3, *grid).numpy())
    assert (found.cost.forward, found.cost.backward) == (1, 0)


@pytest.mark.parametrize(("layers", "heads"), [(None, None), ([1, 2, 4], None), ([3], [2, 0, 3])])
@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_gradient_attention_equals_the_definition(
    small: tuple[Any, Any], grid: tuple[int, int], layers: Any, heads: Any
) -> None:
    """With ∂s/∂A from autograd at the softmax's own output, and full matrices from the first layer up."""
    found = maps_of(small, "gradient-attention", grid, tokens=[0, 3, 6], layers=layers, heads=heads)
    inputs, encoded = read(small, picture(grid), answer(grid))
    outputs = plain()(**inputs, output_attentions=True)
    size, expected = inputs["input_ids"].shape[1], []
    for token in (0, 3, 6):
        row = encoded.prompt_length + token - 1
        score = outputs.logits[0, row, answer(grid).token_ids[token]]
        slopes = torch.autograd.grad(score, outputs.attentions, retain_graph=True)
        flow = torch.eye(size, dtype=torch.float64)
        for layer in sorted(layers or methods_layers(found)):
            weighted = (slopes[layer] * outputs.attentions[layer]).clamp(min=0)[0].detach().double()
            flow = flow + weighted[heads or list(range(OF_MODEL))].mean(0) @ flow
        expected.append(flow[row, encoded.image_positions].reshape(grid).numpy())
    assert_each_same(found.maps, np.stack(expected))
    assert (found.cost.forward, found.cost.backward) == (1, 3)


@pytest.mark.parametrize("method", ["rollout", "gradient-attention", "relative"])
def test_the_backend_and_the_block_do_not_matter(
    small: tuple[Any, Any], method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sdpa = maps_of(small, method, tokens=[0, 5])
    sizes, rebuilt = [], attention_rows_room.attention_rows

    def noted(*given: Any) -> torch.Tensor:
        sizes.append(given[0].shape[2])
        return rebuilt(*given)

    monkeypatch.setattr(methods.flow, "BLOCK", 9)
    monkeypatch.setattr(methods.flow, "attention_rows", noted)
    small[0].set_attn_implementation({"text_config": "eager"})
    try:
        eager = maps_of(small, method, tokens=[0, 5])
        assert decoder_config(small[0])._attn_implementation == "eager"
    finally:
        small[0].set_attn_implementation({"text_config": "sdpa"})
    assert_each_same(eager.maps, sdpa.maps)
    assert max(sizes, default=0) == (0 if method == "relative" else 9)
    backends = [one.settings["attention_backend"] for one in (sdpa, eager)]
    assert backends == ["sdpa", "eager"]


def test_gradient_attention_where_memory_is_short(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = maps_of(small, "gradient-attention", layers=[1, 3, 4])
    wanted, recomputed = [], methods.flow.recomputed

    def noted(layers: Any, again: bool) -> Any:
        wanted.append(again)
        return recomputed(layers, again)

    monkeypatch.setattr(methods.flow, "recomputed", noted)
    monkeypatch.setattr(methods.flow, "free_bytes", lambda model: 0)
    sparing = maps_of(small, "gradient-attention", layers=[1, 3, 4])
    assert wanted == [True]
    assert_each_same(sparing.maps, usual.maps)
    monkeypatch.undo()

    def fail(*given: Any) -> Any:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(methods.flow, "_read", fail)
    with pytest.raises(MemoryError, match="not enough memory for one pass"):
        maps_of(small, "gradient-attention")


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_no_layer_keeps_its_attention_for_the_gradients(small: tuple[Any, Any], backend: str) -> None:
    read_, shapes = answer().prompt_length + 6, set()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        shapes.add(tuple(tensor.shape[-2:]))
        return tensor

    small[0].set_attn_implementation({"text_config": backend})
    try:
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            found = maps_of(small, "gradient-attention", tokens=[5, 6], layers=[1, 2, 3, 4])
    finally:
        small[0].set_attn_implementation({"text_config": "sdpa"})
    assert found.cost.backward == 2
    assert (read_, 48) in shapes  # of the layers something is kept
    assert (read_, read_) not in shapes
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        plain()(**read(small, picture(), answer())[0])
    assert (read_ + 1, read_ + 1) in shapes  # eager attention keeps it


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("grad-cam", {"num_samples": 1, "noise_std": 0.0}),
        ("smooth-grad-cam", {"num_samples": 3, "noise_std": 0.3, "seed": 4}),
        ("gradient-norm", {"num_samples": 2, "noise_std": 0.2, "seed": 1}),
    ],
)
def test_the_grad_cams_are_means_over_layers(
    small: tuple[Any, Any], method: str, options: dict[str, Any]
) -> None:
    given = {} if method == "grad-cam" else options
    found = maps_of(small, method, tokens=[5, 2], layers=[1, 3, 4], **given)
    of: Any = "gradient-norm" if method == "gradient-norm" else "grad-cam"
    for index, token in enumerate((2, 5)):
        cam = smooth_grad_cam(*small, picture(), PROMPT, [1, 3], token, answer=answer(), method=of, **options)
        assert_same(found.maps[index], (cam.maps[0] + cam.maps[1]) / 2)
    assert found.settings["layers"] == [1, 3]
    assert "Layer 4, the last, is left out" in found.notes[0]
    samples = options["num_samples"]
    assert (found.cost.forward, found.cost.backward) == (samples, 2 * samples)
    with pytest.raises(ValueError, match="layer 4 is the last one and has no Grad-CAM"):
        maps_of(small, method, layers=[-1])
