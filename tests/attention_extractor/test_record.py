"""The extractor: the record."""

from dataclasses import replace
from typing import Any

import pytest

from attention_extractor import AttentionExtractor
from model import encode
from records.capture import Capture
from records.visuals import picture_visual
from tests.attention_extractor.kit import PROMPT, picture

pytestmark = pytest.mark.numeric


def test_a_capture_says_where_it_comes_from(small: tuple[Any, Any]) -> None:
    model, processor = small
    capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 2, 0)
    encoded = encode(model, processor, picture(), PROMPT)
    assert (capture.model_name, capture.image_size) == ("tiny", (224, 140))
    assert (capture.image_hash, capture.prompt_length) == (encoded.visuals[0].hash, encoded.prompt_length)
    assert capture.prompt_tokens == tuple(PROMPT)
    assert capture.settings == {
        "generation": "own",
        "max_new_tokens": 2,
        "temperature": 0,
        "repetition_penalty": 1.0,
        "seed": 0,
        "attention_backend": "sdpa",
        "boxes": "pixels",
        "cell": 28,
        "dtype": "float32",
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda c: {"visuals": (picture_visual((5, 7), (9, 9), ""),)},
            r"patch\)=\(4, 2, head, 35\) for grids \(t, h, w\)=\(1, 5, 7\); got \(4, 2, 6, 40\)",
        ),
        (lambda c: {"visuals": ()}, "at least one picture; got none"),
        (lambda c: {"visuals": c.visuals * 2}, "patches of picture 1 from 40 on; got 0"),
        (lambda c: {"pictures": c.pictures * 2}, "expected 1 pictures; got 2"),
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
    with pytest.raises(ValueError, match="expected the tokens of picture 1 side by side"):
        replace(encoded, image_positions=positions, prompt_positions=encoded.prompt_positions + 3)
