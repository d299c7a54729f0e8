"""The extractor: layers and storage."""

from typing import Any

import pytest
import torch
from torch import Tensor

from attention_extractor import AttentionExtractor
from internals import recording
from internals.hooks import hooked
from records.layers import decoder_layer_numbers
from tests.attention_extractor.kit import LAYERS, PROMPT, TOKENS, picture, small_model, stop_after
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


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
