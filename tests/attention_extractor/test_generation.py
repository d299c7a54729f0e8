"""The extractor: generation."""

from typing import Any

import pytest
import torch

import config
from attention_extractor import AttentionExtractor
from model import encode
from tests.attention_extractor.kit import PROMPT, TOKENS, answer_ids, picture, plain

pytestmark = pytest.mark.numeric


def test_greedy_tokens_equal_plain_generate(small: tuple[Any, Any]) -> None:
    model, processor = small
    capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 40, temperature=0)
    expected = plain(model, processor, picture(), max_new_tokens=40)
    model.model.rope_deltas = None
    assert capture.token_ids == answer_ids(expected, encode(model, processor, picture(), PROMPT))


@pytest.mark.parametrize(("temperature", "top_p", "seed"), [(0.7, 0.9, 3), (1.0, 1.0, 4), (1.5, 0.5, 5)])
def test_sampled_tokens_equal_plain_generate_with_the_same_seed(
    small: tuple[Any, Any], temperature: float, top_p: float, seed: int
) -> None:
    model, processor = small
    extractor = AttentionExtractor(model, processor)
    state = torch.random.get_rng_state()
    capture = extractor.generate(picture(), PROMPT, 30, temperature, top_p, seed)
    assert torch.equal(torch.random.get_rng_state(), state)  # the caller's random numbers are its own
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        settings: dict[str, Any] = {
            "do_sample": True,
            "temperature": temperature,
            "top_p": top_p,
            "max_new_tokens": 30,
        }
        expected = plain(model, processor, picture(), **settings)
    model.model.rope_deltas = None
    assert capture.token_ids == answer_ids(expected, encode(model, processor, picture(), PROMPT))
    other = extractor.generate(picture(), PROMPT, 30, temperature, top_p, seed + 1)
    assert other.token_ids != capture.token_ids
    assert capture.settings | {"temperature": temperature, "top_p": top_p, "seed": seed} == capture.settings


def test_checkpoint_settings_are_not_applied(small: tuple[Any, Any]) -> None:
    model, processor = small
    neutral = AttentionExtractor(model, processor).generate(picture(), PROMPT, 30, temperature=0)
    kept = model.generation_config.repetition_penalty, model.generation_config.suppress_tokens
    model.generation_config.repetition_penalty = 40.0
    model.generation_config.suppress_tokens = [neutral.token_ids[0]]
    try:
        capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 30, temperature=0)
    finally:
        model.generation_config.repetition_penalty, model.generation_config.suppress_tokens = kept
    assert capture.token_ids == neutral.token_ids


def test_logprobs_are_the_models_own(small: tuple[Any, Any]) -> None:
    model, processor = small
    capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, temperature=2.0)
    encoded = encode(model, processor, picture(), PROMPT)
    answer = torch.tensor([capture.token_ids])
    inputs = dict(encoded.inputs)
    inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
    inputs["mm_token_type_ids"] = torch.cat([inputs["mm_token_type_ids"], torch.zeros_like(answer)], dim=1)
    with torch.no_grad():
        logits = model(**inputs).logits[0, encoded.prompt_length - 1 : -1]
    model.model.rope_deltas = None
    expected = logits.log_softmax(-1).gather(1, answer[0][:, None])[:, 0]
    torch.testing.assert_close(capture.logprobs, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens must be at least 1; got 0"),
        ({"max_new_tokens": 2.5}, "max_new_tokens must be a whole number; got 2.5"),
        ({"max_new_tokens": True}, "max_new_tokens must be a whole number; got True"),
        ({"temperature": -0.1}, "temperature must be 0"),
        ({"temperature": float("nan")}, "temperature must be 0"),
        ({"temperature": float("inf")}, "temperature must be 0"),
        ({"top_p": 0.0}, "top_p must be above 0"),
        ({"top_p": 1.1}, "top_p must be above 0"),
    ],
)
def test_settings_out_of_range_are_refused(
    small: tuple[Any, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionExtractor(*small).generate(picture(), PROMPT, **settings)


def test_settings_left_out_come_from_config(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MAX_NEW_TOKENS", 3)
    monkeypatch.setattr(config, "TEMPERATURE", 0.5)
    monkeypatch.setattr(config, "TOP_P", 0.8)
    monkeypatch.setattr(config, "SEED", 12)
    monkeypatch.setattr(config, "EXTRACT_ALL_LAYERS", False)
    monkeypatch.setattr(config, "SPECIFIC_LAYERS", [-1])
    monkeypatch.setattr(config, "USE_FLOAT16", False)
    capture = AttentionExtractor(*small).generate(picture(), PROMPT)
    wanted = {"max_new_tokens": 3, "temperature": 0.5, "top_p": 0.8, "seed": 12}
    assert capture.settings | wanted == capture.settings
    assert (len(capture.token_ids), capture.layers, capture.attention.dtype) == (3, (2,), torch.float32)
