"""Smooth Grad-CAM: against a slow re-implementation of the definition, finite differences, closed forms."""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import Qwen2_5_VLRMSNorm

import visualization
from attention_extractor import AttentionExtractor
from gradcam import (
    SmoothQwenGradCAM,
    create_comparative_analysis,
    create_layer_comparison_grid,
    get_model_layers,
    single_layer_visualization,
    visualize_multiple_layers,
)
from internals import gradients, memory
from internals.hooks import hooked
from internals.memory import pass_bytes
from methods.grad_cam import Noise, smooth_grad_cam, token_grad_cams
from model import decoder_layers, encode
from records.grad_cam import GradCam
from records.layers import chosen_layers, comparative_layers, layer_thirds
from records.look import Look
from records.targets import Contrast, Text
from report.layers import Style, save_layers
from tests.conftest import traces
from tests.numerics import assert_same
from tests.tiny import tiny_model
from utils import Stopped

pytestmark = pytest.mark.numeric
LAYERS, HEADS = 5, 4
LANDSCAPE, PORTRAIT = (4, 7), (6, 3)  # grids (h, w)
PROMPT = "What is here?"
ANSWER = tuple(b"A red box.")  # in the byte vocabulary a token is a byte
SAMPLES, SIGMA = 3, 0.3
LOGITS = 5.0  # about the largest of the small model's: the size of the terms of a score
# Of all logits (position, vocabulary) and the prompt's length.
Score = Callable[[torch.Tensor, int], torch.Tensor]


def small_model(**settings: Any) -> tuple[Any, Any]:
    return tiny_model(layers=LAYERS, heads=HEADS, kv_heads=2, hidden=48, vocabulary="bytes", **settings)


@pytest.fixture(scope="module")
def lent() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(lent: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves it changed."""
    before = traces(lent[0])
    yield lent
    assert traces(lent[0]) == before, "the test left hooks, modes, gradients or a backend behind"


def picture(grid: tuple[int, int] = LANDSCAPE, seed: int = 0) -> Image.Image:
    h, w = grid
    pixels = np.random.default_rng(seed).integers(0, 256, (28 * h, 28 * w, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def cam_of(small: tuple[Any, Any], grid: tuple[int, int] = LANDSCAPE, **settings: Any) -> GradCam:
    given = {"layers": "all", "num_samples": SAMPLES, "noise_std": SIGMA, "answer": ANSWER, **settings}
    return smooth_grad_cam(*small, picture(grid), PROMPT, **given)


@contextmanager
def pixels_seen(model: Any) -> Iterator[list[torch.Tensor]]:
    """Yield a list that fills with what the vision tower reads: (patch, value), of each sample."""
    seen: list[torch.Tensor] = []

    def note(module: Any, args: Any, kwargs: Any) -> None:
        pixels, grid = args[0], kwargs["grid_thw"]
        seen.extend(pixels.detach().clone().split(grid.prod(-1).tolist()))

    handle = model.model.visual.register_forward_pre_hook(note, with_kwargs=True)
    try:
        yield seen
    finally:
        handle.remove()


# --- The definition, slowly: one layer, one sample, the plain model with everything that it computes --------


def read_with(
    small: tuple[Any, Any], grid: tuple[int, int], ids: Sequence[int], pixels: torch.Tensor | None
) -> tuple[dict[str, torch.Tensor], torch.Tensor, int]:
    """Return the whole sequence's inputs, the positions of the visual tokens and the prompt's length."""
    encoded = encode(*small, picture(grid), PROMPT)
    inputs = dict(encoded.inputs)
    answer = torch.tensor([list(ids)])
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], 1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(answer)], 1)
    if pixels is not None:
        inputs["pixel_values"] = pixels
    visual = (inputs["input_ids"][0] == small[0].config.image_token_id).nonzero()[:, 0]
    return inputs, visual, encoded.prompt_length


def slow_gradient(
    small: tuple[Any, Any],
    grid: tuple[int, int],
    ids: Sequence[int],
    pixels: torch.Tensor | None,
    layer: int,
    score: Score,
) -> tuple[np.ndarray, np.ndarray]:
    """Return features and gradients (patch, channel) at one layer, from a plain forward and backward()."""
    model = small[0]
    inputs, visual, length = read_with(small, grid, ids, pixels)
    kept: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = decoder_layers(model)[layer].register_forward_hook(keep)
    try:
        score(model(**inputs).logits[0], length).backward()
    finally:
        handle.remove()
        model.zero_grad(set_to_none=True)
        model.model.rope_deltas = None
    features, gradient = kept[0], kept[0].grad
    assert gradient is not None
    return features[0, visual].detach().double().numpy(), gradient[0, visual].double().numpy()


def slow_map(
    small: tuple[Any, Any],
    grid: tuple[int, int],
    ids: Sequence[int],
    pixels: torch.Tensor | None,
    layer: int,
    score: Score,
    relu: bool = True,
) -> np.ndarray:
    """Return Grad-CAM (h, w) as it is written in the paper."""
    features, gradient = slow_gradient(small, grid, ids, pixels, layer, score)
    h, w = grid
    heat = np.zeros(grid)
    for channel in range(features.shape[1]):
        weight = sum(gradient[patch, channel] for patch in range(h * w)) / (h * w)
        for patch in range(h * w):
            heat[patch // w, patch % w] += weight * features[patch, channel]
    return np.maximum(heat, 0) if relu else heat


def logits_of(ids: Sequence[int], tokens: Sequence[int]) -> Score:
    """Return the score "sum of the logits of these tokens of the answer"."""

    def score(logits: torch.Tensor, length: int) -> torch.Tensor:
        return sum((logits[length + token - 1, ids[token]] for token in tokens), torch.zeros(()))

    return score


TARGETS: list[tuple[Any, Sequence[int], Score]] = [
    (None, ANSWER, logits_of(ANSWER, range(len(ANSWER)))),
    (0, ANSWER, logits_of(ANSWER, [0])),
    (-2, ANSWER, logits_of(ANSWER, [8])),
    ([5, 3, 4, 3], ANSWER, logits_of(ANSWER, [3, 4, 5])),
    (Text("oval"), tuple(b"oval"), logits_of(tuple(b"oval"), range(4))),
    (Text("tin", at=6), tuple(b"A red tin"), logits_of(tuple(b"A red tin"), [6, 7, 8])),
    (
        Contrast("red", "blue"),
        ANSWER,
        lambda logits, length: logits[length + 1, ord("r")] - logits[length + 1, ord("b")],
    ),
]


@pytest.mark.parametrize(("target", "ids", "score"), TARGETS, ids=lambda value: str(value)[:24])
@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_equals_the_definition(
    small: tuple[Any, Any], grid: tuple[int, int], target: Any, ids: Sequence[int], score: Any
) -> None:
    if isinstance(target, Contrast):  # in bytes the answer says " red": compare at the r
        target = replace(target, at=2)
    with pixels_seen(small[0]) as seen:
        cam = cam_of(small, grid, target=target)
    assert len(seen) == SAMPLES
    assert cam.maps.shape == (LAYERS - 1, *grid)
    assert cam.maps.dtype == np.float32
    assert cam.layers == (0, 1, 2, 3)
    assert (cam.token_ids, cam.grid) == (tuple(ids), grid)
    for layer in (0, 2, 3):
        expected = np.mean([slow_map(small, grid, ids, pixels, layer, score) for pixels in seen], axis=0)
        assert_same(cam.layer_map(layer), expected)
    inputs, _, length = read_with(small, grid, ids, seen[1])
    with torch.no_grad():
        logits = small[0](**inputs).logits[0]
    small[0].model.rope_deltas = None
    assert_same(cam.scores[1], score(logits, length), terms=logits)


@pytest.mark.parametrize("grid", [LANDSCAPE, PORTRAIT])
def test_the_gradient_norm_equals_its_definition(small: tuple[Any, Any], grid: tuple[int, int]) -> None:
    with pixels_seen(small[0]) as seen:
        cam = cam_of(small, grid, target=[3, 4], method="gradient-norm")
    for layer in (0, 3):
        gradients = [
            slow_gradient(small, grid, ANSWER, pixels, layer, logits_of(ANSWER, [3, 4]))[1] for pixels in seen
        ]
        norms = [[sum(value * value for value in patch) ** 0.5 for patch in one] for one in gradients]
        assert_same(cam.layer_map(layer), np.mean(norms, axis=0).reshape(grid))
    assert cam.settings["method"] == "gradient-norm"


def test_raw_maps_are_averaged_not_normalised_ones(small: tuple[Any, Any]) -> None:
    with pixels_seen(small[0]) as seen:
        cam = cam_of(small, layers=[1], noise_std=2.0)
    each = [slow_map(small, LANDSCAPE, ANSWER, pixels, 1, TARGETS[0][2]) for pixels in seen]
    assert_same(cam.maps[0], np.mean(each, axis=0))
    normalised = np.mean([one / one.max() for one in each], axis=0)
    assert np.abs(normalised / normalised.max() - cam.maps[0] / cam.maps[0].max()).max() > 0.05


def test_without_noise_it_is_grad_cam_whatever_the_number_of_samples(small: tuple[Any, Any]) -> None:
    plain = cam_of(small, num_samples=1, noise_std=0)
    many = cam_of(small, num_samples=7, noise_std=0.0)
    np.testing.assert_array_equal(plain.maps, many.maps)
    assert many.scores.tolist() == [plain.scores[0]] * 7
    for layer in plain.layers:
        assert_same(plain.layer_map(layer), slow_map(small, LANDSCAPE, ANSWER, None, layer, TARGETS[0][2]))


def test_finite_differences(monkeypatch: pytest.MonkeyPatch) -> None:
    """In float64: the map of patch p is d/dε s(F + ε·F_p at every visual token) / number of patches."""

    def norm(self: Any, x: torch.Tensor) -> torch.Tensor:  # the model's own computes in float32
        return self.weight * x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.variance_epsilon)

    monkeypatch.setattr(Qwen2_5_VLRMSNorm, "forward", norm)
    small = small_model()
    model, token, layer, step = small[0].double(), 4, 2, 1e-5
    cam = cam_of(small, layers=[layer], target=token, noise_std=0)
    inputs, visual, length = read_with(small, LANDSCAPE, ANSWER, None)
    by, patch = 0.0, 0

    def move(module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, visual] += by * output[:, visual[patch]]
        return output

    def score() -> float:
        return float(model(**inputs).logits[0, length + token - 1, ANSWER[token]])

    slopes = {}
    with torch.no_grad(), hooked([decoder_layers(model)[layer]], lambda index, *given: move(*given)):
        for patch in (0, 5, 12, 19, 27):
            by = step
            above = score()
            by = -step
            slopes[patch] = (above - score()) / (2 * step) / len(visual)
    assert min(slopes.values()) < 0 < max(slopes.values())
    for patch, slope in slopes.items():
        assert cam.maps[0].reshape(-1)[patch] == pytest.approx(max(0.0, slope), rel=1e-4, abs=1e-7)


def test_the_backend_does_not_matter(small: tuple[Any, Any]) -> None:
    sdpa = cam_of(small)
    small[0].set_attn_implementation({"text_config": "eager"})
    try:
        eager = cam_of(small)
    finally:
        small[0].set_attn_implementation({"text_config": "sdpa"})
    assert_same(eager.maps, sdpa.maps)
    assert (sdpa.settings["attention_backend"], eager.settings["attention_backend"]) == ("sdpa", "eager")


# --- Contrast, tokens one by one ---


def test_contrast_is_antisymmetric_before_relu(small: tuple[Any, Any]) -> None:
    def score(logits: torch.Tensor, length: int) -> torch.Tensor:
        return logits[length + 1, ord("r")] - logits[length + 1, ord("g")]

    one = cam_of(small, target=Contrast("red", "green", at=2), noise_std=0)
    other = cam_of(small, target=Contrast("green", "red", at=2), noise_std=0)
    assert_same(one.scores, -other.scores, terms=LOGITS)
    for layer in (0, 3):
        signed = slow_map(small, LANDSCAPE, ANSWER, None, layer, score, relu=False)
        assert_same(one.layer_map(layer) - other.layer_map(layer), signed)
        assert not (one.layer_map(layer) * other.layer_map(layer)).any()
    assert other.text == "A green"
    assert one.text == "A red box."


@pytest.mark.parametrize("at_once", [1, 2])
def test_maps_of_all_tokens_equal_each_alone_and_share_their_forward_passes(
    small: tuple[Any, Any], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(at_once))
    given: dict[str, Any] = {"num_samples": 2, "noise_std": SIGMA, "answer": ANSWER}
    with pixels_seen(small[0]) as seen, hooked([small[0].model.language_model], note := Calls()):
        together = token_grad_cams(*small, picture(), PROMPT, "all", **given)
    assert (len(seen), note.count) == (2, 2 // at_once)
    assert len(together) == len(ANSWER)
    for token in (0, 4, 9):
        alone = cam_of(small, target=token, num_samples=2)
        assert_same(together[token].maps, alone.maps)
        assert_same(together[token].scores, alone.scores, terms=LOGITS)
        assert (together[token].target, together[token].target_tokens) == (alone.target, (token,))
    few = token_grad_cams(*small, picture(), PROMPT, "all", [-1, 4], **given)
    assert [one.target_tokens for one in few] == [(4,), (9,)]
    assert_same(few[1].maps, together[9].maps)


class Calls:
    """A hook that counts."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, *_: Any) -> None:
        self.count += 1


# --- Layers ---


def test_layers_do_not_depend_on_each_other(small: tuple[Any, Any]) -> None:
    every = cam_of(small)
    for layers in ([2], [0, 3], [1, 2, 3]):
        some = cam_of(small, layers=layers)
        assert some.layers == tuple(layers)
        for layer in layers:
            assert_same(some.layer_map(layer), every.layer_map(layer))
    np.testing.assert_array_equal(every.layer_map(-2), every.maps[3])
    with pytest.raises(ValueError, match="layer 4 is not among those computed: 0, 1, 2, 3"):
        every.layer_map(4)


def test_the_last_layer_is_zero_and_refused_with_the_reason(small: tuple[Any, Any]) -> None:
    score = TARGETS[0][2]
    features, gradient = slow_gradient(small, LANDSCAPE, ANSWER, None, LAYERS - 1, score)
    assert features.any()
    assert not gradient.any()
    assert slow_gradient(small, LANDSCAPE, ANSWER, None, LAYERS - 2, score)[1].any()
    for layers in (4, -1, [0, 4], [2, -1]):
        with pytest.raises(ValueError, match=r"layer 4 is the last one .* no later layer reads its features"):
            cam_of(small, layers=layers)
    for name in ("auto", "late", "all"):
        cam = cam_of(small, layers=name, num_samples=1)
        assert 4 not in cam.layers
        assert cam.notes[0].startswith("Layer 4, the last, is left out: no later layer reads")
    assert not any("left out" in note for note in cam_of(small, layers=[1], num_samples=1).notes)


@pytest.mark.parametrize(
    ("count", "name", "layers"),
    [
        (36, "auto", (0, 7, 14, 20, 27, 34)),
        (28, "auto", (0, 5, 10, 16, 21, 26)),
        (7, "auto", (0, 1, 2, 3, 4, 5)),
        (4, "auto", (0, 1, 2)),
        (36, "early", tuple(range(12))),
        (36, "middle", tuple(range(12, 23))),
        (36, "late", tuple(range(23, 35))),
        (4, "late", (2,)),
        (12, "all", tuple(range(11))),
        (12, [3, -2, 3], (3, 10)),
        (12, -12, (0,)),
    ],
)
def test_choice_of_layers(count: int, name: Any, layers: tuple[int, ...]) -> None:
    assert chosen_layers(count, name)[0] == layers


def test_layers_that_are_not_there() -> None:
    for layers in (12, -13, [0, 99]):
        with pytest.raises(ValueError, match=r"there is no layer -?\d+: the model has 12 layers, 0 to 11"):
            chosen_layers(12, layers)
    for wrong, message in (
        ("most", "one of auto, early, middle, late, all; got 'most'"),
        ([], "at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            chosen_layers(12, wrong)
    with pytest.raises(ValueError, match="'middle' is no layer of a model with 3 layers"):
        chosen_layers(3, "middle")
    assert chosen_layers(3, "early")[0] + chosen_layers(3, "late")[0] == (0, 1)


@pytest.mark.parametrize("count", range(2, 40))
def test_thirds_are_all_layers_below_the_last(count: int) -> None:
    thirds = layer_thirds(count)
    assert list(thirds) == ["early", "middle", "late"]
    assert sum(thirds.values(), ()) == tuple(range(count - 1))
    assert max(map(len, thirds.values())) - min(map(len, thirds.values())) <= 1
    compared = comparative_layers(count)
    assert list(compared) == sorted(set(compared))
    if count > 9:
        assert [len(set(compared) & set(third)) for third in thirds.values()] == [3, 3, 3]


# --- Noise ---


def test_noise_is_the_same_in_both_copies_of_a_patch_and_has_the_asked_spread(small: tuple[Any, Any]) -> None:
    clean = encode(*small, picture(), PROMPT).inputs["pixel_values"]
    with pixels_seen(small[0]) as seen:
        cam_of(small, noise_std=0.7, num_samples=2)
    for pixels in seen:
        noise = (pixels - clean).reshape(len(clean), 3, 2, 14, 14)  # (patch, channel, copy, row, col)
        torch.testing.assert_close(noise[:, :, 0], noise[:, :, 1], rtol=0, atol=1e-6)
        flat = noise[:, :, 0]
        assert float(flat.std()) == pytest.approx(0.7, rel=0.02)
        assert abs(float(flat.mean())) < 0.01
        across = torch.corrcoef(flat.transpose(0, 1).reshape(3, -1))
        assert float((across - torch.eye(3)).abs().max()) < 0.03
    assert float(torch.corrcoef(torch.stack([one.flatten() for one in seen]) - clean.flatten())[0, 1]) < 0.03


def test_same_seed_same_map(small: tuple[Any, Any]) -> None:
    one, same, other = (cam_of(small, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.maps, same.maps)
    np.testing.assert_array_equal(one.scores, same.scores)
    assert np.abs(one.maps - other.maps).max() > 0.01 * one.maps.max()
    assert not set(one.scores.tolist()) & set(other.scores.tolist())
    torch.manual_seed(1)
    state = torch.random.get_rng_state()
    np.testing.assert_array_equal(cam_of(small, seed=3).maps, one.maps)
    assert torch.equal(torch.random.get_rng_state(), state)


def test_more_samples_keep_those_before(small: tuple[Any, Any]) -> None:
    four, two = (cam_of(small, num_samples=count).scores for count in (4, 2))
    assert_same(four[:2], two, terms=LOGITS)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_samples": 0}, "num_samples must be a whole number of at least 1; got 0"),
        ({"num_samples": 2.0}, "num_samples must be a whole number of at least 1; got 2.0"),
        ({"noise_std": -0.1}, "noise_std must be a number of 0 or above; got -0.1"),
        ({"noise_std": float("nan")}, "noise_std must be a number of 0 or above; got nan"),
        ({"noise_std": float("inf")}, "noise_std must be a number of 0 or above; got inf"),
        ({"seed": -1}, "seed must be a whole number of at least 0; got -1"),
        ({"method": "magic"}, "method must be one of grad-cam, gradient-norm; got 'magic'"),
        ({"target": 10}, "there is no token 10: the answer has 10 tokens, 0 to 9"),
        ({"target": []}, "choose at least one token to explain"),
        ({"answer": []}, "the model gave an empty answer: there is nothing to explain"),
        ({"answer": [999]}, "an answer cannot have the token id 999"),
    ],
)
def test_refusals(small: tuple[Any, Any], settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        cam_of(small, **settings)


def test_an_answer_cannot_hold_image_tokens(small: tuple[Any, Any]) -> None:
    with pytest.raises(ValueError, match="an answer cannot have the token id"):
        cam_of(small, answer=[65, small[0].config.image_token_id])


# --- The answer ---


def test_the_answer_is_generated_once_and_is_the_likeliest(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 6, temperature=0.0)
    calls, plain = [], AttentionExtractor.generate

    def counted(*given: Any, **more: Any) -> Any:
        calls.append(given)
        return plain(*given, **more)

    monkeypatch.setattr(AttentionExtractor, "generate", counted)
    made = cam_of(small, answer=None, max_new_tokens=6)
    assert len(calls) == 1
    assert (made.token_ids, made.text, made.tokens) == (capture.token_ids, capture.text, capture.tokens)
    given, ids = cam_of(small, answer=capture), cam_of(small, answer=list(capture.token_ids))
    cam_of(small, answer=None, target=Text("mine"))
    assert len(calls) == 1
    np.testing.assert_array_equal(made.maps, given.maps)
    np.testing.assert_array_equal(made.maps, ids.maps)
    assert made.image_hash == capture.image_hash
    assert made.image_size == capture.image_size == (112, 196)


def test_an_answer_to_something_else_is_refused(small: tuple[Any, Any]) -> None:
    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 3, temperature=0.0)
    message = "the answer was given to another picture or prompt, or by another model"
    for image, prompt, answer in (
        (picture(seed=1), PROMPT, capture),
        (picture(), "Where?", capture),
        (picture(), PROMPT, replace(capture, model_name="another")),
    ):
        with pytest.raises(ValueError, match=message):
            smooth_grad_cam(*small, image, prompt, answer=answer)


# --- Memory ---


@pytest.mark.parametrize(
    "plan", [gradients._Plan(1), gradients._Plan(2), gradients._Plan(5), gradients._Plan(2, recompute=True)]
)
def test_the_batch_size_does_not_change_the_maps(
    small: tuple[Any, Any], plan: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cam_of(small, num_samples=5)
    monkeypatch.setattr(gradients, "_plan", lambda passes: plan)
    batched = cam_of(small, num_samples=5)
    assert_same(batched.maps, usual.maps)
    assert_same(batched.scores, usual.scores, terms=LOGITS)
    tokens = token_grad_cams(*small, picture(), PROMPT, [1, 3], num_samples=2, answer=ANSWER)
    assert_same(tokens[5].maps, cam_of(small, layers=[1, 3], num_samples=2, noise_std=0.15, target=5).maps)


OUT_OF_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20 GiB"),
    MemoryError(),
    RuntimeError("[enforce fail at alloc_cpu.cpp:118] DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to allocate 20 bytes."),
]


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=lambda error: f"{type(error).__name__} {error}"[-30:])
def test_out_of_memory_halves_the_batch(
    small: tuple[Any, Any], error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = cam_of(small, num_samples=7)
    forward, tried = gradients.LayerGradients.forward, []

    def small_memory(self: Any, samples: range) -> Any:
        tried.append((samples.start, len(samples)))
        result = forward(self, samples)
        if len(samples) > 2:
            raise error
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", small_memory)
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(7))
    progress: list[tuple[int, int]] = []
    cam = cam_of(small, num_samples=7, on_progress=lambda *done: progress.append(done))
    assert tried == [(0, 7), (0, 3), (0, 1), *((sample, 1) for sample in range(1, 7))]
    assert progress == [(done, 7) for done in range(8)]
    assert_same(cam.maps, usual.maps)


def test_when_one_sample_does_not_fit_layers_are_computed_again(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    usual, forward, kept = cam_of(small), gradients.LayerGradients.forward, []

    def small_memory(self: Any, samples: range) -> Any:
        result, size = kept_bytes(lambda: forward(self, samples))
        kept.append(size)
        if size > 0.5 * kept[0]:
            raise MemoryError
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", small_memory)
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(1))
    assert_same(cam_of(small).maps, usual.maps)
    assert len(kept) == SAMPLES + 1
    assert max(kept[1:]) < 0.35 * kept[0]


def test_without_enough_memory_it_says_so(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda device: 1000)
    with pytest.raises(
        MemoryError, match="not enough memory for the gradients of one sample; a smaller picture"
    ):
        cam_of(small)

    def fail(*_: Any) -> None:
        raise MemoryError

    monkeypatch.undo()
    monkeypatch.setattr(gradients.LayerGradients, "forward", fail)
    with pytest.raises(MemoryError, match="not enough memory for the gradients of one sample"):
        cam_of(small)


def test_the_first_batch_fits_the_free_memory(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plans, plan = [], gradients._plan

    def noted(passes: Any) -> Any:
        plans.append(plan(passes))
        return plans[-1]

    monkeypatch.setattr(gradients, "_plan", noted)
    stop, rows = threading.Event(), len(ANSWER)
    stop.set()  # the plan is enough
    read = encode(*small, picture(), PROMPT).prompt_length + rows - 1
    whole = pass_bytes(small[0], read, rows, range(LAYERS - 1))
    sparing = pass_bytes(small[0], read, rows, range(LAYERS - 1), recompute=True)
    assert sparing < whole
    for free, expected in (
        (1000 * whole, gradients._Plan(1024 // read)),
        (3.5 * whole / memory.USABLE, gradients._Plan(3)),
        (1.01 * whole / memory.USABLE, gradients._Plan(1)),
        (0.99 * whole / memory.USABLE, gradients._Plan(1, recompute=True)),
        (1.01 * sparing, gradients._Plan(1, recompute=True)),
    ):
        monkeypatch.setattr(memory, "free_memory", lambda device, free=free: int(free))
        with pytest.raises(Stopped):
            cam_of(small, num_samples=20, stop=stop)
        assert plans[-1] == expected


def kept_bytes(run: Callable[[], Any]) -> tuple[Any, int]:
    """Return what run() returns, and the bytes that autograd keeps for the backward pass."""
    sizes: dict[int, int] = {}
    tensors: list[torch.Tensor] = []  # kept, so that no two of them have the same address

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            tensors.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        result = run()
    return result, sum(sizes.values())


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("lowest", [0, 2])
def test_the_estimate_covers_what_autograd_keeps(
    backend: str, dtype: torch.dtype, lowest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = small_model(intermediate_size=320)
    model.to(dtype).set_attn_implementation(backend)
    forward, kept = gradients.LayerGradients.forward, []

    def measured(self: Any, samples: range) -> Any:
        result, size = kept_bytes(lambda: forward(self, samples))
        kept.append((size, pass_bytes(model, self.read, len(self.rows), self.layers)))
        return result

    monkeypatch.setattr(gradients.LayerGradients, "forward", measured)
    cam = cam_of((model, processor), layers=[lowest, 3], num_samples=1, target=-1)
    assert cam.maps.any()
    size, estimate = kept[0]
    assert size < estimate < 3 * size


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


def wants_gradients(model: Any) -> bool:
    return any(weight.requires_grad for weight in model.parameters())


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


# --- A spike is drawn where it is ---


@pytest.mark.parametrize(("grid", "cell"), [((4, 7), (1, 5)), ((6, 3), (4, 0))])
def test_a_spike_is_drawn_inside_its_cell(
    small: tuple[Any, Any], grid: tuple[int, int], cell: tuple[int, int]
) -> None:
    """Features are planted at one visual token: the map, whatever its sign, and the drawing peak there."""
    h, w = grid
    encoded = encode(*small, picture(grid), PROMPT)
    position = encoded.image_positions[cell[0] * w + cell[1]]

    def plant(index: int, module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, position] *= 30
        return output

    with hooked([decoder_layers(small[0])[1]], plant):
        one, other = (
            cam_of(small, grid, layers=[1], noise_std=0, target=Contrast(*pair, at=0)).maps[0]
            for pair in (("x", "y"), ("y", "x"))
        )
    heat = one + other
    assert np.unravel_index(heat.argmax(), grid) == cell
    wide = Image.new("RGB", (500, 180), "white")
    drawn = np.asarray(visualization.overlay(wide, heat, Look("gray", 1.0)))[..., 0]
    rows, cols = np.nonzero(drawn == drawn.max())
    assert cell[0] * 180 / h <= rows.min() <= rows.max() < (cell[0] + 1) * 180 / h
    assert cell[1] * 500 / w <= cols.min() <= cols.max() < (cell[1] + 1) * 500 / w


# --- The record ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"grid": (7, 4)}, r"expected maps of shape \(layer, h, w\)=\(4, 7, 4\)"),
        ({"layers": (0, 1, 2)}, r"expected maps of shape \(layer, h, w\)=\(3, 4, 7\)"),
        ({"layers": (0, 1, 1, 2)}, "layers ascending, each once"),
        ({"layers": (0, 1, 2, 4)}, "layer 4 of 5 has no Grad-CAM"),
        ({"maps": np.full((4, 4, 7), np.nan, np.float32)}, "NaN or infinite"),
        ({"maps": np.full((4, 4, 7), -1, np.float32)}, "maps of 0 or above; got -1"),
        ({"scores": np.zeros((0,), np.float32)}, "a score for each sample"),
        ({"tokens": ("a",)}, "10 token ids, but 1 display texts"),
        ({"target_tokens": (10,)}, r"target tokens \(10,\) of an answer of 10"),
        ({"target_tokens": ()}, r"target tokens \(\) of an answer of 10"),
    ],
)
def test_a_record_refuses_parts_that_disagree(
    small: tuple[Any, Any], change: dict[str, Any], message: str
) -> None:
    cam = cam_of(small, num_samples=1)
    with pytest.raises(ValueError, match=message):
        replace(cam, **change)


def test_the_record_says_what_was_done(small: tuple[Any, Any]) -> None:
    cam = cam_of(small, target=[2, 3, 4], seed=5)
    assert (cam.target, cam.target_tokens, cam.text) == ("tokens 2, 3, 4 “red”", (2, 3, 4), "A red box.")
    assert (cam.prompt, cam.image_size, cam.model_name, cam.layer_count) == (PROMPT, (112, 196), "tiny", 5)
    assert json.loads(json.dumps(cam.settings)) == {
        "method": "grad-cam",
        "num_samples": SAMPLES,
        "noise_std": SIGMA,
        "seed": 5,
        "dtype": "float32",
        "attention_backend": "sdpa",
    }


def test_a_map_of_zeros_is_said(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gradients.LayerGradients,
        "at_patches",
        lambda self, features, gradient: torch.zeros(len(features), 28),
    )
    cam = cam_of(small, layers=[1, 2])
    assert cam.notes == tuple(
        f"Layer {layer}'s map is zero everywhere: no visual token's features raise the score there."
        for layer in (1, 2)
    )


# --- Under the seeds' names ---


def test_smooth_qwen_grad_cam(small: tuple[Any, Any]) -> None:
    layers, count = get_model_layers(small[0])
    assert (len(layers), count) == (LAYERS, LAYERS)
    grad_cam = SmoothQwenGradCAM(*small, target_layer=layers[-2], num_samples=SAMPLES, noise_std=SIGMA)
    superimposed, heatmap = grad_cam.generate_cam(picture(), PROMPT, answer=ANSWER)
    np.testing.assert_array_equal(heatmap, cam_of(small, layers=[3]).maps[0])
    np.testing.assert_array_equal(
        np.asarray(superimposed), np.asarray(visualization.overlay(picture(), heatmap))
    )
    quiet = SmoothQwenGradCAM(*small, target_layer=3, num_samples=9, noise_std=0.0)
    plain = cam_of(small, layers=[3], noise_std=0).maps[0]
    for found in (
        grad_cam.generate_cam(picture(), PROMPT, use_smooth=False, answer=ANSWER),
        quiet.generate_cam(picture(), PROMPT, answer=ANSWER),
    ):
        np.testing.assert_array_equal(found.heatmap, plain)
    assert SmoothQwenGradCAM(*small, 0).noise == Noise(10, 0.1, 0)
    for wrong, message in (
        (layers[-1], "layer 4 is the last one"),
        (-1, "layer 4 is the last one"),
        (5, "there is no layer 5: the model has 5 layers"),
        (torch.nn.Linear(2, 3), "is no decoder layer of this model"),
    ):
        with pytest.raises(ValueError, match=message):
            SmoothQwenGradCAM(*small, wrong)


MODES: list[tuple[str, Callable[..., Any], dict[str, Any], tuple[int, ...]]] = [
    ("single", single_layer_visualization, {"layer_idx": 2}, (2,)),
    ("single", single_layer_visualization, {}, (3,)),
    ("grid", create_layer_comparison_grid, {}, (0, 1, 2, 3)),
    ("grid", create_layer_comparison_grid, {"layer_range": "late"}, (3,)),
    ("grid", create_layer_comparison_grid, {"layer_range": [0, -2]}, (0, 3)),
    ("multi", visualize_multiple_layers, {"layer_indices": [2, 1]}, (1, 2)),
    ("comparative", create_comparative_analysis, {}, (0, 2, 3)),
]


@pytest.mark.parametrize(("mode", "call", "choice", "layers"), MODES, ids=lambda value: str(value)[:12])
def test_modes_write_their_files(
    small: tuple[Any, Any],
    tmp_path: Path,
    mode: str,
    call: Any,
    choice: dict[str, Any],
    layers: tuple[int, ...],
) -> None:
    folder = tmp_path / "new" / "folder"
    given: dict[str, Any] = {"num_samples": 2, "noise_std": 0.4, "answer": ANSWER, "target": 4, "seed": 1}
    results = call(*small, picture(), PROMPT, save_dir=folder, **choice, **given)
    expected = cam_of(small, layers=list(layers), **given)
    assert tuple(results) == layers
    drawn = {f"layer_{n}_{kind}.png" for n in layers for kind in ("heatmap", "superimposed")}
    drawn |= {"layer_grid.png"} if mode != "single" else set()
    assert {file.name for file in folder.iterdir()} == drawn | {"original.png", "maps.npz"}
    for layer in layers:
        superimposed, heatmap = results[layer]
        assert_same(heatmap, expected.layer_map(layer))
        np.testing.assert_array_equal(
            np.asarray(superimposed), np.asarray(visualization.overlay(picture(), heatmap))
        )
    with Image.open(folder / "original.png") as original:
        np.testing.assert_array_equal(np.asarray(original), np.asarray(picture()))
    with np.load(folder / "maps.npz", allow_pickle=False) as made:
        assert_same(made["maps"], expected.maps)
        assert made["layers"].tolist() == list(layers)
        assert (str(made["answer"]), str(made["target"])) == ("A red box.", "token 4 “d”")
        sizes: dict[str, int] = {"layer": len(layers), "h": 4, "w": 7, "sample": 2}
        for name, axes in json.loads(str(made["axes"])).items():
            for axis, size in zip(axes, made[name].shape, strict=True):
                assert sizes.setdefault(axis, size) == size, (name, axis)
        settings = json.loads(str(made["settings"]))
    assert (settings["gradcam"]["num_samples"], settings["gradcam"]["noise_std"]) == (2, 0.4)
    assert set(settings["drawing"]["files"]) == drawn | {"original.png", "maps.npz"}


def test_the_hottest_cell_is_red_under_jet_and_numbers_stand_beside_it(
    small: tuple[Any, Any], tmp_path: Path
) -> None:
    cam = cam_of(small, num_samples=1)
    told: list[tuple[int, int]] = []
    style = Style(Look("jet", 1.0), "shared")
    save_layers(cam, picture(), tmp_path, "grid", style, lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    layer = int(cam.maps.reshape(4, -1).max(axis=1).argmax())
    row, col = np.unravel_index(cam.maps[layer].argmax(), cam.grid)
    with Image.open(tmp_path / f"layer_{layer}_superimposed.png") as drawn:
        whole = np.asarray(drawn).astype(int)
    expected = visualization.visualize_attention_on_image(
        picture(), cam.maps[layer], "jet", 1.0, "overlay", title=" ", subtitle=" ", unit="", min_side=640
    )
    x0, y0, x1, y1 = expected.info["picture_box"]
    picked = whole[y0 + int((row + 0.5) * (y1 - y0) / 4), x0 + int((col + 0.5) * (x1 - x0) / 7)]
    assert picked[0] > 120
    assert picked[1:].max() < 20
    with np.load(tmp_path / "maps.npz") as made:
        drawing = json.loads(str(made["settings"]))["drawing"]
    assert (drawing["vmin"], drawing["vmax"]) == (float(cam.maps.min()), float(cam.maps.max()))


def test_another_picture_and_unknown_words_are_refused(small: tuple[Any, Any], tmp_path: Path) -> None:
    cam = cam_of(small, num_samples=1)
    with pytest.raises(ValueError, match="this is not the picture that was explained"):
        save_layers(cam, picture(seed=1), tmp_path)
    with pytest.raises(ValueError, match="mode must be one of single, grid, multi, comparative; got 'all'"):
        save_layers(cam, picture(), tmp_path, "all")
    with pytest.raises(ValueError, match="scale must be 'own' or 'shared'; got 'mine'"):
        Style(scale="mine")
    assert list(tmp_path.iterdir()) == []
