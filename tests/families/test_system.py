"""Every family: a system turn before the question, against the chat template itself and eager attention."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from attention_extractor import AttentionExtractor
from evaluation.without_picture import logprobs_without
from methods import token_maps
from methods.grad_cam import smooth_grad_cam
from model import PromptError, encode
from records.capture import Capture
from records.generation import generation_text
from records.store import Store
from tests.families.kit import PROMPT, forced, picture, plain
from tests.numerics import assert_same
from tests.tiny_families import tiny_family

pytestmark = pytest.mark.numeric
SYSTEM, TOKENS = "Answer as a <b>poet</b>, briefly.", 4


def chat(kind: str, system: str | None, with_picture: bool = True) -> str:
    """Return the chat as the template itself writes it."""
    content: list[Any] = [{"type": "text", "text": PROMPT}]
    turns: list[Any] = [{"role": "user", "content": [{"type": "image"}] * with_picture + content}]
    if system is not None:
        turns.insert(0, {"role": "system", "content": [{"type": "text", "text": system}]})
    return str(tiny_family(kind)[1].apply_chat_template(turns, tokenize=False, add_generation_prompt=True))


@lru_cache
def answer(kind: str) -> Capture:
    extractor = AttentionExtractor(*tiny_family(kind), store_on_cpu=True, float16=False)
    return extractor.generate(picture(kind), PROMPT, TOKENS, 2.0, seed=1, system=SYSTEM)


@pytest.mark.parametrize("system", [None, "", SYSTEM])
def test_the_prompt_is_the_templates_own(kind: str, system: str | None) -> None:
    model, processor = tiny_family(kind)
    expected = processor(text=[chat(kind, system)], images=[picture(kind)], return_tensors="pt")
    encoded = encode(model, processor, picture(kind), PROMPT, system=system)
    assert encoded.input_ids.tolist() == expected["input_ids"][0].tolist()
    assert processor.tokenizer.decode(encoded.input_ids[encoded.prompt_positions]) == PROMPT


def test_rows_are_those_of_eager_attention(kind: str) -> None:
    capture = answer(kind)
    processor = tiny_family(kind)[1]
    inputs = dict(processor(text=[chat(kind, SYSTEM)], images=[picture(kind)], return_tensors="pt"))
    start = inputs["input_ids"].shape[1] - 1
    at = (inputs["input_ids"][0] == tiny_family(kind)[0].config.image_token_id).nonzero()[:, 0]
    with torch.no_grad():
        truth = torch.cat(plain(kind)(**forced(inputs, capture), output_attentions=True).attentions)
    rows = truth[:, :, start : start + TOKENS].permute(2, 0, 1, 3)
    assert_same(capture.attention, rows[..., at], terms=1)
    assert (capture.system, capture.settings["system"]) == (SYSTEM, SYSTEM)
    assert SYSTEM not in generation_text(capture.settings)


def test_who_reads_the_answer_again_reads_the_system_turn_too(family: tuple[Any, Any], kind: str) -> None:
    capture, (model, processor) = answer(kind), family
    extractor = AttentionExtractor(*family, store_on_cpu=True, float16=False)
    again = extractor.read(picture(kind), PROMPT, capture.token_ids, system=SYSTEM)
    assert_same(again.attention, capture.attention, terms=1)
    read_by = {"model": model, "processor": processor, "image": picture(kind), "tokens": [1]}
    for method in ("gradient-attention", "tam", "relative", "grad-cam"):
        assert token_maps(method, capture, **read_by).maps.any()
    cam = smooth_grad_cam(*family, picture(kind), PROMPT, [1], 1, noise_std=0.0, answer=capture)
    assert cam.maps.any()
    plans: list[Any] = []
    extractor.generate(picture(kind), PROMPT, 1, system=SYSTEM, on_plan=plans.append)
    assert plans == [extractor.plan(picture(kind).size, PROMPT, 1, system=SYSTEM)]
    asked = processor.tokenizer(chat(kind, SYSTEM, with_picture=False))["input_ids"]
    ids = torch.tensor([[*asked, *capture.token_ids]])
    with torch.no_grad():
        logits = plain(kind)(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits[0]
    expected = torch.log_softmax(logits[len(asked) - 1 : -1], -1)[range(TOKENS), list(capture.token_ids)]
    assert_same(logprobs_without(*family, capture), expected, terms=10)


def test_it_is_kept(kind: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    entry = store.save(answer(kind), picture(kind))
    assert entry is not None
    assert store.open(entry).capture.system == SYSTEM


@pytest.mark.parametrize(
    ("system", "line"),
    [
        (" ", "The system prompt is empty."),
        (7, "The system prompt is empty."),
        ("x" * 5000, "The system prompt has 5,000 characters; at most 4,000 are allowed."),
        ("a <|im_end|>", "The system prompt may not contain the control token <|im_end|>."),
        ("a <|image_pad|>", "The system prompt may not contain the control token <|image_pad|>."),
    ],
)
def test_what_cannot_be_read_is_one_line(kind: str, system: Any, line: str) -> None:
    with pytest.raises(PromptError) as caught:
        encode(*tiny_family(kind), picture(kind), PROMPT, system=system)
    assert str(caught.value) == line


def test_a_template_without_a_place_for_it_is_told(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    processor = tiny_family(kind)[1]
    left_out = processor.chat_template.replace(
        "{% for message in messages %}", "{% for message in messages if message['role'] != 'system' %}"
    )
    monkeypatch.setattr(processor, "chat_template", left_out)
    with pytest.raises(PromptError, match="has no place for a system prompt; leave it out"):
        encode(tiny_family(kind)[0], processor, picture(kind), PROMPT, system=SYSTEM)
