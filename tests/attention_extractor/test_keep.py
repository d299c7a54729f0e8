"""The extractor: what is kept of the heads."""

from dataclasses import replace
from typing import Any

import pytest

import config
from attention_extractor import AttentionExtractor
from internals import recording
from records.capture import Capture
from tests.attention_extractor.kit import HEADS, LAYERS, PROMPT, TOKENS, picture
from tests.keeping import reduced
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric

# Layer 2 has two heads, layer 0 one, layer 1 none.
PAIRS = [(2, 4), (0, 5), (2, 1)]
KEEPS: list[Any] = ["head-mean", PAIRS]
PARTS = ("attention", "shares", "text_attention", "prompt_attention", "prompt_shares")


@pytest.fixture(scope="module")
def full(shared_small: tuple[Any, Any]) -> Capture:
    return AttentionExtractor(*shared_small, float16=False).generate(picture(), PROMPT, TOKENS, 0)


def assert_equal_parts(found: Capture, expected: Capture) -> None:
    for name in PARTS:
        assert_same(getattr(found, name), getattr(expected, name))
    assert (found.layers, found.token_ids, found.text) == (
        expected.layers,
        expected.token_ids,
        expected.text,
    )


@pytest.mark.parametrize("keep", KEEPS)
@pytest.mark.parametrize("block", [64, 4])
def test_a_reduced_answer_is_the_reduction_of_the_full_one(
    small: tuple[Any, Any], full: Capture, monkeypatch: pytest.MonkeyPatch, keep: Any, block: int
) -> None:
    monkeypatch.setattr(recording, "BLOCK", block)
    extractor = AttentionExtractor(*small, float16=False, keep=keep)
    expected = reduced(full, keep)
    written = extractor.generate(picture(), PROMPT, TOKENS, 0)
    assert_equal_parts(written, expected)
    assert written.settings == expected.settings
    read = extractor.read(picture(), PROMPT, full.token_ids)
    assert_equal_parts(read, expected)
    assert read.keep == written.keep == expected.keep


def test_shapes_are_those_of_what_is_kept(small: tuple[Any, Any]) -> None:
    mean = AttentionExtractor(*small, keep="head-mean").generate(picture(), PROMPT, 4, 0)
    pairs = AttentionExtractor(*small, keep=PAIRS).generate(picture(), PROMPT, 4, 0)
    asked, patches = len(mean.prompt_token_ids), 40
    assert mean.attention.shape == (4, LAYERS, 1, patches)
    assert mean.prompt_attention.shape == (asked, LAYERS, 1, patches)
    assert mean.shares.shape == (4, LAYERS, HEADS, 3)
    assert pairs.attention.shape == (4, 2, 2, patches)
    assert pairs.shares.shape == (4, 2, HEADS, 3)
    assert (pairs.layers, pairs.layer_count, pairs.head_count) == ((0, 2), LAYERS, HEADS)
    assert pairs.keep == ((0, 5), (2, 1), (2, 4))
    assert float(pairs.attention[:, 0, 1].abs().max()) == 0  # belongs to no head


def test_all_heads_are_kept_unless_something_else_is_asked_for(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = AttentionExtractor(*small).generate(picture(), PROMPT, 2, 0)
    assert plain.keep == "all"
    assert "keep" not in plain.settings
    monkeypatch.setattr(config, "KEEP", [(1, 0)])
    assert AttentionExtractor(*small).keep == ((1, 0),)
    assert AttentionExtractor(*small).layers == (1,)
    assert AttentionExtractor(*small, layers=[0, 2], keep="all").layers == (0, 2)
    assert AttentionExtractor(*small, layers=[0, 2], keep="head-mean").layers == (0, 2)


@pytest.mark.parametrize("keep", KEEPS)
def test_on_map_hears_the_mean_of_what_is_kept(
    small: tuple[Any, Any], full: Capture, monkeypatch: pytest.MonkeyPatch, keep: Any
) -> None:
    monkeypatch.setattr(recording, "BLOCK", 4)
    monkeypatch.setattr(recording, "MAP_EVERY", 0.0)
    heard: list[Any] = []
    AttentionExtractor(*small, float16=False, keep=keep).generate(
        picture(), PROMPT, TOKENS, 0, on_map=lambda token, one: heard.append(one)
    )
    rows = full.attention.flatten(1, 2)  # (token, layer and head, patch)
    kept = rows if keep == "head-mean" else rows[:, [layer * HEADS + head for layer, head in keep]]
    assert len(heard) == TOKENS
    for one, expected in zip(heard, kept.mean(dim=1), strict=True):
        assert_same(one.ravel(), expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"keep": "mean"}, 'keep must be "all", "head-mean", or a list'),
        ({"keep": [(0, -1)]}, "keep must be"),
        ({"keep": []}, "keep must be"),
        ({"keep": [(0, 6)]}, r"there is no head 6: there are 6 \(0 to 5\)"),
        ({"keep": [(3, 0)]}, "there is no layer 3: the model has 3 layers"),
        ({"keep": [(0, 0)], "layers": [0]}, "either layers, or pairs of a layer and a head to keep"),
    ],
)
def test_what_cannot_be_kept_is_refused(small: tuple[Any, Any], given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AttentionExtractor(*small, **given)


@pytest.mark.parametrize(
    ("keep", "change", "message"),
    [
        ("head-mean", lambda c: {"settings": {}}, "expected shares of shape"),
        ("head-mean", lambda c: {"attention": c.attention.expand(-1, -1, 2, -1)}, "expected 1 rows"),
        ("head-mean", lambda c: {"attention": c.attention * 1.1}, "differ by"),
        ("head-mean", lambda c: {"shares": c.shares * 0.9}, "differ by"),
        ("head-mean", lambda c: {"prompt_shares": c.prompt_shares[:, :, 1:]}, "differ by|as many heads"),
        (PAIRS, lambda c: {"settings": {"keep": [[0, 5], [1, 1], [2, 4]]}}, r"expected layers \(0, 1, 2\)"),
        (PAIRS, lambda c: {"settings": {"keep": [[0, 5], [2, 1], [2, 6]]}}, "head 6 was kept of a model"),
        (PAIRS, lambda c: {"settings": {"keep": [[0, 5], [2, 1], [2, 3]]}}, "differ by"),
        (PAIRS, lambda c: {"settings": {"keep": [[0, 5], [2, 1]]}}, "expected 1 rows"),
        (PAIRS, lambda c: {"attention": c.attention + 0.1}, "differ by"),  # zeros are zeros
        (PAIRS, lambda c: {"settings": {"keep": "some"}}, "keep must be"),
    ],
)
def test_parts_that_disagree_with_what_was_kept_are_refused(
    full: Capture, keep: Any, change: Any, message: str
) -> None:
    capture = reduced(full, keep)
    with pytest.raises(ValueError, match=message):
        replace(capture, **change(capture))
