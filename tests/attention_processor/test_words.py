"""The processor: words."""

import numpy as np
import pytest

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from records.tokens import Vocabulary, spelled
from records.words import Word, grouped_words
from tests.attention_extractor.kit import picture, small_model
from tests.attention_processor.kit import assert_covering, assert_mean, words_of
from tests.tiny import tiny_tokenizer


def test_repeated_words_are_told_apart_by_index(processor: AttentionProcessor) -> None:
    words = processor.words()
    assert [(word.text, word.tokens) for word in words] == [
        ("The", (0,)),
        ("red", (1,)),
        ("cat", (2,)),
        ("and", (3,)),
        ("the", (4,)),
        ("blue", (5,)),
        ("cat's", (6, 7)),
        ("hat", (8,)),
        (".", (9,)),
        ("\n", (10,)),
    ]
    assert words[2] == Word("cat", (2,), 8, 11)
    first, second = (processor.get_attention_heatmap_for_token(word.tokens) for word in (words[2], words[6]))
    assert not np.allclose(first, second)
    assert [word.text for word in processor.prompt_words()] == ["Who", "is", "there", "?"]


def test_words_of_latin_text() -> None:
    assert words_of(" un", "believ", "able", "!") == [("unbelievable", (0, 1, 2)), ("!", (3,))]
    assert words_of("don", "'t") == [("don't", (0, 1))]
    assert words_of("don", "’", "t") == [("don’t", (0, 1, 2))]
    assert words_of("well", "-known", "-") == [("well-known", (0, 1)), ("-", (2,))]
    assert words_of("'", "quoted", "'") == [("'", (0,)), ("quoted", (1,)), ("'", (2,))]
    assert words_of("3", ".", "1", "4", ".") == [("3.14", (0, 1, 2, 3)), (".", (4,))]
    assert words_of("at", " ", "12", ":", "30") == [("at", (0,)), (" ", (1,)), ("12:30", (2, 3, 4))]
    assert words_of("e", "tc", ".", " x", "_y") == [("etc", (0, 1)), (".", (2,)), ("x_y", (3, 4))]
    assert words_of("cafe", "\u0301", "s") == [("cafe\u0301s", (0, 1, 2))]


def test_a_token_over_a_border_belongs_to_both_words() -> None:
    assert words_of("object", "(s", ")") == [("object", (0,)), ("(", (1,)), ("s", (1,)), (")", (2,))]
    assert words_of("end", '."', "\n\n", "Next") == [
        ("end", (0,)),
        ('."', (1,)),
        ("\n\n", (2,)),
        ("Next", (3,)),
    ]
    assert words_of("end", ".\n", "Next") == [("end", (0,)), (".", (1,)), ("Next", (2,))]
    assert words_of("a", " ...", " b") == [("a", (0,)), ("...", (1,)), ("b", (2,))]


def test_white_space_and_special_tokens_are_words_of_their_own() -> None:
    assert words_of("a", "  ", " b", "\n") == [("a", (0,)), ("  ", (1,)), ("b", (2,)), ("\n", (3,))]
    assert words_of("\n") == [("\n", (0,))]
    text, spans = spelled([b"a", b"", b" b"])
    assert grouped_words(text, spans, ["a", "<|box_start|>", " b"]) == [
        Word("a", (0,), 0, 1),
        Word("<|box_start|>", (1,), 1, 1),
        Word("b", (2,), 2, 3),
    ]
    assert grouped_words("", (), ()) == []


def test_words_of_scripts_without_spaces() -> None:
    cat, fish = "猫".encode(), "魚".encode()
    assert words_of("一只", "猫", "。") == [("一只", (0,)), ("猫", (1,)), ("。", (2,))]
    assert words_of(cat[:1], cat[1:2], cat[2:]) == [("猫", (0, 1, 2))]
    assert words_of(cat + fish[:1], fish[1:]) == [("猫魚", (0, 1))]  # the fewest that whole tokens spell
    assert words_of("red", "猫", " x") == [("red", (0,)), ("猫", (1,)), ("x", (2,))]
    assert words_of("カ", "ー", "ド") == [("カ", (0,)), ("ー", (1,)), ("ド", (2,))]
    assert words_of("한", "국", "어", " 좋아") == [("한국어", (0, 1, 2)), ("좋아", (3,))]
    assert words_of("สว", "ั", "สด", "ี") == [("สวั", (0, 1)), ("สดี", (2, 3))]
    assert words_of("हि", "न्", "दी") == [("हिन्दी", (0, 1, 2))]


def test_words_of_emoji_and_broken_bytes() -> None:
    family, unicorn = "👩‍👩‍👧", "🦄".encode()
    assert words_of(*[family.encode()[place : place + 3] for place in range(0, 18, 3)]) == [
        (family, (0, 1, 2, 3, 4, 5))
    ]
    assert words_of("a", b" " + unicorn[:2], unicorn[2:], "!") == [("a", (0,)), ("🦄", (1, 2)), ("!", (3,))]
    assert words_of("🇩", "🇪", " ", "1", "\ufe0f", "\u20e3") == [
        ("🇩🇪", (0, 1)),
        (" ", (2,)),
        ("1\ufe0f\u20e3", (3, 4, 5)),
    ]
    assert words_of("🦄", "🦄") == [("🦄", (0,)), ("🦄", (1,))]
    assert words_of("x", unicorn[:2], unicorn[2:3]) == [("x", (0,)), ("⟨F0 9F A6⟩", (1, 2))]
    assert words_of(unicorn[:3], " y") == [("⟨F0 9F A6⟩", (0,)), ("y", (1,))]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("我看到鿂𰻝🦄🫠。", ["我", "看到", "鿂", "𰻝", "🦄", "🫠", "。"]),
        ("A cat isn't a well-known 👍🏽.", ["A", "cat", "isn't", "a", "well-known", "👍🏽", "."]),
        ('(a-b) `x_y`\n\n"ok."', ["(", "a-b", ")", "`", "x_y", "`", '"', "ok", '."']),
        ("👩‍👩‍👧 1,000 ᚠ", ["👩‍👩‍👧", "1,000", "ᚠ"]),
    ],
)
def test_words_of_the_real_vocabulary(text: str, expected: list[str]) -> None:
    tokenizer = tiny_tokenizer("real")
    vocabulary, ids = Vocabulary(tokenizer), tokenizer(text).input_ids
    made, spans = spelled([vocabulary.piece(token) for token in ids])
    words = grouped_words(made, spans, [vocabulary.shown(token) for token in ids])
    assert made == text
    assert_covering(words, text, len(ids))
    assert [word.text for word in words if word.text.strip()] == expected


def test_a_real_capture_is_read_as_it_was_recorded() -> None:
    model, processor = small_model()
    capture = AttentionExtractor(model, processor, layers=[0, 2]).generate(picture(), "Which one?", 9, 0)
    read = AttentionProcessor(capture)
    truth = capture.attention[4, 1, [1, 5]].float().mean(0).reshape(8, 5)
    assert_mean(read.get_attention_heatmap_for_token(4, [-1], [1, 5]), truth)
    assert_covering(read.words(), capture.text, 9)
    assert [word.text for word in read.prompt_words() if word.text.strip()] == ["Which", "one", "?"]
