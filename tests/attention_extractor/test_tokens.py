"""The extractor: tokens and text."""

from typing import Any

import pytest

from attention_extractor import AttentionExtractor
from records.tokens import Vocabulary, spelled
from tests.attention_extractor.kit import MIXED, PROMPT, picture, scripted

pytestmark = pytest.mark.numeric


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


def test_a_prompt_with_added_tokens_is_kept_as_it_was_written(tiny: tuple[Any, Any]) -> None:
    model, processor = tiny
    prompt = "What is <|box_start|>(3,4)<|box_end|> in <tool_call>"
    capture = AttentionExtractor(model, processor).generate(picture(), prompt, 2, 0)
    assert capture.prompt == prompt
    assert capture.prompt_token_ids == tuple(processor.tokenizer(prompt).input_ids)
    for token, (start, end) in zip(capture.prompt_tokens, capture.prompt_token_spans, strict=True):
        assert token == prompt[start:end]


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
