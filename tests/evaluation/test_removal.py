"""What patches and the picture do to a word, against pictures painted over and read one at a time."""

import io
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import internals.teacher_forcing as forcing
from evaluation.charts import curve_chart
from evaluation.removal import (
    MapCheck,
    central,
    check_map,
    doubling,
    first_cells,
    hottest_first,
    logprobs_covered,
    said,
)
from evaluation.without_picture import PictureCheck, logprobs_without, without_image
from methods import Question
from model import encode
from records.capture import Capture
from tests.conftest import traces
from tests.methods.kit import CELL, LANDSCAPE, LOGITS, MEAN, answer, picture, plain, read, small_model
from tests.numerics import assert_same
from tests.records.kit import map_check
from utils import Stopped, Watch

pytestmark = pytest.mark.numeric
H, W = LANDSCAPE
TOKENS = (2, 3)
OF_TOKENS = ("token_ids", "tokens", "token_spans", "attention", "shares", "logprobs")


@pytest.fixture(scope="module")
def lent() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(lent: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves it changed."""
    before, offset = traces(lent[0]), lent[0].model.rope_deltas
    yield lent
    assert traces(lent[0]) == before, "the test left hooks, modes, gradients or a backend behind"
    assert lent[0].model.rope_deltas is offset


@pytest.fixture
def heat() -> np.ndarray:
    return np.random.default_rng(3).normal(size=LANDSCAPE).astype(np.float32)


def checked(small: tuple[Any, Any], heat: np.ndarray, **given: Any) -> MapCheck:
    return check_map(*small, picture(), answer(), TOKENS, heat, **{"filling": "mean", "repeats": 3, **given})


def painted(cells: np.ndarray) -> Image.Image:
    """Return the picture with these cells in its mean colour."""
    pixels = np.array(picture())
    pixels[np.kron(cells, np.ones((CELL, CELL), dtype=bool))] = MEAN
    return Image.fromarray(pixels)


def probability(small: tuple[Any, Any], image: Image.Image, tokens: tuple[int, ...] = TOKENS) -> float:
    """Return the probability of the answer's tokens, read from a full forward pass of a plain model."""
    inputs, encoded = read(small, image, answer())
    with torch.no_grad():
        logprobs = plain()(**inputs).logits[0].double().log_softmax(dim=1)
    rows = [(encoded.prompt_length + token - 1, answer().token_ids[token]) for token in tokens]
    return float(np.exp(sum(float(logprobs[row, said]) for row, said in rows)))


# --- check this map ---


def test_a_clips_middle_is_the_middle_of_each_step_at_any_time() -> None:
    every = central((4, *LANDSCAPE))
    assert every.shape == (4, *LANDSCAPE)
    for step in every:
        np.testing.assert_array_equal(step, central(LANDSCAPE))
    firsts = {int(hottest_first(every, np.random.default_rng(seed))[0]) // (H * W) for seed in range(40)}
    assert firsts == {0, 1, 2, 3}


def test_removing_the_hottest_patches_is_painting_them_over(small: tuple[Any, Any], heat: np.ndarray) -> None:
    found = checked(small, heat, patches=[3, 9])
    assert found.counts == (0, 3, 9)
    order = sorted(range(H * W), key=lambda cell: -heat.reshape(-1)[cell])
    for count, value in zip(found.counts, found.hottest, strict=True):
        cells = np.isin(np.arange(H * W), order[:count]).reshape(LANDSCAPE)
        assert value == pytest.approx(probability(small, painted(cells)), rel=1e-3)
    assert found.hottest.std() > 0
    assert (found.random[:, 0] == found.hottest[0]).all()
    assert found.central[0] == found.hottest[0]


def test_central_patches_are_those_nearest_to_the_middle(small: tuple[Any, Any], heat: np.ndarray) -> None:
    found = checked(small, heat, patches=2)
    cells = np.zeros(LANDSCAPE, dtype=bool)
    cells[1:3, 3] = True  # of 4 rows and 7 columns
    assert found.counts == (0, 2)
    assert found.central[1] == pytest.approx(probability(small, painted(cells)), rel=1e-3)


def test_it_says_which_cells_were_hidden(small: tuple[Any, Any], heat: np.ndarray) -> None:
    found = checked(small, heat, patches=[2, 6])
    order = sorted(range(H * W), key=lambda cell: -heat.reshape(-1)[cell])
    assert found.hottest_cells.tolist() == order[:6]
    assert found.random_cells.shape == (3, 6)
    assert len({tuple(cells) for cells in found.random_cells}) == 3
    for at, count in ((1, 2), (2, 6)):
        for cells, values in zip(found.random_cells, found.random, strict=True):
            hidden = np.isin(np.arange(H * W), cells[:count]).reshape(LANDSCAPE)
            assert values[at] == pytest.approx(probability(small, painted(hidden)), rel=1e-3)
    assert (found.patches, found.ranked, found.map_key) == (H * W, H * W - 1, "")


def test_cells_below_zero_and_flat_ones_are_ranked_as_they_are(small: tuple[Any, Any]) -> None:
    below = -np.arange(H * W, dtype=np.float32).reshape(LANDSCAPE)
    found = checked(small, below, patches=4)
    assert found.hottest_cells.tolist() == [0, 1, 2, 3]
    flat = np.zeros(LANDSCAPE, np.float32)
    flat[2, 5] = 1
    found = checked(small, flat, patches=4)
    assert found.hottest_cells[0] == 2 * W + 5
    assert len(set(found.hottest_cells)) == 4
    assert (found.ranked, found.note.split(".")[1]) == (
        1,
        " Only 1 of them stands out in the map; the rest are drawn at random",
    )


def test_random_patches_are_drawn_anew_for_each_repeat_and_the_same_for_the_same_seed(
    small: tuple[Any, Any], heat: np.ndarray
) -> None:
    one, same, other = (checked(small, heat, patches=5, seed=seed, repeats=4) for seed in (1, 1, 2))
    assert one.random.shape == (4, 2)
    assert len(set(one.random[:, 1])) == 4
    np.testing.assert_array_equal(one.random, same.random)
    assert (one.random[:, 1] != other.random[:, 1]).all()
    assert_same(one.hottest, other.hottest)  # read beside other pictures: in batches of another make-up


def test_all_patches_removed_leave_the_same_picture_whatever_the_order(
    small: tuple[Any, Any], heat: np.ndarray
) -> None:
    found = checked(small, heat, patches=H * W)
    grey = probability(small, painted(np.ones(LANDSCAPE, dtype=bool)))
    assert [found.hottest[1], found.central[1], *found.random[:, 1]] == pytest.approx([grey] * 5, rel=1e-3)


def test_the_curve_doubles_up_to_half_of_the_patches(small: tuple[Any, Any], heat: np.ndarray) -> None:
    assert [doubling(most) for most in (1, 7, 8, 9)] == [
        (0, 1),
        (0, 1, 2, 4),
        (0, 1, 2, 4, 8),
        (0, 1, 2, 4, 8),
    ]
    steps: list[tuple[int, int]] = []
    found = checked(small, heat, repeats=1, on_progress=lambda done, count: steps.append((done, count)))
    assert found.counts == (0, 1, 2, 4, 8)
    assert found.patches == 28
    assert steps[0][0] == 0
    assert steps[-1][0] == steps[-1][1] <= 1 + 3 * 4  # the picture as it is is read once


def test_equally_hot_patches_are_in_random_order() -> None:
    flat = np.zeros((3, 5))
    flat[1, 2] = 1
    orders = [hottest_first(flat, np.random.default_rng(seed)) for seed in range(200)]
    assert all(order[0] == 7 and sorted(order) == list(range(15)) for order in orders)
    second = np.bincount([order[1] for order in orders], minlength=15)
    assert second[7] == 0
    assert np.delete(second, 7).min() > 0


def test_the_first_cells_of_an_order() -> None:
    expected = [[False, False, True], [True, False, False]]
    np.testing.assert_array_equal(first_cells(np.array([3, 2, 5, 0, 1, 4]), 2, (2, 3)), expected)
    assert not first_cells(np.arange(6), 0, (2, 3)).any()


def test_the_centre_is_hottest_in_the_middle_and_falls_to_each_side() -> None:
    found = central((5, 8))
    np.testing.assert_allclose(found, found[::-1, ::-1])
    assert found.argmax() in (2 * 8 + 3, 2 * 8 + 4)
    assert (np.diff(found[:, 3])[:2] > 0).all()
    assert found[2, 0] == pytest.approx(np.exp(-((0.5 - 0.5 / 8) ** 2) / (2 * 0.04)))


def test_each_different_picture_is_read_once(small: tuple[Any, Any]) -> None:
    none, some = np.zeros(LANDSCAPE, dtype=bool), np.arange(H * W).reshape(LANDSCAPE) < 3
    read_by: list[int] = []
    watch = Watch(lambda done, count: read_by.append(count))
    question = Question(answer(), (1, 4, 6), *small, picture(), watch)
    found = logprobs_covered(question, [some, none, some.copy(), none, some], "mean")
    assert set(read_by) == {2}
    np.testing.assert_array_equal(found[[0, 0, 1]], found[[2, 4, 3]])
    each = [probability(small, painted(some), (token,)) for token in (1, 4, 6)]
    np.testing.assert_allclose(np.exp(found[0]), each, rtol=1e-3)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"patches": 29}, r"a number of patches must be 0 to 28; got 29"),
        ({"patches": [2, True]}, "must be 0 to 28; got True"),
        ({"patches": []}, "choose at least one number of patches"),
        ({"patches": 0}, "choose at least one number of patches"),
        ({"repeats": 0}, "repeats must be a whole number of at least 1; got 0"),
        ({"filling": "noise"}, "fill must be one of mean, blur; got 'noise'"),
        ({"heat": np.zeros((7, 4), np.float32)}, r"\(h, w\)=\(4, 7\); got shape \(7, 4\)"),
        ({"heat": np.full(LANDSCAPE, np.nan)}, "finite values"),
    ],
)
def test_what_cannot_be_checked_is_refused(
    small: tuple[Any, Any], heat: np.ndarray, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        checked(small, **{"heat": heat, **given})


def test_a_check_stops(small: tuple[Any, Any], heat: np.ndarray) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        checked(small, heat, stop=stop)
    with pytest.raises(Stopped):
        without_image(*small, picture(), answer(), stop=stop)


MADE = map_check(
    1,
    counts=(0, 1, 8),
    hottest=np.array([0.98, 0.9, 0.11]),
    random=np.array([[0.98, 0.97, 0.95], [0.98, 0.98, 0.99]]),
    central=np.array([0.98, 0.98, 0.002]),
    hottest_cells=np.array([7, 0, 29, 3, 11, 4, 5, 6]),
    random_cells=np.array([np.arange(8), np.arange(20, 28)]),
    patches=30,
    ranked=30,
    filling="blur",
)


def test_the_sentence_says_what_removing_did() -> None:
    assert MADE.sentence(8) == (
        "Removing these 8 patches takes “red” from 0.98 to 0.11; random 8: 0.97 (0.95 to 0.99 in 2 draws); "
        "centre 8: 0.002."
    )
    assert MADE.sentence(1).startswith("Removing this patch takes “red” from 0.98 to 0.90;")
    assert MADE.telling == 1  # 8 of 30 are more than a quarter
    with pytest.raises(ValueError, match="4 patches were not removed"):
        MADE.sentence(4)


def test_the_curve_as_numbers_and_as_a_plot() -> None:
    lines = [line.split(",") for line in MADE.csv_text().splitlines()]
    assert lines[0] == ["patches", "hottest", "random_mean", "random_std", "centre"]
    assert [float(value) for value in lines[3]] == pytest.approx([8, 0.11, 0.97, 0.02, 0.002])
    known = json.loads(json.dumps(MADE.as_dict()))
    assert known["random"] == MADE.random.tolist()
    assert known["patches"] == [0, 1, 8]
    drawing = curve_chart(replace(MADE, text="$里 x_$"), "Attention")
    panel = drawing.axes[0]
    curves = {line.get_label(): np.asarray(line.get_ydata()) for line in panel.get_lines()}
    np.testing.assert_array_equal(curves["hottest patches: Attention"], MADE.hottest)
    np.testing.assert_array_equal(curves["central patches"], MADE.central)
    file = io.BytesIO()
    drawing.savefig(file, format="png")
    with Image.open(file) as image:
        assert image.size == (640, 400)


# --- is it there at all ---


def test_without_the_picture_the_model_reads_the_same_question_as_text_alone(small: tuple[Any, Any]) -> None:
    found = without_image(*small, picture(), answer())
    encoded = encode(plain(), small[1], picture(), answer().prompt)
    token_id = small[1].tokenizer.convert_tokens_to_ids
    seen = {token_id(name) for name in ("<|vision_start|>", "<|image_pad|>", "<|vision_end|>")}
    asked = [token for token in encoded.input_ids.tolist() if token not in seen]
    assert len(asked) == encoded.prompt_length - H * W - 2
    expected = []
    for token, said_id in enumerate(answer().token_ids):  # one token at a time
        ids = torch.tensor([[*asked, *answer().token_ids[:token]]])
        with torch.no_grad():
            logits = plain()(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]
        expected.append(float(logits.double().log_softmax(dim=0)[said_id]))
    np.testing.assert_allclose(found.without, expected, atol=1e-4)
    with_picture = [np.log(probability(small, picture(), (token,))) for token in range(len(expected))]
    np.testing.assert_allclose(found.with_picture, with_picture, atol=1e-4)
    assert np.abs(found.with_picture - found.without).max() > 0.01


def test_log_probabilities_without_the_picture_are_the_models_own(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = logprobs_without(*small, answer())
    assert whole.dtype == np.float32
    assert whole.shape == (7,)
    turn = [{"role": "user", "content": [{"type": "text", "text": answer().prompt}]}]
    text = small[1].apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    for token, said_id in enumerate(answer().token_ids):  # one token at a time, of the raw distribution
        asked = small[1].tokenizer(text, add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            logits = plain()(input_ids=torch.tensor([[*asked, *answer().token_ids[:token]]])).logits[0, -1]
        expected = float(logits.double()[said_id] - logits.double().exp().sum().log())
        assert_same(whole[token], expected, terms=[LOGITS])
    monkeypatch.setattr(forcing, "BLOCK", 3)
    assert_same(logprobs_without(*small, answer()), whole, terms=[LOGITS])


def test_with_the_picture_is_what_was_recorded(small: tuple[Any, Any]) -> None:
    assert answer().settings["temperature"] == 2.0  # drawn from another distribution than is recorded
    found = without_image(*small, picture(), answer())
    np.testing.assert_array_equal(found.with_picture, answer().logprobs.numpy().astype(np.float64))
    np.testing.assert_array_equal(found.without, logprobs_without(*small, answer()).astype(np.float64))


def test_what_has_no_log_probabilities_without_the_picture(small: tuple[Any, Any]) -> None:
    other = replace(answer(), model_name="another")
    with pytest.raises(ValueError, match="the answer was given by another, not by tiny"):
        logprobs_without(*small, other)
    nothing = {name: getattr(answer(), name)[:0] for name in OF_TOKENS}
    empty = replace(answer(), **nothing, text="", text_attention=answer().text_attention[:0, :, :-7])
    assert logprobs_without(*small, empty).shape == (0,)
    with pytest.raises(ValueError, match="empty answer: there is nothing to check"):
        without_image(*small, picture(), empty)
    stop = threading.Event()
    stop.set()
    with pytest.raises(Stopped):
        logprobs_without(*small, answer(), stop)


def test_a_words_probability_is_the_product_of_its_tokens() -> None:
    found = PictureCheck(
        texts=("No", ",", " it", "s|"),
        with_picture=np.log([0.9, 0.5, 0.8, 0.5]),
        without=np.log([0.8, 0.02, 0.1, 1.0]),
        words=(("No", (0,)), (",", (1,)), ("its|", (2, 3))),
    )
    assert found.of((2, 3)) == pytest.approx((0.4, 0.1))
    assert found.sentence((0,), "No") == (
        "“No” has probability 0.90 with the picture and 0.80 without it: it came from language alone."
    )
    cells = [[cell.strip() for cell in line.split(" | ")] for line in found.table().splitlines()]
    assert [row[-1].strip(" |") for row in cells[2:5]] == ["language alone", "the picture", "both"]
    assert cells[4][0] == "| its\\|"
    against = PictureCheck(("a",), np.log([0.1]), np.log([0.9]), (("a", (0,)),))
    assert "language, against the picture" in against.table()
    known = json.loads(json.dumps(found.as_dict()))
    assert known["words"][2]["without"] == pytest.approx(0.1)
    assert [one["with_picture"] for one in known["tokens"]] == pytest.approx([0.9, 0.5, 0.8, 0.5])


def test_an_answer_to_another_picture_is_refused(small: tuple[Any, Any], heat: np.ndarray) -> None:
    with pytest.raises(ValueError, match="another picture"):
        without_image(*small, picture(seed=5), answer())
    with pytest.raises(ValueError, match="another picture"):
        check_map(*small, picture(seed=5), answer(), 0, heat)


def test_the_text_of_some_tokens_is_what_they_span() -> None:
    capture: Capture = answer()
    start, end = capture.token_spans[1][0], capture.token_spans[3][1]
    assert said(capture, (1, 2, 3)) in (capture.text[start:end].strip(), " ".join(capture.tokens[1:4]))
    empty = next((t for t, (a, b) in enumerate(capture.token_spans) if a == b), None)
    assert empty is None or said(capture, (empty,)) == capture.tokens[empty]
