"""The extractor: exactness; other backends."""

from typing import Any

import pytest
import torch
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from attention_extractor import AttentionExtractor
from internals import attention_rows, recording
from model import encode
from tests.attention_extractor.kit import (
    HEADS,
    LAYERS,
    PROMPT,
    TOKENS,
    answer_ids,
    picture,
    plain,
    scripted,
    shares_of,
    small_model,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


# --- Exactness ---


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


# --- Other backends ---


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
