"""Capture against slower, plainer truths: transformers' own attentions, plain generate, the model before."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

import config
from attention_extractor import AttentionExtractor
from internals import attention_rows, exclusive, recording
from internals.hooks import hooked
from model import Encoded, encode
from records.capture import Capture
from records.layers import decoder_layer_numbers
from records.tokens import Vocabulary, spelled
from tests.conftest import traces
from tests.numerics import assert_same
from tests.tiny import tiny_model

pytestmark = pytest.mark.numeric
LAYERS, HEADS, TOKENS = 3, 6, 11
PROMPT = "What is at the top left?"
# 鿂, 𰻝 and 🫠 are split over two, four and three tokens of the real vocabulary, the family over seven.
MIXED = "我看到鿂𰻝🦄🫠 and 👩‍👩‍👧: don't  stop—\n你好！"


def picture(width: int = 140, height: int = 224, seed: int = 0) -> Image.Image:
    """Return noise of 8 x 5 visual tokens, or of another size."""
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def small_model(seed: int = 0, **settings: Any) -> tuple[Any, Any]:
    model, processor = tiny_model(LAYERS, HEADS, 2, 96, seed, vocabulary="bytes", **settings)
    model.generation_config.eos_token_id = None  # so that every answer has the length asked for
    return model, processor


@pytest.fixture(scope="module")
def shared_small() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(shared_small: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves anything of a capture behind."""
    model = shared_small[0]
    before = everything(model)
    yield shared_small
    assert everything(model) == before


def everything(model: Any) -> tuple[Any, ...]:
    """Return what a capture may change for a while and must put back."""
    state = exclusive._busy, dict(attention_rows._wanted_rows)
    return traces(model), id(model.generation_config), model.model.rope_deltas, *map(len, state)


@pytest.fixture(scope="module")
def eager_twin() -> tuple[Any, Any]:
    """Return the same weights under eager attention; output_attentions leaves hooks of its own on them."""
    model, processor = small_model()
    model.set_attn_implementation("eager")
    return model, processor


def plain(model: Any, processor: Any, image: Image.Image, prompt: str = PROMPT, **settings: Any) -> Any:
    """Return what transformers generates, without us."""
    neutral = {"do_sample": False, "repetition_penalty": 1.0, "temperature": 1.0, "top_k": 0}
    inputs = encode(model, processor, image, prompt).inputs
    return model.generate(**inputs, **{**neutral, "max_new_tokens": TOKENS, **settings})


def answer_ids(sequences: Tensor, encoded: Encoded) -> tuple[int, ...]:
    return tuple(sequences[0, encoded.prompt_length :].tolist())


def shares_of(row: Tensor, encoded: Encoded) -> Tensor:
    """Return the mass (…, 3) on image, rest of the prompt and answer, summed key by key."""
    groups = torch.full((row.shape[-1],), 2)
    groups[: encoded.prompt_length] = 1
    groups[encoded.image_positions] = 0
    return torch.stack([row[..., groups == group].sum(-1) for group in range(3)], dim=-1)


@contextmanager
def scripted(model: Any, ids: list[int]) -> Iterator[None]:
    """Have the model predict these tokens one after the other, whatever it thinks."""
    waiting = iter(ids)

    def predict(index: int, module: Any, args: Any, output: Tensor) -> Tensor:
        forced = torch.zeros_like(output)
        forced[..., next(waiting)] = 30.0
        return forced

    with hooked([model.lm_head], predict):
        yield


# --- Exactness ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size_wh", [(140, 224), (308, 84), (112, 364)])
def test_every_row_equals_eager_output_attentions(
    small: tuple[Any, Any], eager_twin: tuple[Any, Any], size_wh: tuple[int, int]
) -> None:
    image, processor = picture(*size_wh), small[1]
    capture = AttentionExtractor(*small, float16=False).generate(image, PROMPT, TOKENS, temperature=0)
    encoded = encode(*eager_twin, image, PROMPT)
    truth = plain(*eager_twin, image, output_attentions=True, return_dict_in_generate=True)
    assert capture.grid == (size_wh[1] // 28, size_wh[0] // 28)
    assert capture.token_ids == answer_ids(truth.sequences, encoded)
    assert capture.attention.shape == (TOKENS, LAYERS, HEADS, len(encoded.image_positions))
    for token in range(TOKENS):
        for layer in range(LAYERS):
            row = truth.attentions[token][layer][0, :, -1]  # (head, key)
            torch.testing.assert_close(
                capture.attention[token, layer], row[:, encoded.image_positions], atol=1e-5, rtol=0
            )
            torch.testing.assert_close(
                capture.shares[token, layer], shares_of(row, encoded), atol=1e-5, rtol=0
            )
            text = [row[:, at].mean() for at in range(row.shape[-1]) if at not in encoded.image_positions]
            later = [torch.zeros(())] * (TOKENS - token)  # itself and what is still to come
            torch.testing.assert_close(
                capture.text_attention[token, layer], torch.stack(text + later), atol=1e-5, rtol=0
            )
    shown = [processor.tokenizer.decode([token]) for token in encoded.input_ids.tolist()]
    visual = set(encoded.image_positions.tolist())
    assert capture.context_tokens == tuple(text for at, text in enumerate(shown) if at not in visual)
    asked = [capture.context_tokens[place] for place in capture.prompt_places]
    assert tuple(asked) == capture.prompt_tokens


def test_prompt_rows_equal_eager_output_attentions(
    small: tuple[Any, Any], eager_twin: tuple[Any, Any]
) -> None:
    capture = AttentionExtractor(*small, float16=False).generate(picture(), PROMPT, 1, temperature=0)
    encoded = encode(*eager_twin, picture(), PROMPT)
    truth = plain(
        *eager_twin, picture(), max_new_tokens=1, output_attentions=True, return_dict_in_generate=True
    )
    assert capture.prompt == PROMPT
    assert capture.prompt_token_ids == tuple(encoded.input_ids[encoded.prompt_positions].tolist())
    assert len(capture.prompt_token_ids) == len(PROMPT)
    for layer in range(LAYERS):
        rows = truth.attentions[0][layer][0][:, encoded.prompt_positions].transpose(
            0, 1
        )  # (token, head, key)
        mine, shares = capture.prompt_attention[:, layer], capture.prompt_shares[:, layer]
        torch.testing.assert_close(mine, rows[..., encoded.image_positions], atol=1e-5, rtol=0)
        torch.testing.assert_close(shares, shares_of(rows, encoded), atol=1e-5, rtol=0)


def test_bfloat16_rows_equal_eager_to_its_precision() -> None:
    model, processor = small_model(spread=0.05)
    twin, _ = small_model(spread=0.05)
    model.to(torch.bfloat16)
    twin.to(torch.bfloat16).set_attn_implementation("eager")
    capture = AttentionExtractor(model, processor, float16=False).generate(picture(), PROMPT, TOKENS, 0)
    encoded = encode(twin, processor, picture(), PROMPT)
    with scripted(twin, [*capture.token_ids]):
        truth = plain(twin, processor, picture(), output_attentions=True, return_dict_in_generate=True)
    rows = torch.stack(
        [torch.stack([row[0, :, -1, : encoded.prompt_length] for row in step]) for step in truth.attentions]
    )
    assert capture.settings["dtype"] == "bfloat16"
    assert capture.attention.dtype == torch.float32
    torch.testing.assert_close(
        capture.attention, rows[..., encoded.image_positions].float(), atol=2e-3, rtol=2e-2
    )
    torch.testing.assert_close(capture.shares.sum(-1), torch.ones(TOKENS, LAYERS, HEADS), atol=1e-5, rtol=0)


@pytest.mark.parametrize("backend", ["sdpa", "eager"])
def test_rows_over_all_keys_sum_to_one(small: tuple[Any, Any], backend: str) -> None:
    model, processor = small
    model.set_attn_implementation({"text_config": backend})
    try:
        capture = AttentionExtractor(model, processor, float16=False).generate(picture(), PROMPT, TOKENS, 0)
    finally:
        model.set_attn_implementation({"text_config": "sdpa"})
    assert capture.settings["attention_backend"] == backend
    for shares in (capture.shares, capture.prompt_shares):
        torch.testing.assert_close(shares.sum(-1), torch.ones(shares.shape[:-1]), atol=1e-5, rtol=0)
    assert float(capture.shares[0, ..., 2].abs().max()) == 0  # the first token has no answer before it
    assert float(capture.shares[1:, ..., 2].min()) > 0
    torch.testing.assert_close(capture.attention.sum(-1), capture.shares[..., 0], atol=1e-5, rtol=0)


def test_attention_of_random_weights_is_far_from_uniform(small: tuple[Any, Any]) -> None:
    capture = AttentionExtractor(*small).generate(picture(), PROMPT, TOKENS, 0)
    peak = capture.attention.float().amax(-1) / capture.attention.float().mean(-1)
    assert float(peak.mean()) > 3  # else equal rows would prove little


def test_changed_attention_changes_capture_and_prediction() -> None:
    model, processor = small_model()
    before = AttentionExtractor(model, processor, float16=False).generate(picture(), PROMPT, 1, 0)
    with torch.no_grad():
        model.model.language_model.layers[1].self_attn.q_proj.weight.mul_(4)
    after = AttentionExtractor(model, processor, float16=False).generate(picture(), PROMPT, 1, 0)
    assert_same(after.attention[0, 0], before.attention[0, 0])  # the layer below does not know
    assert float((after.attention[0, 1] - before.attention[0, 1]).abs().max()) > 0.01
    assert float((after.attention[0, 2] - before.attention[0, 2]).abs().max()) > 1e-4
    assert float((after.logprobs - before.logprobs).abs()) > 1e-4


def test_many_small_blocks_equal_one_large(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    extractor = AttentionExtractor(*small, float16=False)
    whole = extractor.generate(picture(), PROMPT, TOKENS, 0)
    monkeypatch.setattr(recording, "BLOCK", 4)
    pieces = extractor.generate(picture(), PROMPT, TOKENS, 0)
    for name in ("attention", "shares", "prompt_attention", "prompt_shares"):
        assert_same(getattr(pieces, name), getattr(whole, name))


# --- Generation --------------------------------------------------------------------------------------------


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


# --- Layers and storage ------------------------------------------------------------------------------------


def test_chosen_layers_equal_those_of_a_full_capture(small: tuple[Any, Any]) -> None:
    model, processor = small
    full = AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
    weights: dict[int, set[bool]] = {layer: set() for layer in range(LAYERS)}

    def look(index: int, module: Any, args: Any, output: Any) -> None:
        weights[index].add(output[1] is not None)

    with hooked([layer.self_attn for layer in model.model.language_model.layers], look):
        some = AttentionExtractor(model, processor, layers=[-1, 0, 2]).generate(picture(), PROMPT, TOKENS, 0)
    assert weights == {0: {True}, 1: {False}, 2: {True}}  # the layer in between computes nothing
    assert (some.layers, some.layer_count) == ((0, 2), LAYERS)
    assert_same(some.attention, full.attention[:, [0, 2]])
    assert_same(some.prompt_shares, full.prompt_shares[:, [0, 2]])


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ([3], r"there is no layer 3: the model has 3 layers, 0 to 2 \(or -3 to -1"),
        ([0, -4], "there is no layer -4: the model has 3 layers"),
        ([], "choose at least one of the model's 3 layers"),
        ([1.0], "a layer must be a whole number; got 1.0"),
        ([True], "a layer must be a whole number; got True"),
    ],
)
def test_layers_beyond_the_model_are_refused(small: tuple[Any, Any], layers: list[Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionExtractor(*small, layers=layers)


def test_layer_numbers_are_merged_in_order() -> None:
    assert decoder_layer_numbers(5, [-1, 2, 4, -3, 0]) == (0, 2, 4)
    assert decoder_layer_numbers(5, range(1, 3)) == (1, 2)
    assert decoder_layer_numbers(4, None) == (0, 1, 2, 3)


def test_sliding_windows_are_refused() -> None:
    model, processor = small_model(use_sliding_window=True, sliding_window=32, max_window_layers=1)
    AttentionExtractor(model, processor, layers=[0])
    with pytest.raises(ValueError, match="sliding-window"):
        AttentionExtractor(model, processor, layers=[0, 1])


@pytest.mark.parametrize("on_cpu", [True, False])
def test_float16_halves_the_memory_and_keeps_three_digits(small: tuple[Any, Any], on_cpu: bool) -> None:
    full = AttentionExtractor(*small, store_on_cpu=on_cpu, float16=False).generate(
        picture(), PROMPT, TOKENS, 0
    )
    half = AttentionExtractor(*small, store_on_cpu=on_cpu, float16=True).generate(
        picture(), PROMPT, TOKENS, 0
    )
    assert (full.attention.dtype, half.attention.dtype) == (torch.float32, torch.float16)
    assert half.prompt_attention.dtype == torch.float16
    assert half.shares.dtype == half.prompt_shares.dtype == half.logprobs.dtype == torch.float32
    for name in ("attention", "prompt_attention"):
        torch.testing.assert_close(getattr(half, name).float(), getattr(full, name), atol=1e-7, rtol=1e-3)
    assert torch.equal(half.shares, full.shares)


def test_what_is_kept_is_no_larger_than_what_is_shown(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "BLOCK", 4)
    on_token, stop = stop_after(TOKENS)
    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 500, 0, on_token=on_token, stop=stop)
    assert len(capture.token_ids) == TOKENS
    for name in ("attention", "shares", "logprobs", "prompt_attention", "prompt_shares"):
        kept: Tensor = getattr(capture, name)
        assert kept.untyped_storage().nbytes() == kept.numel() * kept.element_size(), name


def stop_after(count: int) -> tuple[Any, threading.Event]:
    """Return an on_token that sets the event after so many tokens, and the event."""
    stop = threading.Event()

    def on_token(text: str, tokens: int) -> None:
        if tokens == count:
            stop.set()

    return on_token, stop


# --- Streaming, stopping, failing --------------------------------------------------------------------------


def test_stop_ends_the_answer_between_tokens(small: tuple[Any, Any]) -> None:
    extractor = AttentionExtractor(*small, float16=False)
    full = extractor.generate(picture(), PROMPT, TOKENS, 0)
    on_token, stop = stop_after(4)
    part = extractor.generate(picture(), PROMPT, TOKENS, 0, on_token=on_token, stop=stop)
    assert (part.stopped, full.stopped) == (True, False)
    assert part.token_ids == full.token_ids[:4]
    assert_same(part.attention, full.attention[:4])
    first = extractor.generate(picture(), PROMPT, TOKENS, 0, stop=stop)  # set before it began
    assert (first.stopped, first.token_ids) == (True, full.token_ids[:1])


def test_on_token_hears_every_token(small: tuple[Any, Any]) -> None:
    heard: list[tuple[str, int]] = []
    capture = AttentionExtractor(*small).generate(
        picture(), PROMPT, TOKENS, 0, on_token=lambda text, count: heard.append((text, count))
    )
    assert [count for _, count in heard] == list(range(1, TOKENS + 1))
    for (earlier, _), (later, _) in pairwise(heard):
        assert later.startswith(earlier)
    assert len(heard[-1][0]) > 0
    assert len(capture.token_ids) == TOKENS


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, GeneratorExit])
def test_an_error_in_on_token_propagates_and_restores(
    small: tuple[Any, Any], kind: type[BaseException]
) -> None:
    def fail(text: str, count: int) -> None:
        if count == 3:
            raise kind

    extractor = AttentionExtractor(*small)
    with pytest.raises(kind):
        extractor.generate(picture(), PROMPT, TOKENS, 0, on_token=fail)
    assert len(extractor.generate(picture(), PROMPT, 2, 0).token_ids) == 2  # and the model is free again


@pytest.mark.parametrize("step", [0, 2])
def test_an_error_inside_the_model_restores(small: tuple[Any, Any], step: int) -> None:
    model, processor = small
    calls = []

    def fail(index: int, module: Any, args: Any, output: Any) -> None:
        calls.append(index)
        if len(calls) > step:
            raise ZeroDivisionError

    before = everything(model)
    with hooked([model.model.language_model.layers[1].mlp], fail), pytest.raises(ZeroDivisionError):
        AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
    assert everything(model) == before


def test_half_a_registration_is_undone(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = small
    extractor = AttentionExtractor(model, processor)

    def fail(hook: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(model.model.language_model.layers[2].self_attn, "register_forward_hook", fail)
    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        extractor.generate(picture(), PROMPT, TOKENS, 0)
    assert everything(model) == before


def test_a_switch_that_fails_halfway_is_undone(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = small
    switch = model.set_attn_implementation

    def fail(names: dict[str, str]) -> None:
        switch(names)
        if names["text_config"].startswith("captured_"):
            raise ZeroDivisionError

    monkeypatch.setattr(model, "set_attn_implementation", fail)
    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
    assert everything(model) == before


def test_modes_and_gradients_are_as_before(small: tuple[Any, Any]) -> None:
    model, processor = small
    layers = model.model.language_model.layers
    layers[1].train()
    layers[2].mlp.up_proj.weight.requires_grad_(False)
    before = everything(model)
    seen = set()

    def look(index: int, module: Any, args: Any, output: Any) -> None:
        seen.add(module.training)

    try:
        with hooked([layers[1]], look):
            capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 2, 0)
        assert everything(model) == before
    finally:
        layers[1].eval()
        layers[2].mlp.up_proj.weight.requires_grad_(True)
    assert seen == {False}
    assert not capture.attention.requires_grad


def test_someone_elses_switch_is_noticed(small: tuple[Any, Any]) -> None:
    model, processor = small

    def switch(text: str, count: int) -> None:
        model.set_attn_implementation({"text_config": "eager"})

    with pytest.raises(RuntimeError, match="backend was switched"):
        AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0, on_token=switch)


# --- Two at a time -----------------------------------------------------------------------------------------


def test_a_second_capture_on_one_model_is_refused(small: tuple[Any, Any]) -> None:
    messages = []

    def again(text: str, count: int) -> None:
        with pytest.raises(RuntimeError, match="already at work for another answer") as refusal:
            AttentionExtractor(*small).generate(picture(), PROMPT, 1, 0)
        messages.append(str(refusal.value))

    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 3, 0, on_token=again)
    assert len(messages) == len(capture.token_ids) == 3


def test_two_models_in_two_threads_do_not_mix() -> None:
    models = [small_model(seed=0), small_model(seed=1)]
    prompts = ["First?", "And the other one?"]
    pictures = [picture(), picture(308, 84, seed=1)]
    settings: list[dict[str, Any]] = [{"temperature": 0.9, "seed": 5}, {"temperature": 1.1, "seed": 6}]

    def run(which: int, on_token: Any = None) -> Capture:
        extractor = AttentionExtractor(*models[which], layers=[[0, 1], [1, 2]][which], float16=False)
        return extractor.generate(
            pictures[which], prompts[which], TOKENS, on_token=on_token, **settings[which]
        )

    alone = [run(0), run(1)]
    turn = threading.Barrier(2, timeout=60)  # token by token, side by side
    together: list[Capture | None] = [None, None]

    def work(which: int) -> None:
        together[which] = run(which, lambda text, count: turn.wait())

    threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, other in zip(together, alone, strict=True):
        assert mine is not None
        assert (mine.token_ids, mine.layers, mine.grid) == (other.token_ids, other.layers, other.grid)
        assert_same(mine.attention, other.attention)


# --- Other backends ----------------------------------------------------------------------------------------


def test_a_flash_backend_meets_the_name_it_expects(small: tuple[Any, Any]) -> None:
    model, processor = small
    met = set()

    def fake_flash(module: Any, *args: Any, **settings: Any) -> Any:
        met.add((module.config._attn_implementation, module.is_causal, module.config.num_attention_heads))
        return sdpa_attention_forward(module, *args, **settings)

    AttentionInterface.register("fake/flash_attention_2", fake_flash)
    AttentionMaskInterface.register("fake/flash_attention_2", sdpa_mask)
    expected = AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
    try:
        model.set_attn_implementation({"text_config": "fake/flash_attention_2"})
        capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
        assert model.config.text_config._attn_implementation == "fake/flash_attention_2"
    finally:
        model.set_attn_implementation({"text_config": "sdpa"})
    assert met == {("fake/flash_attention_2", True, HEADS)}
    assert "flash" in attention_rows._registered("fake/flash_attention_2")
    assert "flash" not in attention_rows._registered("sdpa")
    assert capture.token_ids == expected.token_ids
    assert_same(capture.attention, expected.attention)


# --- Tokens and text ---------------------------------------------------------------------------------------


def test_cjk_and_emoji_are_never_retokenised(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    ids = processor.tokenizer(MIXED).input_ids
    heard: list[str] = []
    with scripted(model, [*ids, processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]):
        capture = AttentionExtractor(model, processor).generate(
            picture(), "这是什么？🦄", 99, 0, on_token=lambda text, count: heard.append(text)
        )
    assert capture.token_ids == tuple(ids)
    assert capture.text == MIXED == processor.tokenizer.decode(ids)
    assert capture.prompt == "这是什么？🦄"
    broken = [token for token in capture.tokens if "⟨" in token]
    assert len(broken) >= 6  # else this text splits no character and proves nothing
    assert {"⟨E9 BF⟩", "⟨82⟩", "⟨F0 9F⟩"} <= set(broken)
    assert not any("\ufffd" in token for token in (*capture.tokens, *capture.prompt_tokens))
    assert [token for token in capture.tokens if "⟨" not in token and token not in MIXED] == []
    assert heard[-1] == MIXED
    assert not any("⟨" in text or "\ufffd" in text for text in heard)
    for token, (start, end) in zip(capture.tokens, capture.token_spans, strict=True):
        assert token == MIXED[start:end] or "⟨" in token
    covered = {place for start, end in capture.token_spans for place in range(start, end)}
    assert covered == set(range(len(MIXED)))


def test_an_answer_cut_within_a_character_shows_its_bytes(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    ids = processor.tokenizer("猫𰻝").input_ids
    with scripted(model, ids):
        capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, len(ids) - 1, 0)
    assert capture.text == "猫⟨F0 B0 BB⟩"
    assert capture.tokens == ("猫", "⟨F0⟩", "⟨B0⟩", "⟨BB⟩")
    assert capture.token_spans == ((0, 1), (1, 11), (1, 11), (1, 11))


@pytest.mark.parametrize("end", ["<|im_end|>", "<|endoftext|>"])
def test_the_token_that_ends_the_answer_is_dropped_and_no_other(tiny: tuple[Any, Any], end: str) -> None:
    model, processor = tiny
    token_id = processor.tokenizer.convert_tokens_to_ids
    ids = [
        *processor.tokenizer("A cat").input_ids,
        token_id("<|box_start|>"),
        151_900,
        token_id("<tool_call>"),
    ]
    heard: list[int] = []
    with scripted(model, [*ids, token_id(end), 0]):
        capture = AttentionExtractor(model, processor, float16=False).generate(
            picture(), PROMPT, 20, 0, on_token=lambda text, count: heard.append(count)
        )
    assert capture.token_ids == tuple(ids)
    assert heard == [1, 2, 3, 4, 5]
    assert capture.attention.shape[0] == len(capture.shares) == len(capture.logprobs) == 5
    assert capture.tokens == ("A", " cat", "<|box_start|>", "⟨token 151900⟩", "<tool_call>")
    assert capture.text == "A cat<tool_call>"
    assert capture.token_spans == ((0, 1), (1, 5), (5, 5), (5, 5), (5, 16))
    assert not capture.stopped


def test_an_empty_answer_is_a_capture(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    with scripted(model, [processor.tokenizer.convert_tokens_to_ids("<|im_end|>")]):
        capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 20, 0)
    assert (capture.token_ids, capture.text, capture.attention.shape[:3]) == ((), "", (0, 3, 4))
    assert len(capture.prompt_token_ids) > 0


def test_spelled_pieces_of_bytes() -> None:
    cat = "猫".encode()
    assert spelled([b"a ", cat[:1], cat[1:], b"!"]) == ("a 猫!", ((0, 2), (2, 3), (2, 3), (3, 4)))
    assert spelled([cat[:2], b"x"]) == ("⟨E7 8C⟩x", ((0, 7), (7, 8)))
    assert spelled([b"x" + cat[:1], cat[1:2], b"y"]) == ("x⟨E7 8C⟩y", ((0, 8), (1, 8), (8, 9)))
    assert spelled([cat[2:], b"", cat]) == ("⟨AB⟩猫", ((0, 4), (4, 4), (4, 5)))
    assert spelled(["\ufffd".encode()]) == ("\ufffd", ((0, 1),))  # written by the model itself
    assert spelled([]) == ("", ())


def test_a_vocabulary_that_is_not_of_bytes_is_refused() -> None:
    class Sentencepiece:
        added_tokens_decoder: dict[int, Any] = {}  # noqa: RUF012
        all_special_ids: list[int] = []  # noqa: RUF012

        def convert_ids_to_tokens(self, token: int) -> str:
            return "▁cat"

    with pytest.raises(ValueError, match=r"token 7 .* is not of a byte-level vocabulary"):
        Vocabulary(Sentencepiece()).piece(7)


# --- The record --------------------------------------------------------------------------------------------


def test_a_capture_says_where_it_comes_from(small: tuple[Any, Any]) -> None:
    model, processor = small
    capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 2, 0)
    encoded = encode(model, processor, picture(), PROMPT)
    assert (capture.model_name, capture.image_size) == ("tiny", (224, 140))
    assert (capture.image_hash, capture.prompt_length) == (encoded.image_hash, encoded.prompt_length)
    assert capture.prompt_tokens == tuple(PROMPT)
    assert capture.settings == {
        "max_new_tokens": 2,
        "temperature": 0,
        "top_p": 1.0,
        "seed": 0,
        "attention_backend": "sdpa",
        "dtype": "float32",
    }


@pytest.fixture(scope="module")
def capture(shared_small: tuple[Any, Any]) -> Capture:
    return AttentionExtractor(*shared_small, layers=[0, 2], float16=False).generate(picture(), PROMPT, 4, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: {"grid": (5, 7)},
            r"patch\)=\(4, 2, head, 35\) for grid \(h, w\)=\(5, 7\); got \(4, 2, 6, 40\)",
        ),
        (lambda c: {"grid": (0, 40)}, "grid"),
        (lambda c: {"layers": (0, 1, 2)}, "expected attention of shape"),
        (lambda c: {"layers": (2, 0)}, "ascending"),
        (lambda c: {"layers": (2, 2)}, "ascending"),
        (lambda c: {"layers": (-1, 2)}, "ascending"),
        (lambda c: {"layers": ()}, "ascending"),
        (lambda c: {"layer_count": 2}, "layer 2 was recorded of a model with 2 layers"),
        (lambda c: {"tokens": c.tokens[1:]}, "4 token ids, but 3 display texts and 4 spans"),
        (lambda c: {"token_spans": c.token_spans[1:]}, "4 token ids"),
        (lambda c: {"token_spans": ((0, 99), *c.token_spans[1:])}, "outside the text"),
        (lambda c: {"prompt_tokens": ()}, "prompt token ids"),
        (lambda c: {"token_ids": c.token_ids[1:]}, "3 token ids"),
        (lambda c: {"attention": c.attention[1:]}, "expected attention of shape"),
        (lambda c: {"attention": c.attention.flatten(1, 2)}, "expected attention of shape"),
        (lambda c: {"attention": c.attention[:, :, 1:], "shares": c.shares[:, :, 1:]}, "as many heads"),
        (lambda c: {"attention": c.attention * 1.1}, "differ by"),
        (lambda c: {"attention": c.attention * float("nan")}, "differ by nan"),
        (lambda c: {"attention": -c.attention}, "differ by"),
        (lambda c: {"shares": c.shares[..., :2]}, "expected shares of shape"),
        (lambda c: {"shares": c.shares * 0.9}, "differ by"),
        (lambda c: {"shares": c.shares.roll(1, -1)}, "differ by"),
        (lambda c: {"prompt_attention": c.prompt_attention[1:]}, "expected prompt_attention of shape"),
        (lambda c: {"prompt_shares": c.prompt_shares + 0.1}, "differ by"),
        (lambda c: {"logprobs": c.logprobs[1:]}, "one logprob"),
        (lambda c: {"logprobs": -c.logprobs}, "one logprob"),
        (lambda c: {"logprobs": c.logprobs * float("nan")}, "one logprob"),
        (lambda c: {"prompt_length": 50}, "cannot hold 40 visual tokens|context token"),
        (lambda c: {"context_tokens": c.context_tokens[1:]}, "expected context tokens for"),
        (lambda c: {"prompt_places": (99, *c.prompt_places[1:])}, "place of each prompt token"),
        (lambda c: {"prompt_places": c.prompt_places[1:]}, "place of each prompt token"),
        (lambda c: {"text_attention": c.text_attention[..., 1:]}, r"shape \(token, layer, text\)"),
        (lambda c: {"text_attention": c.text_attention * 0.9}, "sum to the share on text"),
        (lambda c: {"text_attention": c.text_attention * float("nan")}, "differ by nan"),
    ],
)
def test_a_capture_whose_parts_disagree_is_refused(capture: Capture, change: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(capture, **change(capture))


def test_image_tokens_apart_are_refused(small: tuple[Any, Any]) -> None:
    encoded = encode(*small, picture(), PROMPT)
    positions = encoded.image_positions.clone()
    positions[20:] += 3
    apart = replace(encoded, image_positions=positions, prompt_positions=encoded.prompt_positions + 3)
    with pytest.raises(ValueError, match="one run; several images cannot be captured"):
        recording.places_of(apart)
