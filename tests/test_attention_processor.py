"""Maps, shares and words against plain re-implementations, planted spikes and the real vocabulary."""

from typing import Any

import numpy as np
import pytest
import torch

from attention_extractor import AttentionExtractor
from attention_processor import Aggregation, AttentionProcessor
from records.capture import Capture
from records.tokens import Vocabulary, spelled
from records.words import Word, grouped_words
from tests.numerics import assert_same
from tests.test_attention_extractor import picture, small_model
from tests.tiny import tiny_tokenizer

LAYERS, RECORDED, HEADS, TOKENS, PROMPT_TOKENS, GRID = 6, (0, 2, 5), 2, 11, 4, (5, 7)
ANSWER = ("The", " red", " cat", " and", " the", " blue", " cat", "'s", " hat", ".", "\n")
ASKED = ("Who", " is", " there", "?")
CONTEXT = ("<|im_start|>", "user", *ASKED, "<|im_end|>", "\n")


def rows(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return random attention (token, layer, head, patch) and shares that belong together."""
    patches = GRID[0] * GRID[1]
    weights = np.random.default_rng(seed).exponential(size=(count, len(RECORDED), HEADS, patches + 2)) ** 2
    weights /= weights.sum(-1, keepdims=True)
    attention = torch.tensor(weights[..., :patches], dtype=torch.float32)
    return attention, torch.cat(
        [attention.sum(-1, keepdim=True), torch.tensor(weights[..., patches:])], -1
    ).float()


def text_rows(shares: torch.Tensor, context: int) -> torch.Tensor:
    """Return attention to text (token, layer, text) that belongs to the shares, nothing on later tokens."""
    tokens, layers = shares.shape[:2]
    weights = torch.rand(tokens, layers, context + tokens, generator=torch.manual_seed(2))
    for token in range(tokens):
        weights[token, :, context + token :] = 0
    return weights / weights.sum(-1, keepdim=True) * shares[..., 1:].sum(-1).mean(2)[..., None]


def made_capture(**changed: Any) -> Capture:
    (attention, shares), (prompt_attention, prompt_shares) = rows(TOKENS, 0), rows(PROMPT_TOKENS, 1)
    text, spans = spelled([token.encode() for token in ANSWER])
    prompt, prompt_spans = spelled([token.encode() for token in ASKED])
    parts: dict[str, Any] = {
        "token_ids": tuple(range(TOKENS)),
        "tokens": ANSWER,
        "text": text,
        "attention": attention,
        "layers": RECORDED,
        "layer_count": LAYERS,
        "grid": GRID,
        "shares": shares,
        "logprobs": -torch.rand(TOKENS),
        "token_spans": spans,
        "prompt": prompt,
        "prompt_token_ids": tuple(range(PROMPT_TOKENS)),
        "prompt_tokens": ASKED,
        "prompt_token_spans": prompt_spans,
        "prompt_attention": prompt_attention,
        "prompt_shares": prompt_shares,
        "prompt_length": GRID[0] * GRID[1] + len(CONTEXT),
        "context_tokens": CONTEXT,
        "prompt_places": tuple(range(2, 2 + PROMPT_TOKENS)),
        "image_size": (140, 196),
        "image_hash": "0" * 64,
        "model_name": "made",
    }
    parts |= changed
    parts.setdefault("text_attention", text_rows(parts["shares"], len(parts["context_tokens"])))
    return Capture(**parts)


@pytest.fixture(scope="module")
def capture() -> Capture:
    return made_capture()


@pytest.fixture(scope="module")
def processor(capture: Capture) -> AttentionProcessor:
    return AttentionProcessor(capture)


def assert_mean(found: Any, expected: Any) -> None:
    """Compare means over some dozens of numbers: to 4 millionths of the largest."""
    assert_same(found, expected, steps=32)


def slow_map(
    attention: torch.Tensor, tokens: list[int], layers: list[int], heads: list[int], aggregation: str
) -> np.ndarray:
    """Return the map cell by cell, by the definition."""
    result = np.zeros(GRID)
    for row in range(GRID[0]):
        for col in range(GRID[1]):
            for token in tokens:
                patch = row * GRID[1] + col
                cells = [
                    float(attention[token, RECORDED.index(layer), head, patch])
                    for layer in layers
                    for head in heads
                ]
                folded = {"mean": sum(cells) / len(cells), "max": max(cells), "min": min(cells)}[aggregation]
                result[row, col] += folded / len(tokens)
    return result


# --- Maps --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("aggregation", ["mean", "max", "min"])
@pytest.mark.parametrize(
    ("tokens", "layers", "heads"),
    [([3], None, None), ([0], [2], [1]), ([1, 4, 10], [0, 5], None), ([7, 2], None, [0])],
)
def test_maps_equal_the_definition(
    capture: Capture,
    processor: AttentionProcessor,
    tokens: list[int],
    layers: list[int] | None,
    heads: list[int] | None,
    aggregation: Any,
) -> None:
    mine = processor.get_attention_heatmap_for_token(tokens, layers, heads, aggregation)
    truth = slow_map(capture.attention, tokens, layers or list(RECORDED), heads or [0, 1], aggregation)
    assert mine.shape == GRID
    assert mine.dtype == np.float32
    assert_mean(mine, truth)


def test_prompt_maps_equal_the_definition(capture: Capture, processor: AttentionProcessor) -> None:
    mine = processor.get_attention_heatmap_for_prompt_token([1, 3], [2, 5], [1], "max")
    assert_mean(mine, slow_map(capture.prompt_attention, [1, 3], [2, 5], [1], "max"))
    assert mine.shape == GRID


def test_a_planted_spike_shows_in_its_cell_and_nowhere_else() -> None:
    attention, shares = rows(TOKENS, 0)
    shares[3, 1, 1] = torch.tensor([0.95, 0.03, 0.02])
    attention[3, 1, 1] = 0.001
    attention[3, 1, 1, 1 * GRID[1] + 4] += (
        0.95 - attention[3, 1, 1].sum()
    )  # token 3, layer 2, head 1, cell (1, 4)
    processor = AttentionProcessor(made_capture(attention=attention, shares=shares))

    def hottest(layers: list[int] | None, heads: list[int] | None) -> tuple[int, int]:
        heat = processor.get_attention_heatmap_for_token(3, layers, heads, "max")
        row, col = divmod(int(heat.argmax()), GRID[1])
        return row, col

    assert hottest(None, None) == hottest([2], [1]) == hottest([2, 5], None) == (1, 4)
    untouched = AttentionProcessor(made_capture())
    elsewhere: list[Any] = [(3, [2], [0]), (3, [0, 5], [1]), (2, None, None), (4, None, None)]
    for choice in elsewhere:
        same = untouched.get_attention_heatmap_for_token(*choice)
        assert np.array_equal(processor.get_attention_heatmap_for_token(*choice), same)


def test_negative_numbers_count_from_the_last(processor: AttentionProcessor) -> None:
    def heat(*choice: Any) -> np.ndarray:
        return processor.get_attention_heatmap_for_token(*choice)

    assert np.array_equal(heat(-1, [-1], [-2]), heat(TOKENS - 1, [LAYERS - 1], [0]))
    assert np.array_equal(heat(-TOKENS, [-4], None), heat(0, [2], None))
    assert np.array_equal(heat(np.int64(4)), heat([4]))
    assert np.array_equal(heat(range(2, 5)), heat((2, 3, 4)))


def test_several_tokens_give_the_mean_of_their_maps(processor: AttentionProcessor) -> None:
    each = [processor.get_attention_heatmap_for_token(token, aggregation="max") for token in (2, 3, 9)]
    together = processor.get_attention_heatmap_for_token([2, 3, 9], aggregation="max")
    assert_mean(together, np.mean(each, axis=0))


def test_uniform_attention_gives_a_constant_map() -> None:
    patches = GRID[0] * GRID[1]
    attention = torch.full((TOKENS, len(RECORDED), HEADS, patches), 0.5 / patches)
    shares = torch.tensor([0.5, 0.3, 0.2]).expand(TOKENS, len(RECORDED), HEADS, 3)
    processor = AttentionProcessor(made_capture(attention=attention, shares=shares))
    aggregations: list[Aggregation] = ["mean", "max", "min"]
    for aggregation in aggregations:
        heat = processor.get_attention_heatmap_for_token(range(TOKENS), aggregation=aggregation)
        assert_mean(heat, np.full(GRID, 0.5 / patches))


def test_float16_is_averaged_in_float32() -> None:
    attention, _ = rows(TOKENS, 0)
    half = AttentionProcessor(made_capture(attention=attention.half()))
    mine = half.get_attention_heatmap_for_token(5)
    assert mine.dtype == np.float32
    assert_mean(mine.ravel(), attention[5].half().double().mean((0, 1)))


def test_a_map_is_the_callers_own(capture: Capture, processor: AttentionProcessor) -> None:
    before = capture.attention.clone()
    processor.get_attention_heatmap_for_token(0, [0], [0])[:] = 9
    processor.shares(0, [0], [0])[:] = 9
    assert torch.equal(capture.attention, before)
    assert float(capture.shares.max()) <= 1


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ((11,), r"there is no token 11: there are 11 \(0 to 10\)"),
        ((-12,), "there is no token -12: there are 11"),
        (([0, 11],), "there is no token 11"),
        (([],), "choose at least one token"),
        ((True,), "a token must be a whole number; got True"),
        ((1.5,), "a token must be a whole number; got 1.5"),
        ((0, [6]), r"there is no layer 6: there are 6 \(0 to 5\)"),
        ((0, [-7]), "there is no layer -7"),
        ((0, [0, 3]), "layer 3 was not recorded; recorded are 0, 2, 5"),
        ((0, [-2]), "layer 4 was not recorded"),
        ((0, []), "choose at least one layer"),
        ((0, None, [2]), r"there is no head 2: there are 2 \(0 to 1\)"),
        ((0, None, []), "choose at least one head"),
        ((0, None, [0.0]), "a head must be a whole number; got 0.0"),
        ((0, None, None, "median"), "aggregation must be one of mean, max, min; got 'median'"),
    ],
)
def test_choices_beyond_the_capture_are_refused(
    processor: AttentionProcessor, choice: tuple[Any, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        processor.get_attention_heatmap_for_token(*choice)


def test_prompt_tokens_beyond_the_prompt_are_refused(processor: AttentionProcessor) -> None:
    with pytest.raises(ValueError, match=r"there is no prompt token 4: there are 4 \(0 to 3\)"):
        processor.get_attention_heatmap_for_prompt_token(4)


def test_an_empty_answer_has_no_maps_and_no_words() -> None:
    attention, shares = rows(0, 0)
    empty = {"token_ids": (), "tokens": (), "token_spans": (), "text": "", "logprobs": torch.empty(0)}
    processor = AttentionProcessor(made_capture(attention=attention, shares=shares, **empty))
    assert processor.words() == []
    with pytest.raises(ValueError, match=r"there is no token 0: there are 0 \(none\)"):
        processor.get_attention_heatmap_for_token(0)
    assert processor.get_attention_heatmap_for_prompt_token(0).shape == GRID


# --- Shares ------------------------------------------------------------------------------------------------


def test_shares_are_means_and_sum_to_one(capture: Capture, processor: AttentionProcessor) -> None:
    mine = processor.shares([4, -1], [5, 0], [1])
    truth = np.zeros(3)
    for token in (4, 10):
        for index in (0, 2):
            truth += capture.shares[token, index, 1].numpy() / 4
    assert_mean(mine, truth)
    assert_mean(processor.shares(3).sum(), 1)
    heat = processor.get_attention_heatmap_for_token(3)
    assert_mean(heat.sum(), processor.shares(3)[0])
    assert_mean(processor.prompt_shares(2, [2], [0]), capture.prompt_shares[2, 1, 0])


# --- Words -------------------------------------------------------------------------------------------------


def words_of(*pieces: str | bytes) -> list[tuple[str, tuple[int, ...]]]:
    """Return (text, tokens) of each word of an answer whose tokens are these."""
    raw = [piece.encode() if isinstance(piece, str) else piece for piece in pieces]
    text, spans = spelled(raw)
    words = grouped_words(text, spans, [str(piece) for piece in pieces])
    assert_covering(words, text, len(pieces))
    return [(word.text, word.tokens) for word in words]


def assert_covering(words: list[Word], text: str, tokens: int) -> None:
    """Check that every token is in a word, and that words and the white space between them make the text."""
    assert {token for word in words for token in word.tokens} == set(range(tokens))
    at = 0
    for word in sorted(words, key=lambda word: (word.start, word.end)):
        if word.start == word.end:
            continue
        assert text[at : word.start].strip() == ""
        assert word.text == text[word.start : word.end]
        at = word.end
    assert text[at:].strip() == ""


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


# --- Text that the answer leaned on ------------------------------------------------------------------------


def test_text_attention_is_the_mean_over_tokens_and_layers(capture: Capture) -> None:
    found = AttentionProcessor(capture).text_attention([3, -1], [0, 5])
    expected = np.zeros(len(CONTEXT) + TOKENS)
    for token in (3, 10):
        for layer in (0, 2):
            expected += capture.text_attention[token, layer].numpy() / 4
    assert_mean(found, expected)
    assert found[len(CONTEXT) + 10] == 0
    shares = AttentionProcessor(capture).shares([3, -1], [0, 5])
    assert_mean(found.sum(), shares[1:].sum())


def test_shares_of_each_layer(capture: Capture) -> None:
    found = AttentionProcessor(capture).layer_shares([1, 4])
    assert found.shape == (len(RECORDED), 3)
    assert_mean(found.mean(0), AttentionProcessor(capture).shares([1, 4]))
    of_head = [[capture.shares[token, 1, head].numpy() for head in range(HEADS)] for token in (1, 4)]
    assert_mean(found[1], np.mean(of_head, axis=(0, 1)))
    one_head = AttentionProcessor(capture).layer_shares(4, [1])
    assert_mean(one_head[2], capture.shares[4, 2, 1])
