"""Every family: what is recorded of an answer, against transformers' own eager attention."""

from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import viewer
from attention_extractor import AttentionExtractor
from internals.attention_rows import check_full_attention
from methods import sink_patches, token_maps, top_heads
from model import decoder_config, decoder_layers, encode, family_of
from records.boxes import boxes_in
from records.plan import Plan
from records.selection import parsed_selection
from tests.families.kit import GRID, HYBRIDS, PROMPT, TOKENS, answer, attended, eager, picture, read
from tests.numerics import assert_same
from tests.tiny_families import HEADS, LAYERS, cell, tiny_family

pytestmark = pytest.mark.numeric


def test_rows_are_those_of_eager_attention(kind: str) -> None:
    capture, (_, encoded) = answer(kind), read(kind)
    assert (capture.layers, capture.layer_count) == (attended(kind), LAYERS)
    assert capture.grid == GRID
    assert capture.attention.shape == (TOKENS, len(attended(kind)), HEADS, GRID[0] * GRID[1])
    start = encoded.prompt_length - 1
    rows = eager(kind)[:, :, start : start + TOKENS].permute(2, 0, 1, 3)  # (token, layer, head, key)
    assert_same(capture.attention, rows[..., encoded.image_positions], terms=1)
    own = eager(kind)[:, :, encoded.prompt_positions].permute(2, 0, 1, 3)
    assert_same(capture.prompt_attention, own[..., encoded.image_positions], terms=1)
    text = rows.mean(2)[..., [*range(int(encoded.image_positions[0]))]]  # before the picture
    assert_same(capture.text_attention[..., : text.shape[-1]], text, terms=1)


def test_an_answer_says_in_which_unit_its_boxes_are(kind: str) -> None:
    unit = "pixels" if kind == "qwen2_5_vl" else "thousandths"
    settings = answer(kind).settings
    assert (settings["boxes"], settings["cell"]) == (unit, cell(kind))


def test_a_given_box_lies_where_its_family_means_it(kind: str) -> None:
    """A picture of 3.3 × 2 cells is seen in 3 × 2: each family's own numbers, one place."""
    side, (h, w) = cell(kind), (3, 2)
    small = picture(kind).resize((side * w, side * h + side // 3))
    told = (side * w, side * h) if kind == "qwen2_5_vl" else (1000, 1000)
    half = f'{{"bbox_2d": [0, {told[1] // 2}, {told[0]}, {told[1]}], "label": "low"}}'
    capture = AttentionExtractor(*tiny_family(kind)).read(small, PROMPT, half)
    (box,) = boxes_in(capture)
    assert capture.grid == (h, w)
    assert box.xyxy == pytest.approx((0, small.height / 2, small.width, small.height), abs=1)


def test_shares_sum_to_1(kind: str) -> None:
    capture = answer(kind)
    assert_same(capture.shares.sum(-1), np.ones(capture.shares.shape[:-1]))
    assert_same(capture.shares[..., 0], capture.attention.sum(-1))
    both = capture.attention.sum(-1).mean(2) + capture.text_attention.sum(-1)
    assert_same(both, np.ones(both.shape))


def test_the_answer_is_that_of_plain_generation(family: tuple[Any, Any], kind: str) -> None:
    capture = AttentionExtractor(*family).generate(picture(kind), PROMPT, max_new_tokens=TOKENS)
    inputs = encode(*family, picture(kind), PROMPT).inputs
    neutral = {"do_sample": False, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 0}
    plain = family[0].generate(**inputs, max_new_tokens=TOKENS, **neutral)
    assert capture.token_ids == tuple(plain[0, inputs["input_ids"].shape[1] :].tolist())
    layers: Any = decoder_layers(family[0])
    assert all(layers[layer].self_attn.config is decoder_config(family[0]) for layer in attended(kind))
    assert capture.settings.get("gated", False) == capture.gated == family_of(family[0]).gated


def test_what_it_records_is_known_before(family: tuple[Any, Any], kind: str) -> None:
    plans: list[Plan] = []
    extractor = AttentionExtractor(*family)
    for image in (picture(kind), picture(kind).resize((333, 71))):
        extractor.generate(image, PROMPT, max_new_tokens=1, on_plan=plans.append)
    assert plans == [extractor.plan(size, PROMPT, 1) for size in (picture(kind).size, (333, 71))]


def test_an_answer_from_elsewhere_has_the_same_attention(family: tuple[Any, Any], kind: str) -> None:
    """In a hybrid the layers without attention read it in chunks, where they wrote it token by token."""
    capture = answer(kind)
    extractor = AttentionExtractor(*family, store_on_cpu=True, float16=False)
    read_again = extractor.read(picture(kind), PROMPT, capture.token_ids)
    assert (read_again.token_ids, read_again.layers) == (capture.token_ids, attended(kind))
    assert (read_again.hybrid, read_again.gated) == (capture.hybrid, capture.gated)
    assert_same(read_again.attention, capture.attention, terms=1)
    assert_same(read_again.shares, capture.shares, terms=1)
    assert_same(read_again.logprobs, capture.logprobs, terms=10)


def test_a_cell_is_as_large_as_the_family_says(kind: str) -> None:
    """The pixels of one cell change the visual token there, of which the tower's first layer knows."""
    side, tokens = cell(kind), tiny_family(kind)[0].config
    encoded = encode(*tiny_family(kind), picture(kind), PROMPT)
    changed = np.asarray(picture(kind)).copy()
    changed[side * 3 : side * 4, side : side * 2] = 0  # row 3, column 1
    other = encode(*tiny_family(kind), Image.fromarray(changed), PROMPT)
    differs = (encoded.inputs["pixel_values"] != other.inputs["pixel_values"]).any(1)
    of_cell = differs.reshape(GRID[0] * GRID[1], -1).any(1).reshape(GRID)
    assert of_cell.nonzero().tolist() == [[3, 1]]
    assert (encoded.input_ids[encoded.image_positions] == tokens.image_token_id).all()


@pytest.mark.parametrize("kind", HYBRIDS)
def test_a_layer_without_attention_is_refused_with_those_that_have_it(family: tuple[Any, Any]) -> None:
    for layers in ([0], [1, 2], [-2]):
        with pytest.raises(ValueError, match=r"^layer [02] of this model has no attention; choose .* 1, 3$"):
            AttentionExtractor(*family, layers=layers)
    assert AttentionExtractor(*family, layers=[-1, 1, 3]).layers == (1, 3)
    with pytest.raises(ValueError, match="there is no layer 4: the model has 4 layers"):
        AttentionExtractor(*family, layers=[4])


@pytest.mark.parametrize("kind", HYBRIDS)
def test_what_reads_all_layers_takes_those_that_were_recorded(kind: str) -> None:
    capture = answer(kind)
    found = token_maps("attention", capture)
    assert_same(found.maps.reshape(TOKENS, -1), capture.attention.mean((1, 2)))
    assert {layer for layer, _ in top_heads(capture, 2 * HEADS)} == {1, 3}
    assert isinstance(sink_patches(capture), tuple)
    assert parsed_selection(capture, layers="0-3").layers == (1, 3)
    with pytest.raises(ValueError, match="None of these layers was recorded; recorded: 1,3"):
        parsed_selection(capture, layers="0,2")
    heads = viewer.heads_payload(capture, [2])
    assert heads["layers"] == [1, 3]
    assert np.shape(heads["shares"]) == (1 + 2, 1 + HEADS)
    shown = viewer.payload(capture, picture(kind), found)
    assert (shown["layers"], shown["settings"]["layers"]) == ([1, 3], [1, 3])
    assert np.shape(shown["answer"]["layer_shares"]) == (TOKENS, 2, 3)


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("sliding_window", 4096, "uses sliding-window attention"), ("indexer", torch.nn.Identity(), "indexer")],
)
def test_attention_that_leaves_keys_out_is_refused(name: str, value: Any, reason: str) -> None:
    module = torch.nn.Module()
    check_full_attention([module])
    setattr(module, name, value)
    with pytest.raises(ValueError, match=f"{reason}.*cannot be recorded exactly; choose a model"):
        check_full_attention([torch.nn.Module(), module])
