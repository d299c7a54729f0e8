"""Every family: several pictures in one question, against transformers' own processor and attention."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from model import PromptError, encode
from records.entries import FORMAT
from records.pictures import hashes_of, image_hash
from records.store import Store
from tests.families.kit import attended
from tests.families.several import AFTER, BETWEEN, GRIDS, TOKENS, answer, eager, pictures
from tests.numerics import assert_same
from tests.tiny_families import HEADS, tiny_family

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("prompt", [AFTER, BETWEEN])
def test_rows_are_those_of_eager_attention(kind: str, prompt: str) -> None:
    capture, (truth, encoded) = answer(kind, prompt), eager(kind, prompt)
    image_token = tiny_family(kind)[0].config.image_token_id
    at = (encoded.input_ids == image_token).nonzero()[:, 0].tolist()
    assert len(at) == sum(h * w for h, w in GRIDS)
    assert max(np.diff(at)) > 1  # not one run
    start = encoded.prompt_length - 1
    rows = truth[:, :, start : start + TOKENS].permute(2, 0, 1, 3)  # (token, layer, head, key)
    assert_same(capture.attention, rows[..., at], terms=1)
    own = truth[:, :, encoded.prompt_positions].permute(2, 0, 1, 3)
    assert_same(capture.prompt_attention, own[..., at], terms=1)
    rest = [place for place in range(encoded.prompt_length) if place not in set(at)]
    assert_same(capture.text_attention[..., : len(rest)], rows.mean(2)[..., rest], terms=1)
    said = rows[..., encoded.prompt_length :].sum(-1)
    expected = torch.stack([rows[..., at].sum(-1), rows[..., rest].sum(-1), said], -1)
    assert_same(capture.shares, expected, terms=len(at))


@pytest.mark.parametrize("prompt", [AFTER, BETWEEN])
def test_each_pictures_map_is_its_own_part_of_the_row(kind: str, prompt: str) -> None:
    capture, (truth, encoded) = answer(kind, prompt), eager(kind, prompt)
    processor = AttentionProcessor(capture)
    assert [visual.grid for visual in capture.visuals] == [(1, *grid) for grid in GRIDS]
    assert [visual.hash for visual in capture.visuals] == [image_hash(one) for one in pictures(kind)]
    at = iter((encoded.input_ids == tiny_family(kind)[0].config.image_token_id).nonzero()[:, 0].tolist())
    row = truth[:, :, encoded.prompt_length + 1].mean((0, 1))  # of token 2, over layers and heads
    shares = []
    for number, (h, w) in enumerate(GRIDS):
        expected = row[[next(at) for _ in range(h * w)]].reshape(h, w)
        found = processor.get_attention_heatmap_for_token(2, visual=number)
        assert_same(found, expected, terms=len(attended(kind)) * HEADS)
        shares.append(float(expected.sum()))
    assert_same(processor.visual_shares(2), np.array(shares), terms=64)
    assert_same(processor.visual_shares(2).sum(), processor.shares(2)[0], terms=64)
    assert_same(
        processor.get_attention_heatmap_for_token(2), processor.get_attention_heatmap_for_token(2, visual=0)
    )
    with pytest.raises(ValueError, match="picture 3"):
        processor.get_attention_heatmap_for_token(2, visual=3)


def test_the_prompt_is_what_the_processor_makes_of_the_chat(kind: str) -> None:
    model, processor = tiny_family(kind)
    say: Any = lambda text: {"type": "text", "text": text}  # noqa: E731
    show = {"type": "image"}
    chats = {
        AFTER: [show, show, show, say(AFTER)],
        BETWEEN: [say("Is "), show, say("redder than "), show, say(", or "), show, say("?")],
    }
    for prompt, content in chats.items():
        turns = [{"role": "user", "content": content}]
        text = processor.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        expected = processor(text=[text], images=list(pictures(kind)), return_tensors="pt")
        encoded = encode(model, processor, pictures(kind), prompt)
        assert set(encoded.inputs) == set(expected)
        for name, value in expected.items():
            assert torch.equal(encoded.inputs[name], value), name
        asked = processor.tokenizer.decode(encoded.input_ids[encoded.prompt_positions])
        assert asked == prompt.replace("<image>", "")


def test_the_answer_is_that_of_plain_generation(family: tuple[Any, Any], kind: str) -> None:
    capture = AttentionExtractor(*family).generate(
        list(pictures(kind)), BETWEEN, max_new_tokens=TOKENS, generation="greedy"
    )
    inputs = encode(*family, pictures(kind), BETWEEN).inputs
    neutral = {"do_sample": False, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 0}
    expected = family[0].generate(**inputs, max_new_tokens=TOKENS, **neutral)
    assert capture.token_ids == tuple(expected[0, inputs["input_ids"].shape[1] :].tolist())


@pytest.mark.parametrize("prompt", [AFTER, BETWEEN])
def test_read_again_and_planned(family: tuple[Any, Any], kind: str, prompt: str) -> None:
    capture = answer(kind, prompt)
    extractor = AttentionExtractor(*family, store_on_cpu=True, float16=False)
    again = extractor.read(pictures(kind), prompt, capture.token_ids)
    assert again.visuals == capture.visuals
    assert_same(again.attention, capture.attention, terms=1)
    assert_same(again.logprobs, capture.logprobs, terms=10)
    plans: list[Any] = []
    extractor.generate(pictures(kind), prompt, max_new_tokens=1, on_plan=plans.append)
    assert plans == [extractor.plan([one.size for one in pictures(kind)], prompt, 1)]


def test_order_and_number_count(family: tuple[Any, Any], kind: str) -> None:
    one, two, _ = pictures(kind)
    extractor = AttentionExtractor(*family, float16=False)
    ways = [extractor.generate(given, AFTER, max_new_tokens=1) for given in ([one, two], [two, one], [one])]
    assert [[visual.hash for visual in way.visuals] for way in ways] == [
        [image_hash(one), image_hash(two)],
        [image_hash(two), image_hash(one)],
        [image_hash(one)],
    ]
    alone = extractor.generate(one, AFTER, max_new_tokens=1)
    assert_same(alone.attention, ways[2].attention, terms=1)
    assert (alone.grid, alone.picture is not None) == (GRIDS[0], True)
    assert ways[0]._repr_html_() is None
    assert ways[2]._repr_html_() is not None
    for read in (lambda: ways[0].grid, lambda: ways[0].picture, lambda: ways[0].image_hash):
        with pytest.raises(ValueError, match="about 2 pictures"):
            read()


EACH = "it has to say so for each of them, in their order, or for none."


@pytest.mark.parametrize(
    ("prompt", "line"),
    [
        ("Is <image> red?", f"The prompt says <image> once and is about 3 pictures: {EACH}"),
        ("<image><image>?", f"The prompt says <image> twice and is about 3 pictures: {EACH}"),
        (
            "<image><video><image>?",
            f"The prompt says <image> twice and is about 3 pictures: {EACH}",
        ),
        ("<image> <image>\n<image>", "The prompt is empty."),
    ],
)
def test_another_number_of_placeholders_is_refused(kind: str, prompt: str, line: str) -> None:
    with pytest.raises(PromptError) as caught:
        encode(*tiny_family(kind), pictures(kind), prompt)
    assert str(caught.value) == line


def test_video_is_a_word_like_any_where_there_is_no_clip(kind: str) -> None:
    encoded = encode(*tiny_family(kind), pictures(kind)[0], "Is <video> a tag?")
    asked = tiny_family(kind)[1].tokenizer.decode(encoded.input_ids[encoded.prompt_positions])
    assert asked == "Is <video> a tag?"


def test_it_is_kept_and_comes_back_whole(kind: str, tmp_path: Path) -> None:
    capture, store = answer(kind, BETWEEN), Store(tmp_path)
    entry = store.save(capture, pictures(kind))
    assert entry is not None
    kept = store.open(entry)
    assert kept.capture.visuals == capture.visuals
    assert hashes_of(kept.capture.pictures) == hashes_of(pictures(kind))
    assert torch.equal(kept.capture.attention, capture.attention)
    with pytest.raises(ValueError, match="about 3 pictures"):
        _ = kept.image
    with pytest.raises(ValueError, match="not the one that the capture was made from"):
        store.save(capture, pictures(kind)[::-1])
    facts = json.loads((tmp_path / entry / "capture.json").read_text("utf-8"))
    assert (facts["format"], len(facts["capture"]["visuals"])) == (FORMAT, 3)
