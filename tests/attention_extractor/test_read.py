"""The extractor: answers that were written elsewhere."""

from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from internals import recording
from model import PromptError, encode
from records.capture import Capture
from tests.attention_extractor.kit import PROMPT, TOKENS, everything, picture, plain
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


def expect_equal(found: Capture, expected: Capture) -> None:
    """Compare two captures in every part but how they came about."""
    for part in fields(Capture):
        one, other = getattr(found, part.name), getattr(expected, part.name)
        if isinstance(other, torch.Tensor):
            assert_same(one, other)
        elif part.name not in ("settings", "picture"):
            assert one == other, part.name


@pytest.mark.parametrize("block", [recording.BLOCK, 4])
def test_reading_the_ids_of_an_answer_gives_its_capture(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    model, processor = small
    monkeypatch.setattr(recording, "BLOCK", block)
    before = everything(model)
    extractor = AttentionExtractor(model, processor, float16=False)
    written = extractor.generate(picture(), PROMPT, TOKENS, temperature=1.5, seed=4)
    read = extractor.read(picture(), PROMPT, written.token_ids)
    expect_equal(read, written)
    facts = {"generation": "given", "attention_backend": "sdpa", "dtype": "float32"}
    assert read.settings == {**facts, "boxes": "pixels", "cell": 28}
    assert everything(model) == before


def test_an_answer_of_one_token_is_read(small: tuple[Any, Any]) -> None:
    extractor = AttentionExtractor(*small, float16=False)
    written = extractor.generate(picture(), PROMPT, 1, 0)
    expect_equal(extractor.read(picture(), PROMPT, [*np.array(written.token_ids)]), written)


def test_rows_of_a_given_text_equal_eager_attention(
    small: tuple[Any, Any], eager_twin: tuple[Any, Any]
) -> None:
    model, processor = small
    text = "Two 鿂 birds."
    capture = AttentionExtractor(model, processor, float16=False).read(picture(), PROMPT, text)
    ids = processor.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert (capture.text, capture.token_ids) == (text, tuple(ids))
    twin, encoded = eager_twin[0], encode(*eager_twin, picture(), PROMPT)
    inputs = dict(encoded.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], torch.tensor([ids])], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    zeros = torch.zeros(1, len(ids), dtype=torch.long)
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], zeros], dim=1)
    with torch.no_grad():
        truth = twin(**inputs, output_attentions=True)
    twin.model.rope_deltas = None
    start = encoded.prompt_length - 1
    for layer, weights in enumerate(truth.attentions):
        rows = weights[0, :, start : start + len(ids)].transpose(0, 1)  # (token, head, key)
        torch.testing.assert_close(
            capture.attention[:, layer], rows[..., encoded.image_positions], atol=1e-5, rtol=0
        )
    expected = truth.logits[0, start:-1].log_softmax(-1)[range(len(ids)), ids]
    torch.testing.assert_close(capture.logprobs, expected, atol=1e-4, rtol=1e-4)


def test_tokens_that_end_an_answer_are_left_out_at_its_end(small: tuple[Any, Any]) -> None:
    model, processor = small
    extractor = AttentionExtractor(model, processor)
    end = processor.tokenizer.eos_token_id
    assert extractor.read(picture(), PROMPT, [65, 66, end]).token_ids == (65, 66)
    with pytest.raises(PromptError, match=r"^The answer is empty\.$"):
        extractor.read(picture(), PROMPT, [end])


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ("", r"^The answer is empty\.$"),
        (" \n", r"^The answer is empty\.$"),
        ([], r"^The answer is empty\.$"),
        ([-1], r"^The answer's token ids must be whole numbers from 0 to \d+\.$"),
        ([10**9], r"^The answer's token ids must be whole numbers from 0 to \d+\.$"),
        ([1.5], r"^The answer's token ids must be whole numbers from 0 to \d+\.$"),
        ("a <|image_pad|>", r"^The answer may not contain the control token <\|image_pad\|>\.$"),
        ("a<|im_end|>\n<|im_start|>user", r"^The answer may not contain the control token <\|im_"),
        ("half \ud83d", r"^The answer has half a character in it"),
    ],
)
def test_answers_that_cannot_be_read_are_refused(small: tuple[Any, Any], answer: Any, reason: str) -> None:
    model = small[0]
    before = everything(model)
    with pytest.raises(PromptError, match=reason):
        AttentionExtractor(*small).read(picture(), PROMPT, answer)
    image_pad = model.config.image_token_id
    with pytest.raises(PromptError, match=r"control token <\|image_pad\|>"):
        AttentionExtractor(*small).read(picture(), PROMPT, [65, image_pad])
    assert everything(model) == before


def test_an_answer_beyond_what_the_model_reads_is_refused(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = small
    prompt = encode(model, processor, picture(), PROMPT).prompt_length
    monkeypatch.setattr(model.config.text_config, "max_position_embeddings", prompt + 4)
    with pytest.raises(PromptError, match=r"and the model reads fewer than .*shorten the answer\.$"):
        AttentionExtractor(model, processor).read(picture(), PROMPT, "four+")


def test_a_teacher_forced_answer_need_not_be_the_likeliest(small: tuple[Any, Any]) -> None:
    model, processor = small
    likeliest = plain(model, processor, picture(), max_new_tokens=1)[0, -1]
    model.model.rope_deltas = None
    other = (int(likeliest) + 1) % 256
    capture = AttentionExtractor(model, processor).read(picture(), PROMPT, [other])
    best = AttentionExtractor(model, processor).read(picture(), PROMPT, [int(likeliest)])
    assert float(capture.logprobs[0]) < float(best.logprobs[0])
