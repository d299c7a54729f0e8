"""Every method against its definition, computed slowly: full matrices, one region at a time, plain loops."""

import json
import math
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from importlib import import_module
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import config
import internals.attention_rows as attention_rows_room
import methods.flow
import methods.question
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from internals import exclusive, teacher_forcing
from internals.exclusive import alone
from internals.hooks import hooked
from internals.teacher_forcing import TeacherForced
from methods import METHODS, TokenMaps, rank_heads, sink_patches, token_maps, top_heads, without_sinks
from methods.activation import rank_gaussian
from methods.attended import GENERAL_PROMPT
from methods.grad_cam import smooth_grad_cam
from methods.heads import above_bend, spatial_entropy
from methods.occlusion import covering
from methods.sinks import Sink
from model import decoder_config, decoder_layers, encode
from records.capture import Capture
from tests.conftest import traces
from tests.numerics import assert_same
from tests.test_attention_processor import (
    CONTEXT,
    GRID,
    HEADS,
    PROMPT_TOKENS,
    RECORDED,
    TOKENS,
    made_capture,
    rows,
)
from tests.tiny import tiny_model
from utils import Stopped

pytestmark = pytest.mark.numeric
LAYERS, OF_MODEL, CELL = 5, 4, 28  # decoder layers, heads, pixels of a merged patch
LANDSCAPE, PORTRAIT = (4, 7), (6, 3)  # grids (h, w)
LOGITS = 5.0  # about the largest of the small model's: the size of the terms of a log-probability
PROMPT, MEAN = "Is red here?", 100  # MEAN: of every channel of every picture here
LOCAL = ["heads-3", "heads-5", "heads-8"]
WITH_MODEL = [name for name, method in METHODS.items() if method.needs_model]


def small_model() -> tuple[Any, Any]:
    return tiny_model(layers=LAYERS, heads=OF_MODEL, kv_heads=2, hidden=48, vocabulary="bytes")


@pytest.fixture(scope="module")
def lent() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(lent: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves it changed."""
    before, offset = traces(lent[0]), lent[0].model.rope_deltas
    yield lent
    assert traces(lent[0]) == before, "the test left hooks, modes, gradients or a backend behind"
    assert lent[0].model.rope_deltas is offset
    assert exclusive._busy == set()
    assert not attention_rows_room._watchers


@lru_cache
def plain() -> Any:
    """Return an equal model for the slow computations: output_attentions leaves hooks of its own behind."""
    model = small_model()[0]
    model.set_attn_implementation({"text_config": "eager"})
    return model


def picture(grid: tuple[int, int] = LANDSCAPE, seed: int = 0) -> Image.Image:
    """Return a random picture whose mean is MEAN exactly: each value comes with its mirror image."""
    h, w = grid
    rng = np.random.default_rng(seed)
    half = rng.integers(0, 2 * MEAN + 1, (3, CELL * CELL * h * w // 2))
    values = rng.permuted(np.concatenate([half, 2 * MEAN - half], axis=1), axis=1)
    return Image.fromarray(values.reshape(3, CELL * h, CELL * w).transpose(1, 2, 0).astype(np.uint8))


@lru_cache
def answer(grid: tuple[int, int] = LANDSCAPE) -> Capture:
    """Return an answer of seven tokens, drawn at random so that they differ."""
    extractor = AttentionExtractor(*small_model(), store_on_cpu=True, float16=False)
    return extractor.generate(picture(grid), PROMPT, max_new_tokens=7, temperature=2.0, top_p=1.0, seed=1)


def maps_of(
    small: tuple[Any, Any], method: str, grid: tuple[int, int] = LANDSCAPE, **given: Any
) -> TokenMaps:
    given = {"capture": answer(grid), "image": picture(grid), **given}
    return token_maps(method, model=small[0], processor=small[1], **given)


def read(small: tuple[Any, Any], image: Image.Image, capture: Capture) -> tuple[dict[str, torch.Tensor], Any]:
    """Return the inputs of prompt and whole answer, and what the image and prompt were encoded to."""
    encoded = encode(plain(), small[1], image, capture.prompt)
    said = torch.tensor([list(capture.token_ids)])
    inputs = dict(encoded.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], said], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(said)], 1)
    return inputs, encoded


def assert_each_same(found: np.ndarray, expected: np.ndarray) -> None:
    """Compare map by map, each at its own size."""
    assert found.shape == expected.shape
    assert found.dtype == np.float32
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 0
        assert_same(one, other)


# --- Against the definitions --------------------------------------------------------------------------------


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


def methods_layers(found: TokenMaps) -> list[int]:
    """Return the layers that a method chose itself."""
    return list(found.settings["layers"])


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


def slow_filter(heat: np.ndarray) -> np.ndarray:
    """Return the rank-Gaussian filter, window by window; the border's mirror leaves out the border itself."""
    h, w = heat.shape
    found = np.zeros_like(heat)

    def mirrored(index: int, size: int) -> int:
        return abs(index) if index < size else 2 * (size - 1) - index

    for row, col in product(range(h), range(w)):
        window = sorted(
            heat[mirrored(row + down, h), mirrored(col + right, w)]
            for down, right in product((-1, 0, 1), repeat=2)
        )
        mean = sum(window) / 9
        sigma = math.sqrt(sum((value - mean) ** 2 for value in window) / 9) / mean if mean else 0
        if sigma == 0:
            found[row, col] = window[4]
            continue
        weights = [math.exp(-((rank - 4) ** 2) / (2 * sigma**2)) for rank in range(9)]
        pairs = zip(weights, window, strict=True)
        found[row, col] = sum(weight * value for weight, value in pairs) / sum(weights)
    return found


@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_token_activation_equals_the_definition(small: tuple[Any, Any], grid: tuple[int, int]) -> None:
    """With the whole model's logits at every position, and one earlier token after the other."""
    a, b, c, *_ = answer(grid).token_ids
    capture = replace(answer(grid), token_ids=(a, b, ord("r"), b, a, c, b))  # "r" is in the prompt too
    found = maps_of(small, "tam", grid, capture=capture, tokens=[0, 2, 4, 6])
    inputs, encoded = read(small, picture(grid), capture)
    with torch.no_grad():
        logits = plain()(**inputs).logits[0].double().clamp(min=0).numpy()  # (position, vocabulary)
    ids, visual = inputs["input_ids"][0].tolist(), encoded.image_positions.tolist()
    expected, pulled = [], []
    for token in (0, 2, 4, 6):
        own = capture.token_ids[token]
        first = encoded.prompt_length
        text = [(place, ids[place]) for place in encoded.prompt_positions.tolist()]
        text += [(first + index - 1, ids[first + index]) for index in range(token)]
        earlier = [(place, said) for place, said in text if said != own]
        assert len(earlier) < len(text) or token == 0
        interference, total = np.zeros(len(visual)), 0.0
        for place, said in earlier:
            interference += logits[place, own] * logits[visual, said]
            total += logits[place, own]
        activation = logits[visual, own]
        pulled.append(total > 0)
        if total > 0:
            interference /= total
            scale = np.linalg.lstsq(interference[:, None], activation, rcond=None)[0][0]
            activation = np.maximum(activation - scale * interference, 0)
        expected.append(slow_filter(activation.reshape(grid)))
    assert sum(pulled) > 1
    assert_each_same(found.maps, np.stack(expected))
    assert (found.cost.forward, found.cost.backward) == (1, 0)


def test_an_lm_head_that_is_not_in_memory_is_refused(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = torch.nn.Linear(2, 3, device="meta")
    monkeypatch.setattr(small[0], "get_output_embeddings", lambda: elsewhere)
    with pytest.raises(ValueError, match="lm_head is not in memory"):
        maps_of(small, "tam")


def test_the_rank_gaussian_filter() -> None:
    heat = np.random.default_rng(0).exponential(size=(5, 8)) ** 2
    np.testing.assert_allclose(rank_gaussian(heat), slow_filter(heat), rtol=1e-9)
    np.testing.assert_array_equal(rank_gaussian(np.full((3, 4), 2.5)), np.full((3, 4), 2.5))
    np.testing.assert_array_equal(rank_gaussian(np.zeros((3, 4))), np.zeros((3, 4)))
    assert np.isfinite(rank_gaussian(heat[:1])).all()
    heat[2, 3] = 1e6  # one spike among thousands of times smaller values is noise
    assert rank_gaussian(heat)[2, 3] < 0.2e6


def logprobs_of(small: tuple[Any, Any], image: Image.Image, capture: Capture) -> np.ndarray:
    inputs, encoded = read(small, image, capture)
    with torch.no_grad():
        rows = torch.log_softmax(plain()(**inputs).logits[0].double(), dim=-1)
    return np.array(
        [rows[encoded.prompt_length + i - 1, token].item() for i, token in enumerate(capture.token_ids)]
    )


@pytest.mark.parametrize(
    ("grid", "size", "stride"), [(LANDSCAPE, 1, None), (PORTRAIT, 2, 1), (LANDSCAPE, 3, 2)]
)
def test_occlusion_equals_painting_over(
    small: tuple[Any, Any], grid: tuple[int, int], size: int, stride: int | None
) -> None:
    """One picture after the other, painted over in its own pixels and read from the start."""
    found = maps_of(small, "occlusion", grid, size=size, stride=stride)
    h, w = grid
    as_it_is = logprobs_of(small, picture(grid), answer(grid))
    step = stride or max(1, size // 2)
    tops = [*range(0, h - size, step), h - size]
    lefts = [*range(0, w - size, step), w - size]
    falls: dict[tuple[int, int], list[np.ndarray]] = {}
    for top, left in product(tops, lefts):
        pixels = np.asarray(picture(grid)).copy()
        pixels[top * CELL : (top + size) * CELL, left * CELL : (left + size) * CELL] = MEAN
        fall = as_it_is - logprobs_of(small, Image.fromarray(pixels), answer(grid))
        for row, col in product(range(top, top + size), range(left, left + size)):
            falls.setdefault((row, col), []).append(fall)
    expected = np.zeros((7, *grid))
    for (row, col), each in falls.items():
        expected[:, row, col] = np.mean(each, axis=0)
    assert_each_same(found.maps, expected)
    assert found.maps.min() < 0 < found.maps.max()
    assert found.cost.forward == 1 + len(tops) * len(lefts)
    assert [found.settings[name] for name in ("size", "stride", "regions")] == [
        size,
        step,
        len(tops) * len(lefts),
    ]


def test_all_tokens_share_the_passes_of_occlusion(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []

    def note(index: int, module: Any, args: Any, output: Any) -> None:
        sizes.append(len(output.last_hidden_state))

    told: list[tuple[int, int]] = []
    with hooked([small[0].model], note):
        together = maps_of(small, "occlusion", on_progress=lambda *how_far: told.append(how_far))
    assert sum(sizes) == together.cost.forward == 29
    assert told == [(0, 29), *((sum(sizes[: done + 1]), 29) for done in range(len(sizes)))]
    assert max(sizes) > 1
    alone_ = maps_of(small, "occlusion", tokens=3)
    assert_same(alone_.maps[0], together.maps[3], terms=LOGITS)
    monkeypatch.setattr(teacher_forcing, "free_bytes", lambda model: 0)
    sizes.clear()
    with hooked([small[0].model], note):
        one_by_one = maps_of(small, "occlusion")
    assert sizes == [1] * 29
    assert_same(one_by_one.maps, together.maps, terms=LOGITS)


def test_a_smaller_batch_where_memory_does_not_suffice(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, logits, tried = maps_of(small, "occlusion"), TeacherForced.logits, []

    def short(self: TeacherForced, pictures: Any = ()) -> torch.Tensor:
        tried.append(len(pictures))
        if len(pictures) > 2:
            raise torch.OutOfMemoryError
        return logits(self, pictures)

    monkeypatch.setattr(TeacherForced, "logits", short)
    found = maps_of(small, "occlusion")
    assert_same(found.maps, usual.maps, terms=LOGITS)
    assert tried[0] > 2
    assert sum(size for size in tried if size <= 2) == 29
    monkeypatch.setattr(TeacherForced, "logits", lambda self, pictures=(): short(self, [*pictures] * 3))
    with pytest.raises(MemoryError, match="not enough memory for one pass"):
        maps_of(small, "occlusion")


@pytest.mark.parametrize("method", ["relative", "rollout", "gradient-attention", "tam", "occlusion"])
def test_too_little_memory_is_said_plainly(small: tuple[Any, Any], method: str) -> None:
    def full(index: int, module: Any, args: Any, output: Any) -> None:
        raise torch.OutOfMemoryError

    with hooked([decoder_layers(small[0])[1]], full), pytest.raises(MemoryError, match="for one pass"):
        maps_of(small, method)


def test_the_blur_equals_its_definition(small: tuple[Any, Any]) -> None:
    """Every value of every patch, looked up in a picture that was blurred pixel by pixel."""
    h, w = grid = (2, 3)
    image = picture(grid)
    vision = small[0].config.vision_config
    encoded = encode(*small, image, PROMPT)
    means, deviations = small[1].image_processor.image_mean, small[1].image_processor.image_std
    plain_ = (np.asarray(image) / 255 - means) / deviations  # (row, col, channel)
    offsets = np.arange(-3 * CELL, 3 * CELL + 1)
    weights = np.exp(-(offsets**2) / (2 * CELL**2))
    weights /= weights.sum()
    blurred = np.zeros_like(plain_)
    down = np.zeros_like(plain_)
    for row in range(h * CELL):
        for offset, weight in zip(offsets, weights, strict=True):
            down[row] += weight * plain_[min(max(row + offset, 0), h * CELL - 1)]
    for col in range(w * CELL):
        for offset, weight in zip(offsets, weights, strict=True):
            blurred[:, col] += weight * down[:, min(max(col + offset, 0), w * CELL - 1)]

    def patches(pixels: np.ndarray) -> np.ndarray:
        side, merge, found = vision.patch_size, vision.spatial_merge_size, []
        for row, col, below, right in product(range(h), range(w), range(merge), range(merge)):
            y, x = (row * merge + below) * side, (col * merge + right) * side
            patch = pixels[y : y + side, x : x + side].transpose(2, 0, 1)  # (channel, row, col)
            found.append(np.stack([patch] * vision.temporal_patch_size, axis=1).reshape(-1))
        return np.stack(found)

    np.testing.assert_allclose(encoded.inputs["pixel_values"], patches(plain_), atol=1e-5)
    forced = TeacherForced(small[0], encoded, (65,), (0,))
    np.testing.assert_allclose(covering(forced, "blur"), patches(blurred), atol=1e-5)


# --- The model, kept as it was ------------------------------------------------------------------------------


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


# --- What is asked, and the record --------------------------------------------------------------------------


def test_every_method_says_what_it_is() -> None:
    assert list(METHODS) == [
        "attention",
        "heads-3",
        "heads-5",
        "heads-8",
        "relative",
        "rollout",
        "gradient-attention",
        "grad-cam",
        "smooth-grad-cam",
        "gradient-norm",
        "tam",
        "occlusion",
    ]
    assert [name for name in METHODS if name not in WITH_MODEL] == ["attention", *LOCAL]
    for method in METHODS.values():
        assert method.what.endswith(".")
        assert method.caveat.endswith(".")
        assert re.search(r" \d{4}, arXiv \d{4}\.\d{4,5}$", method.paper)
        module, name = method.function.split(":")
        assert callable(getattr(import_module(module), name))
    assert [name for name, method in METHODS.items() if method.folds] == ["attention"]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("attentoin", {}, "method must be one of attention, heads-3"),
        ("tam", {"layers": [1]}, "Token activation map does not take 'layers'; it takes no options"),
        ("rollout", {"size": 2}, "Attention rollout does not take 'size'; it takes layers, heads"),
        ("attention", {"tokens": 7}, "there is no token 7: there are 7"),
        ("attention", {"layers": [5]}, "there is no layer 5"),
        ("rollout", {"layers": [5]}, "there is no layer 5: the model has 5 layers"),
        ("rollout", {"heads": [4]}, "there is no head 4"),
        ("gradient-attention", {"heads": []}, "choose at least one head"),
        ("attention", {"pairs": []}, "choose at least one pair"),
        ("attention", {"pairs": [(0, 9)]}, "there is no head 9"),
        ("attention", {"pairs": [(0, 1)], "layers": [0]}, "either pairs"),
        ("attention", {"aggregation": "median"}, "aggregation must be one of mean, max, min"),
        ("relative", {"epsilon": 0.0}, "epsilon must be above 0"),
        ("occlusion", {"size": 0}, "size must be a whole number of at least 1"),
        ("occlusion", {"size": 2, "stride": 3}, "stride must be at most the region's size, 2"),
        ("occlusion", {"fill": "black"}, "fill must be one of mean, blur"),
    ],
)
def test_what_cannot_be_used_is_refused(
    small: tuple[Any, Any], method: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        maps_of(small, method, **options)


def test_an_empty_answer_has_no_maps() -> None:
    parts = ("token_ids", "tokens", "token_spans", "text", "attention", "shares", "logprobs")
    none_left = {name: getattr(made_capture(), name)[:0] for name in parts}
    nothing = made_capture(**none_left, text_attention=torch.empty(0, len(RECORDED), 8))
    with pytest.raises(ValueError, match="empty answer"):
        token_maps("attention", nothing)
    with pytest.raises(ValueError, match="empty answer"):
        rank_heads(nothing)


def test_noise_is_configs_as_it_is_when_the_method_runs(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "GRADCAM_SAMPLES", 2)
    monkeypatch.setattr(config, "GRADCAM_NOISE", 0.4)
    found = maps_of(small, "smooth-grad-cam", tokens=3)
    assert (found.settings["num_samples"], found.settings["noise_std"]) == (2, 0.4)
    assert found.cost.forward == 2
    expected = maps_of(small, "smooth-grad-cam", tokens=3, num_samples=2, noise_std=0.4)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-5)
    monkeypatch.setattr(config, "GRADCAM_SAMPLES", 3)
    assert maps_of(small, "smooth-grad-cam", tokens=3).cost.forward == 3
    norm = maps_of(small, "gradient-norm", tokens=3)  # which is without noise whatever config says
    assert (norm.settings["num_samples"], norm.settings["noise_std"]) == (1, 0.0)


def test_what_each_method_chooses_itself(small: tuple[Any, Any]) -> None:
    late, below = [2, 3, 4], [2, 3]  # of five layers; of those below the last
    expected: dict[str, Any] = {
        "relative": {"layers": late, "heads": [0, 1, 2, 3], "pairs": None, "epsilon": 1 / 18},
        "rollout": {"layers": late, "heads": [0, 1, 2, 3]},
        "gradient-attention": {"layers": late, "heads": [0, 1, 2, 3]},
        "grad-cam": {"layers": below},
        "gradient-norm": {"layers": below, "num_samples": 1, "noise_std": 0.0},
        "occlusion": {"size": 1, "stride": 1, "fill": "mean", "regions": 18},
    }
    for method, chosen in expected.items():
        found = maps_of(small, method, PORTRAIT, tokens=6)
        assert {name: found.settings[name] for name in chosen} == chosen
        assert found.notes == ()
        assert json.loads(json.dumps(found.settings)) == found.settings
        assert found.cost.seconds > 0
    larger = maps_of(small, "occlusion", (9, 8), tokens=0)
    assert [larger.settings[name] for name in ("size", "stride", "regions")] == [2, 1, 8 * 7]
    dark = replace(
        made_capture(),
        attention=torch.zeros_like(made_capture().attention),
        shares=torch.tensor([0.0, 0.6, 0.4]).expand(TOKENS, len(RECORDED), HEADS, 3),
        text_attention=torch.eye(len(CONTEXT) + TOKENS)[:1].expand(TOKENS, len(RECORDED), -1),
    )
    assert token_maps("attention", dark, tokens=3).notes == ("The map of token 3 is zero everywhere.",)
    plainly = token_maps("attention", made_capture()).settings
    assert (plainly["layers"], plainly["heads"]) == (list(RECORDED), list(range(HEADS)))


# --- Sinks --------------------------------------------------------------------------------------------------


def capture_of(answer_maps: np.ndarray, prompt_maps: np.ndarray) -> Capture:
    """Return a capture whose heads and layers all look as given: (token, patch), shares of the image."""
    parts: dict[str, Any] = {}
    for name, maps in (("", answer_maps), ("prompt_", prompt_maps)):
        each = torch.tensor(maps / maps.sum(1, keepdims=True) * 0.5, dtype=torch.float32)[:, None, None]
        parts[f"{name}attention"] = each.expand(-1, len(RECORDED), HEADS, -1).contiguous()
        shares = torch.tensor([0.5, 0.3, 0.2]).expand(len(maps), len(RECORDED), HEADS, 3)
        parts[f"{name}shares"] = shares.contiguous()
    return made_capture(**parts)


def noisy(count: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.5, 1.5, (count, GRID[0] * GRID[1]))


def test_planted_sinks_are_found_the_strongest_first() -> None:
    maps, asked = noisy(TOKENS, 0), noisy(PROMPT_TOKENS, 1)
    for each in (maps, asked):
        each[:, 0] *= 20
        each[:, 33] *= 40
        each[0, :] = 1  # one row that does not look at them: nearly every row is enough
    sinks = sink_patches(capture_of(maps, asked))
    assert [sink.patch for sink in sinks] == [33, 0]
    rows_ = np.concatenate([asked, maps])
    strengths = sorted(rows_[:, 33] / np.median(rows_, axis=1))
    assert sinks[0].strength == pytest.approx(strengths[int(0.2 * (len(strengths) - 1))], rel=1e-4)
    assert sink_patches(capture_of(maps, asked), threshold=30.0) == ()
    with pytest.raises(ValueError, match="threshold must be above 1"):
        sink_patches(capture_of(maps, asked), threshold=1.0)


def test_words_that_look_elsewhere_each_are_no_sinks() -> None:
    maps, asked = noisy(TOKENS, 0), noisy(PROMPT_TOKENS, 1)
    for token in range(TOKENS):
        maps[token, 3 * token] = 300
    assert sink_patches(capture_of(maps, asked)) == ()
    maps[:7, 8] = 300  # more than half of the words, but no word of the prompt
    assert sink_patches(capture_of(maps, asked)) == ()
    assert sink_patches(capture_of(noisy(TOKENS, 2), noisy(PROMPT_TOKENS, 3))) == ()


@pytest.mark.parametrize(("looking", "found"), [(3, []), (4, [17])])
def test_a_thing_that_every_word_looks_at_with_few_heads_is_no_sink(looking: int, found: list[int]) -> None:
    planted: dict[str, Any] = {}
    for name, count in (("", TOKENS), ("prompt_", PROMPT_TOKENS)):
        attention = torch.tensor(noisy(count, 5), dtype=torch.float32)[:, None, None]
        attention = attention.repeat(1, len(RECORDED), HEADS, 1)
        attention.reshape(count, -1, attention.shape[-1])[:, :looking, 17] *= 60  # of six heads
        planted[f"{name}attention"] = attention / attention.sum(-1, keepdim=True) / 2
        shares = torch.tensor([0.5, 0.3, 0.2]).expand(count, len(RECORDED), HEADS, 3)
        planted[f"{name}shares"] = shares.contiguous()
    assert [sink.patch for sink in sink_patches(made_capture(**planted))] == found


def test_sinks_of_chosen_layers_and_heads() -> None:
    (attention, shares), (asked, asked_shares) = rows(TOKENS, 0), rows(PROMPT_TOKENS, 1)
    for each, parts in ((attention, shares), (asked, asked_shares)):
        each[:, 1, 1] = each[:, 1, 1].mean()
        each[:, 1, 1, 17] *= 50
        total = each[:, 1, 1].sum(-1, keepdim=True) * 2
        each[:, 1, 1] /= total
        parts[:, 1, 1] = torch.tensor([0.5, 0.3, 0.2])
    capture = made_capture(
        attention=attention, shares=shares, prompt_attention=asked, prompt_shares=asked_shares
    )
    assert [sink.patch for sink in sink_patches(capture, layers=[2], heads=[1])] == [17]
    assert sink_patches(capture, layers=[0], heads=[1]) == ()


def test_without_sinks_nothing_is_claimed_for_them() -> None:
    heat = np.arange(6, dtype=np.float32).reshape(2, 3) + 2
    record = TokenMaps("attention", (1, 4), np.stack([heat, 9 - heat]))
    found = without_sinks(record, [Sink(5, 30.0), Sink(0, 9.0)])
    np.testing.assert_array_equal(found.maps, [[[3, 3, 4], [5, 6, 3]], [[3, 6, 5], [4, 3, 3]]])
    assert (found.removed, found.settings["sinks"]) == ((0, 5), [[5, 30.0], [0, 9.0]])
    assert (record.removed, heat[1, 2]) == (None, 7)
    nothing = without_sinks(record, [])
    np.testing.assert_array_equal(nothing.maps, record.maps)
    assert nothing.removed == ()
    with pytest.raises(ValueError, match="every patch is a sink"):
        without_sinks(record, [Sink(patch, 9.0) for patch in range(6)])
    with pytest.raises(ValueError, match="Occlusion has no sinks to leave out"):
        without_sinks(replace(record, method="occlusion"), [])


# --- Heads --------------------------------------------------------------------------------------------------


def slow_entropy(heat: np.ndarray) -> float:
    """Return the spatial entropy of one map, its pieces found by walking from cell to cell."""
    left = {(int(row), int(col)) for row, col in zip(*np.where(heat > heat.mean()), strict=True)}
    sizes = []
    while left:
        open_, size = [left.pop()], 0
        while open_:
            row, col = open_.pop()
            size += 1
            near = {(row + down, col + right) for down, right in product((-1, 0, 1), repeat=2)} & left
            left -= near
            open_ += near
        sizes.append(size)
    return -sum(size / sum(sizes) * math.log(size / sum(sizes)) for size in sizes)


def test_spatial_entropy() -> None:
    maps = np.random.default_rng(0).exponential(size=(2, 40, 5, 7)) ** 3
    maps[0, 0] = 0
    maps[0, 0, 1:3, 2:6] = 1
    found = spatial_entropy(maps)
    assert found.shape == (2, 40)
    for place in product(range(2), range(40)):
        assert found[place] == pytest.approx(slow_entropy(maps[place]), abs=1e-12)
    assert found[0, 0] == 0
    snake = np.zeros((7, 9))  # one piece that winds through the whole map
    snake[::2] = 1
    snake[1::4, -1] = snake[3::4, 0] = 1
    two = np.zeros((3, 5))
    two[0, 0] = two[:, 4] = 1
    checks = [(snake, 0.0), (np.ones((4, 3)), 0.0), (two, -(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))]
    for heat, expected in checks:
        assert spatial_entropy(heat) == pytest.approx(expected, abs=1e-12)


def test_the_bend() -> None:
    values = np.array([[0.1, 0.9, 0.05, 0.0], [0.95, 0.12, 0.06, 0.3]])
    np.testing.assert_array_equal(above_bend(values), values > 0.12)
    for without in (np.full(4, 0.3), np.array([0.9, 0.1, 0.8, 0.7]), np.array([0.25, 0.5, 0.75])):
        assert above_bend(without).all()


def test_heads_that_look_at_one_place_come_first() -> None:
    capture = made_capture()
    attention, shares = torch.full_like(capture.attention, 1e-4), torch.zeros_like(capture.shares)
    planted = {(2, 1): (0.6, [8, 9, 16]), (0, 0): (0.7, [0, 6, 28, 34]), (1, 0): (0.5, [17])}
    for (index, head), (share, patches) in planted.items():
        attention[:, index, head, patches] = share / len(patches)
    shares[..., 0] = attention.sum(-1)
    shares[..., 1] = 1 - shares[..., 0]
    places = torch.zeros_like(capture.text_attention)
    places[:, :, 0] = shares[..., 1].mean(2)
    looking = replace(capture, attention=attention, shares=shares, text_attention=places)
    ranks = rank_heads(looking)
    assert [(rank.layer, rank.head) for rank in ranks[:3]] == [(5, 1), (2, 0), (0, 0)]
    assert [rank.on_image for rank in ranks] == [True] * 3 + [False] * 3
    assert ranks[2].entropy == pytest.approx(math.log(4))
    assert ranks[0].share == pytest.approx(0.6032, abs=1e-4)
    assert top_heads(looking, 2) == ((5, 1), (2, 0))
    found = token_maps("attention", looking, tokens=3, pairs=top_heads(looking, 2))
    assert set(np.argsort(found.maps[0].reshape(-1))[-4:]) == {8, 9, 16, 17}
    for count in (0, 7, True):
        with pytest.raises(ValueError, match="number of heads must be 1 to 6"):
            top_heads(looking, count)


def test_ranks_are_means_over_the_tokens() -> None:
    capture = made_capture()
    ranks = {(rank.layer, rank.head): rank for rank in rank_heads(capture, [5, -1])}
    assert len(ranks) == len(RECORDED) * HEADS
    for index, layer in enumerate(RECORDED):
        for head in range(HEADS):
            each = [capture.attention[token, index, head].numpy().reshape(GRID) for token in (5, TOKENS - 1)]
            rank = ranks[layer, head]
            assert rank.entropy == pytest.approx(np.mean([slow_entropy(one) for one in each]))
            assert rank.share == pytest.approx(np.mean([one.sum() for one in each]), rel=1e-5)
    order = rank_heads(capture, [5, -1])
    on, off = ([rank for rank in order if rank.on_image is side] for side in (True, False))
    assert list(order) == on + off
    assert [rank.entropy for rank in on] == sorted(rank.entropy for rank in on)
    assert [rank.share for rank in off] == sorted((rank.share for rank in off), reverse=True)
    assert min(rank.share for rank in on) > max(rank.share for rank in off)
