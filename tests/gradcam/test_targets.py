"""Grad-CAM: contrast, tokens one by one; the answer."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from internals import gradients
from internals.hooks import hooked
from methods.grad_cam import smooth_grad_cam, token_grad_cams
from records.targets import Contrast, Text
from tests.gradcam.kit import (
    ANSWER,
    LANDSCAPE,
    LOGITS,
    PROMPT,
    SIGMA,
    Calls,
    cam_of,
    picture,
    pixels_seen,
    slow_map,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


# --- Contrast, tokens one by one ---


def test_contrast_is_antisymmetric_before_relu(small: tuple[Any, Any]) -> None:
    def score(logits: torch.Tensor, length: int) -> torch.Tensor:
        return logits[length + 1, ord("r")] - logits[length + 1, ord("g")]

    one = cam_of(small, target=Contrast("red", "green", at=2), noise_std=0)
    other = cam_of(small, target=Contrast("green", "red", at=2), noise_std=0)
    assert_same(one.scores, -other.scores, terms=LOGITS)
    for layer in (0, 3):
        signed = slow_map(small, LANDSCAPE, ANSWER, None, layer, score, relu=False)
        assert_same(one.layer_map(layer) - other.layer_map(layer), signed)
        assert not (one.layer_map(layer) * other.layer_map(layer)).any()
    assert other.text == "A green"
    assert one.text == "A red box."


@pytest.mark.parametrize("at_once", [1, 2])
def test_maps_of_all_tokens_equal_each_alone_and_share_their_forward_passes(
    small: tuple[Any, Any], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(at_once))
    given: dict[str, Any] = {"num_samples": 2, "noise_std": SIGMA, "answer": ANSWER}
    with pixels_seen(small[0]) as seen, hooked([small[0].model.language_model], note := Calls()):
        together = token_grad_cams(*small, picture(), PROMPT, "all", **given)
    assert (len(seen), note.count) == (2, 2 // at_once)
    assert len(together) == len(ANSWER)
    for token in (0, 4, 9):
        alone = cam_of(small, target=token, num_samples=2)
        assert_same(together[token].maps, alone.maps)
        assert_same(together[token].scores, alone.scores, terms=LOGITS)
        assert (together[token].target, together[token].target_tokens) == (alone.target, (token,))
    few = token_grad_cams(*small, picture(), PROMPT, "all", [-1, 4], **given)
    assert [one.target_tokens for one in few] == [(4,), (9,)]
    assert_same(few[1].maps, together[9].maps)


# --- The answer ---


def test_the_answer_is_generated_once_and_is_the_likeliest(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 6, temperature=0.0)
    calls, plain = [], AttentionExtractor.generate

    def counted(*given: Any, **more: Any) -> Any:
        calls.append(given)
        return plain(*given, **more)

    monkeypatch.setattr(AttentionExtractor, "generate", counted)
    made = cam_of(small, answer=None, max_new_tokens=6)
    assert len(calls) == 1
    assert (made.token_ids, made.text, made.tokens) == (capture.token_ids, capture.text, capture.tokens)
    given, ids = cam_of(small, answer=capture), cam_of(small, answer=list(capture.token_ids))
    cam_of(small, answer=None, target=Text("mine"))
    assert len(calls) == 1
    np.testing.assert_array_equal(made.maps, given.maps)
    np.testing.assert_array_equal(made.maps, ids.maps)
    assert made.image_hash == capture.image_hash
    assert made.image_size == capture.image_size == (112, 196)


def test_an_answer_to_something_else_is_refused(small: tuple[Any, Any]) -> None:
    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 3, temperature=0.0)
    message = "the answer was given to another picture or prompt, or by another model"
    for image, prompt, answer in (
        (picture(seed=1), PROMPT, capture),
        (picture(), "Where?", capture),
        (picture(), PROMPT, replace(capture, model_name="another")),
    ):
        with pytest.raises(ValueError, match=message):
            smooth_grad_cam(*small, image, prompt, answer=answer)
