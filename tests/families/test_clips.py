"""Every family: clips in a question, alone and among pictures, against transformers' eager attention."""

import copy
import json
from collections.abc import Iterable
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from evaluation.removal import check_map
from methods import METHODS, token_maps
from model import Encoded, PromptError, encode
from records.capture import Capture
from records.map_check import MapCheck
from records.videos import Video
from tests.families.kit import forced, picture, plain
from tests.families.moving import GRID, STEPS, clip, leave_frames_small
from tests.numerics import assert_same
from tests.tiny_families import cell, tiny_family

pytestmark = pytest.mark.numeric
TOKENS = 4
ALONE, MIXED = "What moves?", "Is <image> in <video> or <image>?"


@pytest.fixture(autouse=True)
def _small(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    leave_frames_small(kind, monkeypatch)


@lru_cache
def shown(kind: str, prompt: str) -> Any:
    return clip(kind) if prompt == ALONE else (picture(kind), clip(kind), picture(kind, 1))


@lru_cache
def answer(kind: str, prompt: str) -> Capture:
    extractor = AttentionExtractor(*tiny_family(kind), store_on_cpu=True, float16=False)
    return extractor.generate(shown(kind, prompt), prompt, max_new_tokens=TOKENS, temperature=2.0, seed=1)


@lru_cache
def eager(kind: str, prompt: str) -> tuple[torch.Tensor, Encoded]:
    encoded = encode(*tiny_family(kind), shown(kind, prompt), prompt)
    inputs = forced(encoded.inputs, answer(kind, prompt))
    with torch.no_grad():
        return torch.cat(plain(kind)(**inputs, output_attentions=True).attentions), encoded


@pytest.mark.parametrize("prompt", [ALONE, MIXED])
def test_rows_are_those_of_eager_attention(kind: str, prompt: str) -> None:
    capture, (truth, encoded) = answer(kind, prompt), eager(kind, prompt)
    config = tiny_family(kind)[0].config
    ids = encoded.input_ids.tolist()
    at = [place for place, token in enumerate(ids) if token in (config.image_token_id, config.video_token_id)]
    start = encoded.prompt_length - 1
    rows = truth[:, :, start : start + TOKENS].permute(2, 0, 1, 3)  # (token, layer, head, key)
    assert_same(capture.attention, rows[..., at], terms=1)
    rest = [place for place in range(encoded.prompt_length) if place not in set(at)]
    assert_same(capture.text_attention[..., : len(rest)], rows.mean(2)[..., rest], terms=1)
    assert_same(capture.shares[..., 0], rows[..., at].sum(-1), terms=len(at))
    asked = tiny_family(kind)[1].tokenizer.decode(encoded.input_ids[encoded.prompt_positions])
    assert asked == prompt.replace("<image>", "").replace("<video>", "")
    assert capture.prompt == prompt


@pytest.mark.parametrize(("prompt", "visual"), [(ALONE, 0), (MIXED, 1)])
def test_each_step_has_its_map_and_its_time(kind: str, prompt: str, visual: int) -> None:
    capture, (truth, encoded) = answer(kind, prompt), eager(kind, prompt)
    one = capture.visuals[visual]
    assert (one.kind, one.name, one.grid) == ("video", "clip.mp4", (STEPS, *GRID))
    assert one.times == (0.25, 1.25, 2.0)  # the means of 0 and 0.5, 1 and 1.5, 2 and 2
    processor = AttentionProcessor(capture)
    video = tiny_family(kind)[0].config.video_token_id
    at = [place for place, token in enumerate(encoded.input_ids.tolist()) if token == video]
    row = truth[:, :, encoded.prompt_length][..., at].mean((0, 1))  # of token 1
    expected = row.reshape(STEPS, *GRID)
    assert_same(processor.get_attention_heatmap_for_token(1, visual=visual), expected, terms=64)
    for step in range(STEPS):
        found = processor.get_attention_heatmap_for_token(1, visual=visual, frame=step)
        assert_same(found, expected[step], terms=64)
    with pytest.raises(ValueError, match="frame 3"):
        processor.get_attention_heatmap_for_token(1, visual=visual, frame=3)


@pytest.mark.parametrize("prompt", [ALONE, MIXED])
def test_it_is_plain_generations_answer_and_is_planned_and_read_again(
    family: tuple[Any, Any], kind: str, prompt: str
) -> None:
    extractor = AttentionExtractor(*family, store_on_cpu=True, float16=False)
    plans: list[Any] = []
    capture = extractor.generate(
        shown(kind, prompt), prompt, max_new_tokens=TOKENS, generation="greedy", on_plan=plans.append
    )
    inputs = encode(*family, shown(kind, prompt), prompt).inputs
    neutral = {"do_sample": False, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 0}
    expected = family[0].generate(**inputs, max_new_tokens=TOKENS, **neutral)
    assert capture.token_ids == tuple(expected[0, inputs["input_ids"].shape[1] :].tolist())
    again = extractor.read(shown(kind, prompt), prompt, capture.token_ids)
    assert_same(again.attention, capture.attention, terms=1)
    sizes = [
        one if isinstance(one, Video) else one.size
        for one in (shown(kind, MIXED) if prompt == MIXED else [clip(kind)])
    ]
    assert plans == [extractor.plan(sizes, prompt, TOKENS)]


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_map_of_each_step(family: tuple[Any, Any], kind: str, method: str) -> None:
    capture = answer(kind, MIXED)
    options: Any = {"smooth-grad-cam": {"num_samples": 1}, "occlusion": {"size": 2}}.get(method, {})
    if METHODS[method].refusal(capture):
        return  # which other tests are about
    model, processor = family
    found = token_maps(
        method, capture, model=model, processor=processor, image=shown(kind, MIXED), tokens=[1, 2], **options
    )
    assert found.token_map(1, visual=1).shape == (STEPS, *GRID)
    assert found.token_map(1, visual=1, frame=2).shape == GRID
    assert found.maps.shape == (2, capture.patch_count)
    assert all(one.any() for one in found.maps)


def test_what_cannot_be_is_one_line(family: tuple[Any, Any], kind: str) -> None:
    with pytest.raises(PromptError, match="says <video>, <image> and is about one picture and one clip:"):
        encode(*family, [picture(kind), clip(kind)], "<video> or <image>?")
    capture = answer(kind, ALONE)
    for read in (lambda: capture.grid, lambda: capture.picture):
        with pytest.raises(ValueError, match="about a clip"):
            read()
    heat = token_maps("attention", capture).token_map(1)
    with pytest.raises(ValueError, match=r"expected a map of finite values \(t, h, w\)=\(3, 2, 3\)"):
        check_map(*family, clip(kind), capture, 1, heat[0])
    with pytest.raises(ValueError, match="No part of a clip can be hidden"):
        token_maps("attention", capture).hottest_visual(1, clips=False)


def blurred(frame: np.ndarray, sigma: int) -> np.ndarray:
    """Return a frame (h, w, rgb) under a Gaussian blur, line by line; its border goes on beyond it."""
    reach = 3 * sigma
    weights = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (2 * sigma**2))
    for axis in (0, 1):
        wide = np.pad(frame, [(reach, reach) if axis == each else (0, 0) for each in range(3)], mode="edge")
        frame = np.apply_along_axis(np.convolve, axis, wide, weights / weights.sum(), "valid")
    return frame


def patches_by_hand(frames: np.ndarray, side: int) -> np.ndarray:
    """Return frames (frame, h, w, rgb) as `pixel_values_videos` has them (patch, value), piece by piece."""
    found = []
    for step, row, col, below, beside in product(range(STEPS), *map(range, GRID), range(2), range(2)):
        top, left = side * (2 * row + below), side * (2 * col + beside)
        piece = frames[2 * step : 2 * step + 2, top : top + side, left : left + side]  # (frame, y, x, rgb)
        found.append(piece.transpose(3, 0, 1, 2).reshape(-1))
    return np.stack(found)


@pytest.mark.parametrize(("prompt", "visual"), [(ALONE, 0), (MIXED, 1)])
def test_a_clips_map_is_tested_by_hiding_places_in_two_frames(
    family: tuple[Any, Any], kind: str, prompt: str, visual: int
) -> None:
    capture, side = answer(kind, prompt), cell(kind)
    heat = token_maps("attention", capture).token_map(1, visual)
    check = check_map(
        *family, shown(kind, prompt), capture, 1, heat, visual=visual, patches=[1, 4], repeats=2, seed=3
    )
    assert (check.patches, check.visual) == (heat.size, visual) == (STEPS * 6, visual)
    hottest = sorted(range(heat.size), key=lambda place: -heat.reshape(-1)[place])
    assert check.hottest_cells.tolist() == hottest[:4]
    again = MapCheck.from_dict(json.loads(json.dumps(check.as_dict())))
    np.testing.assert_array_equal(again.random_cells, check.random_cells)

    frames = clip(kind).frames[[0, 1, 2, 3, 4, 4]] / 127.5 - 1  # (frame, h, w, rgb); the last counts twice
    blurs = np.stack([blurred(frame, side) for frame in frames])
    encoded = encode(*family, shown(kind, prompt), prompt)
    inputs = forced(encoded.inputs, capture)
    assert_same(torch.from_numpy(patches_by_hand(frames, side // 2)).float(), inputs["pixel_values_videos"])

    def probability(cells: Iterable[int]) -> float:
        hidden = frames.copy()
        for place in cells:
            step, row, col = np.unravel_index(place, (STEPS, *GRID))
            where = np.s_[
                2 * step : 2 * step + 2, side * row : side * (row + 1), side * col : side * (col + 1)
            ]
            hidden[where] = blurs[where]
        pixels = torch.from_numpy(patches_by_hand(hidden, side // 2)).float()
        with torch.no_grad():
            logits = plain(kind)(**{**inputs, "pixel_values_videos": pixels}).logits
        logprobs = torch.log_softmax(logits[0, encoded.prompt_length], -1)  # which predicts token 1
        return float(logprobs[capture.token_ids[1]].exp())

    orders = [check.hottest_cells, *check.random_cells]
    for order, values in zip(orders, [check.hottest, *check.random], strict=True):
        for count, value in zip((0, 1, 4), values, strict=True):
            assert value == pytest.approx(probability(order[:count].tolist()), rel=2e-3)


def test_a_map_is_tested_where_most_of_it_is(kind: str) -> None:
    capture = answer(kind, MIXED)
    found = token_maps("attention", capture)
    for token in range(TOKENS):
        sums = [capture.attention[token][..., one.patches].float().sum() for one in capture.visuals]
        assert found.hottest_visual(token) == int(np.argmax(sums))
        assert found.hottest_visual(token, clips=False) == (0 if sums[0] > sums[2] else 2)


def test_a_template_without_a_place_for_clips_says_so_in_one_line(kind: str) -> None:
    model, processor = tiny_family(kind)
    without = copy.copy(processor)
    without.chat_template = processor.chat_template.replace("<|video_pad|>", "")
    with pytest.raises(PromptError, match="has no place for a clip; ask about pictures") as refused:
        encode(model, without, clip(kind), ALONE)
    assert len(str(refused.value).splitlines()) == 1
