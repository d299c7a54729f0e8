"""Methods: token activation maps and occlusion against the definitions."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from internals import teacher_forcing
from internals.hooks import hooked
from internals.teacher_forcing import TeacherForced
from methods.activation import rank_gaussian
from methods.occlusion import covering
from model import decoder_layers, encode
from tests.methods.kit import (
    CELL,
    LANDSCAPE,
    LOGITS,
    MEAN,
    PORTRAIT,
    PROMPT,
    answer,
    assert_each_same,
    logprobs_of,
    maps_of,
    picture,
    plain,
    read,
    slow_filter,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


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
