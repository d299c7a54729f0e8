"""Every family: a closer look, against pictures cut and asked about by hand, and eager attention."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from closer_look import look_closer
from methods import token_maps
from model import encode
from records.capture import Capture
from records.closer import closer_question
from records.crops import Crop, detail_gain
from records.store import Store
from records.window import window_of
from tests.families.kit import attended, forced, picture, plain
from tests.families.moving import clip, leave_frames_small
from tests.numerics import assert_same
from tests.tiny_families import HEADS, cell, tiny_family

pytestmark = pytest.mark.numeric

TOKENS, PROMPT = 5, "Is <image> red?"
HOW: dict[str, Any] = {"max_new_tokens": TOKENS, "temperature": 2.0, "top_k": 50, "seed": 3}


def extractor_of(kind: str) -> AttentionExtractor:
    return AttentionExtractor(*tiny_family(kind), store_on_cpu=True, float16=False)


@lru_cache
def large(kind: str) -> np.ndarray:
    """Return a picture (H, W, rgb) of 12 x 20 visual tokens, of which the model sees 64 at most."""
    side = cell(kind)
    return np.random.default_rng(4).integers(0, 256, (12 * side, 20 * side, 3), dtype=np.uint8)


def box_of(kind: str) -> tuple[int, int, int, int]:
    """Return a box of 3 x 4 visual tokens that are seen in all their pixels."""
    side = cell(kind)
    return 37, 11, 37 + 4 * side, 11 + 3 * side


def by_hand(kind: str) -> list[Image.Image]:
    left, top, right, bottom = box_of(kind)
    return [Image.fromarray(large(kind)), Image.fromarray(large(kind)[top:bottom, left:right])]


@lru_cache
def answers(kind: str) -> tuple[Capture, Capture]:
    """Return an answer about the whole picture, and the closer look."""
    first = extractor_of(kind).generate(Image.fromarray(large(kind)), PROMPT, **HOW)
    return first, look_closer(extractor_of(kind), first, box_of(kind))


def test_it_is_the_answer_about_whole_and_crop(kind: str) -> None:
    _, closer = answers(kind)
    expected = extractor_of(kind).generate(by_hand(kind), "Is <image><image> red?", **HOW)
    assert closer.crop == Crop(1, 0, box_of(kind))
    assert (closer.token_ids, closer.visuals) == (expected.token_ids, expected.visuals)
    assert {**expected.settings, "crop": closer.settings["crop"]} == closer.settings
    assert_same(closer.attention, expected.attention, terms=1)


def test_rows_are_those_of_eager_attention(kind: str) -> None:
    _, closer = answers(kind)
    encoded = encode(*tiny_family(kind), by_hand(kind), "Is <image><image> red?")
    with torch.no_grad():
        inputs = forced(encoded.inputs, closer)
        truth = torch.cat(plain(kind)(**inputs, output_attentions=True).attentions)
    at = (encoded.input_ids == tiny_family(kind)[0].config.image_token_id).nonzero()[:, 0]
    start = encoded.prompt_length - 1
    rows = truth[:, :, start : start + TOKENS].permute(2, 0, 1, 3)  # (token, layer, head, key)
    assert_same(closer.attention, rows[..., at], terms=1)
    own = rows[2][..., at[-12:]].mean((0, 1)).reshape(3, 4)  # the crop's 3 x 4 visual tokens are the last
    found = AttentionProcessor(closer).get_attention_heatmap_for_token(2, visual=1)
    assert_same(found, own, terms=len(attended(kind)) * HEADS)
    maps = token_maps("attention", closer)
    assert_same(maps.token_map(2, 1), own, terms=len(attended(kind)) * HEADS)


def test_the_gain_is_that_of_the_grids_that_the_processor_makes(kind: str) -> None:
    _, closer = answers(kind)
    seen = tiny_family(kind)[1].image_processor(images=by_hand(kind), return_tensors="pt")
    merged = seen["image_grid_thw"][:, 1:].numpy() * cell(kind) / 2  # pixels of the model's
    sizes = np.array([large(kind).shape[:2], (3 * cell(kind), 4 * cell(kind))])
    seen_of_each = np.sqrt((merged / sizes).prod(axis=1))
    assert seen_of_each[0] < 0.6
    assert np.isclose(seen_of_each[1], 1)
    gain = detail_gain(closer.visuals[0], closer.visuals[1], closer.settings["cell"])
    assert np.isclose(gain, seen_of_each[1] / seen_of_each[0])


def test_the_same_conversation_is_gone_on_with(family: tuple[Any, Any], kind: str) -> None:
    first = extractor_of(kind).generate(picture(kind), "What?", 3, 2.0, seed=1, system="Brief.")
    whole = Image.fromarray(large(kind))
    second = extractor_of(kind).generate(whole, "And <image>?", history=[first], **HOW)
    closer = look_closer(extractor_of(kind), second, box_of(kind), visual=1)
    expected = extractor_of(kind).generate(by_hand(kind), "And <image><image>?", history=[first], **HOW)
    assert (closer.token_ids, closer.history, closer.system) == (
        expected.token_ids,
        expected.history,
        "Brief.",
    )
    assert closer.crop == Crop(2, 1, box_of(kind))
    assert_same(closer.attention, expected.attention, terms=1)


def test_what_is_said_anew_counts(family: tuple[Any, Any], kind: str) -> None:
    first, _ = answers(kind)
    closer = look_closer(extractor_of(kind), first, box_of(kind), prompt="Why?", max_new_tokens=2, seed=8)
    assert (closer.prompt, len(closer.token_ids), closer.settings["seed"]) == ("Why?", 2, 8)
    assert closer.settings["top_k"] == 50


def test_it_is_kept_with_its_crop(kind: str, tmp_path: Path) -> None:
    _, closer = answers(kind)
    entry = Store(tmp_path).save(closer, list(closer.pictures))
    assert entry is not None
    kept = Store(tmp_path).open(entry).capture
    assert (kept.crop, kept.settings) == (closer.crop, closer.settings)
    again = closer_question(kept, window_of(np.eye(3, 4), kept.visuals[1].size), visual=1)
    assert again.crop.of == 0


def test_a_clip_and_another_models_answer_are_one_line(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    first, _ = answers(kind)
    other = AttentionExtractor(*tiny_family("qwen3_vl" if kind == "qwen2_vl" else "qwen2_vl"))
    with pytest.raises(ValueError, match=f"was given by tiny {kind}, not by tiny"):
        look_closer(other, first, box_of(kind))
    leave_frames_small(kind, monkeypatch)
    moving = extractor_of(kind).generate(clip(kind), "What moves?", max_new_tokens=1)
    with pytest.raises(ValueError, match="a closer look is at a picture, and this is a clip"):
        look_closer(extractor_of(kind), moving, (0, 0, 40, 40))
