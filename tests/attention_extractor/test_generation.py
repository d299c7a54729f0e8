"""The extractor: generation."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import GenerationConfig

import config
from attention_extractor import AttentionExtractor
from model import encode
from tests.attention_extractor.kit import (
    PROMPT,
    TOKENS,
    answer_ids,
    everything,
    picture,
    plain,
    small_model,
)
from tests.numerics import assert_same

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


# The first is published with Qwen2.5-VL; the others are of the kinds that fine-tunes come with.
CHECKPOINTS: list[dict[str, Any]] = [
    {"do_sample": True, "repetition_penalty": 1.05, "temperature": 1e-6},
    {"do_sample": True, "repetition_penalty": 1.3, "temperature": 0.7, "top_k": 5, "top_p": 0.8},
    {"do_sample": False, "repetition_penalty": 2.0, "no_repeat_ngram_size": 2},
    {"do_sample": True, "temperature": 1.5, "min_p": 0.02, "suppress_tokens": [5, 6, 7]},
    {"do_sample": True, "typical_p": 0.9, "bad_words_ids": [[65], [66, 67]], "renormalize_logits": True},
    {
        "do_sample": False,
        "exponential_decay_length_penalty": (3, 1.5),
        "min_new_tokens": 4,
        "eos_token_id": 9,
    },
]


@contextmanager
def own_settings(model: Any, settings: dict[str, Any]) -> Iterator[None]:
    """Have the model carry a generation config of these settings."""
    before = model.generation_config
    ends = {"bos_token_id": before.bos_token_id, "pad_token_id": before.pad_token_id}
    model.generation_config = GenerationConfig(**ends, **settings)
    try:
        yield
    finally:
        model.generation_config = before


def as_transformers_answers(
    model: Any, processor: Any, image: Image.Image, seed: int, **settings: Any
) -> tuple[int, ...]:
    """Return the ids of `torch.manual_seed(seed)` and `generate`, by whatever config the model carries."""
    encoded = encode(model, processor, image, PROMPT)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sequences = model.generate(**encoded.inputs, max_new_tokens=TOKENS, **settings)
    model.model.rope_deltas = None
    ids = answer_ids(sequences, encoded)
    return ids[:-1] if ids[-1] == model.generation_config.eos_token_id else ids


@pytest.mark.parametrize("settings", CHECKPOINTS, ids=lambda settings: "-".join(settings))
def test_the_answer_is_the_checkpoints_own(small: tuple[Any, Any], settings: dict[str, Any]) -> None:
    model, processor = small
    extractor = AttentionExtractor(model, processor)
    state = torch.random.get_rng_state()
    with own_settings(model, settings):
        for seed in (0, 3):
            capture = extractor.generate(picture(), PROMPT, TOKENS, seed=seed)
            assert capture.token_ids == as_transformers_answers(model, processor, picture(), seed)
    assert torch.equal(torch.random.get_rng_state(), state)
    used = {"generation": "checkpoint", "seed": 3, "max_new_tokens": TOKENS}
    if settings["do_sample"]:
        used |= {name: settings.get(name, usual) for name, usual in (("temperature", 1.0), ("top_k", 50))}
    else:
        used["temperature"] = 0.0
    used["repetition_penalty"] = settings.get("repetition_penalty", 1.0)
    assert capture.settings | used == capture.settings
    told = set(settings) - {"do_sample", "temperature", "top_k", "top_p", "eos_token_id"}
    assert told <= set(capture.settings)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_twenty_random_checkpoints_of_twenty_answer_as_they_do_without_us(dtype: torch.dtype) -> None:
    """In bfloat16 random logits tie, and the published temperature of 1e-6 draws between them."""
    penalised = 0
    for seed in range(10):
        model, processor = small_model(seed)
        model.to(dtype)
        image = picture(seed=seed)
        capture = AttentionExtractor(model, processor).generate(image, PROMPT, TOKENS, seed=seed)
        assert capture.token_ids == as_transformers_answers(model, processor, image, seed)
        greedy = AttentionExtractor(model, processor).generate(image, PROMPT, TOKENS, generation="greedy")
        neutral = {"do_sample": False, "repetition_penalty": 1.0}
        assert greedy.token_ids == as_transformers_answers(model, processor, image, seed, **neutral)
        penalised += capture.token_ids != greedy.token_ids
    assert penalised  # else all of this would show nothing


def test_values_of_ones_own_are_those_of_transformers(small: tuple[Any, Any]) -> None:
    model, processor = small
    own: dict[str, Any] = {"temperature": 0.8, "top_p": 0.9, "top_k": 6, "repetition_penalty": 1.4}
    capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, seed=2, **own)
    drawn = as_transformers_answers(model, processor, picture(), 2, do_sample=True, **own)
    assert capture.token_ids == drawn
    assert capture.settings | own | {"generation": "own"} == capture.settings


def test_logprobs_stay_raw_under_a_penalty(small: tuple[Any, Any]) -> None:
    model, processor = small
    with own_settings(model, CHECKPOINTS[1]):
        capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS)
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


def test_a_stop_string_ends_the_answer(small: tuple[Any, Any]) -> None:
    model, processor = small
    extractor = AttentionExtractor(model, processor)
    whole = extractor.generate(picture(), PROMPT, TOKENS, generation="greedy")
    last = next(at for at, token in enumerate(whole.tokens) if at > 1 and token.isascii() and token.isalnum())
    ends_with = whole.tokens[last]
    assert ends_with not in whole.text[: whole.token_spans[last][0]]
    with own_settings(model, {"do_sample": False, "stop_strings": [ends_with]}):
        capture = extractor.generate(picture(), PROMPT, TOKENS)
        tokenizer = processor.tokenizer
        assert capture.token_ids == as_transformers_answers(
            model, processor, picture(), 0, tokenizer=tokenizer
        )
    assert capture.token_ids == whole.token_ids[: last + 1]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"num_beams": 4}, r"asks for beam search \(num_beams 4\), which cannot be recorded: set GENERATION"),
        ({"num_beams": 2, "do_sample": True}, r"asks for beam sample \(num_beams 2\)"),
        ({"prompt_lookup_num_tokens": 3}, "asks for assisted generation"),
        ({"do_sample": True, "num_return_sequences": 3}, "asks for 3 answers at a time"),
        ({"guidance_scale": 1.5}, "asks for classifier-free guidance"),
    ],
)
def test_several_sequences_at_a_time_are_refused(
    small: tuple[Any, Any], settings: dict[str, Any], reason: str
) -> None:
    model, processor = small
    before = everything(model)
    with own_settings(model, settings):
        with pytest.raises(ValueError, match=reason):
            AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS)
        greedy = AttentionExtractor(model, processor).generate(picture(), PROMPT, 2, generation="greedy")
    assert len(greedy.token_ids) == 2
    assert everything(model) == before


def test_how_an_answer_is_computed_does_not_reach_the_record(small: tuple[Any, Any]) -> None:
    model, processor = small
    expected = AttentionExtractor(model, processor, float16=False).generate(picture(), PROMPT, TOKENS)
    odd = {
        "cache_implementation": "static",
        "use_cache": False,
        "prefill_chunk_size": 16,
        "output_attentions": True,
        "return_dict_in_generate": True,
        "output_logits": True,
        "max_length": 3,
    }
    with own_settings(model, {**CHECKPOINTS[0], **odd}):
        capture = AttentionExtractor(model, processor, float16=False).generate(picture(), PROMPT, TOKENS)
    assert capture.token_ids == expected.token_ids
    assert_same(capture.attention, expected.attention)


def test_checkpoint_settings_are_not_applied_to_a_greedy_answer(small: tuple[Any, Any]) -> None:
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
        ({"top_k": -1}, "top_k must be a whole number, 0"),
        ({"top_k": 1.5}, "top_k must be a whole number, 0"),
        ({"repetition_penalty": 0}, "repetition_penalty must be above 0; got 0"),
        ({"seed": -1}, r"seed must be a whole number from 0 to 2\*\*63 - 1; got -1"),
        ({"generation": "beams"}, "generation must be one of checkpoint, greedy, own; got 'beams'"),
        ({"generation": "greedy", "top_k": 3}, 'top_k counts only with generation="own"; got "greedy"'),
        ({"generation": "checkpoint", "temperature": 0}, 'temperature counts only with generation="own"'),
    ],
)
def test_settings_out_of_range_are_refused(
    small: tuple[Any, Any], settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionExtractor(*small).generate(picture(), PROMPT, **settings)


def test_settings_left_out_come_from_config(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MAX_NEW_TOKENS", 3)
    monkeypatch.setattr(config, "GENERATION", "own")
    monkeypatch.setattr(config, "TEMPERATURE", 0.5)
    monkeypatch.setattr(config, "TOP_P", 0.8)
    monkeypatch.setattr(config, "TOP_K", 7)
    monkeypatch.setattr(config, "REPETITION_PENALTY", 1.2)
    monkeypatch.setattr(config, "SEED", 12)
    monkeypatch.setattr(config, "EXTRACT_ALL_LAYERS", False)
    monkeypatch.setattr(config, "SPECIFIC_LAYERS", [-1])
    monkeypatch.setattr(config, "USE_FLOAT16", False)
    capture = AttentionExtractor(*small).generate(picture(), PROMPT)
    wanted = {"generation": "own", "max_new_tokens": 3, "temperature": 0.5, "top_p": 0.8, "seed": 12}
    wanted |= {"top_k": 7, "repetition_penalty": 1.2}
    assert capture.settings | wanted == capture.settings
    assert (len(capture.token_ids), capture.layers, capture.attention.dtype) == (3, (2,), torch.float32)
