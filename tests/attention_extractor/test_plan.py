"""The extractor: what an answer will record at most, said before it begins."""

import re
from dataclasses import replace
from typing import Any

import pytest

from attention_extractor import AttentionExtractor
from internals import memory
from records.keep import Keep
from records.plan import Plan, size_text
from tests.attention_extractor.kit import HEADS, LAYERS, PROMPT, TOKENS, everything, picture

HOW = {
    "all": f"{LAYERS} layers × {HEADS} heads",
    "head-mean": f"{LAYERS} layers × the mean of {HEADS} heads",
    ((0, 5), (2, 1), (2, 4)): "3 heads in 2 layers",
    ((1, 1),): "1 head in 1 layer",
}


@pytest.mark.parametrize("keep", list(HOW))
@pytest.mark.parametrize("float16", [True, False])
def test_the_plan_is_what_is_recorded(small: tuple[Any, Any], float16: bool, keep: Keep) -> None:
    plans: list[Plan] = []
    told: list[str] = []
    capture = AttentionExtractor(*small, float16=float16, keep=keep).generate(
        picture(), PROMPT, TOKENS, 0, on_plan=plans.append, on_token=lambda text, count: told.append(text)
    )
    (plan,) = plans
    assert (plan.visual, plan.new, plan.heads, plan.keep) == (40, TOKENS, HEADS, keep)
    assert plan.layers == len(capture.layers)
    parts = (
        capture.attention,
        capture.shares,
        capture.text_attention,
        capture.prompt_attention,
        capture.prompt_shares,
    )
    assert plan.bytes == sum(part.numel() * part.element_size() for part in parts)
    line = rf"Up to \d MB recorded: 40 visual tokens, at most {TOKENS} new ones, {HOW[keep]}"
    assert re.fullmatch(line, plan.line)
    assert plan.bytes + capture.logprobs.nbytes == capture.bytes


def test_fewer_layers_need_less(small: tuple[Any, Any]) -> None:
    plans: list[Plan] = []
    for layers in (None, [1]):
        AttentionExtractor(*small, layers=layers).generate(picture(), PROMPT, 1, on_plan=plans.append)
    assert plans[0].bytes == LAYERS * plans[1].bytes


def test_what_does_not_fit_is_refused_before_the_model_begins(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = everything(small[0])
    plans: list[Plan] = []
    with monkeypatch.context() as patch:
        patch.setattr(memory, "free_memory", lambda device: 1_000_000)
        extractor = AttentionExtractor(*small)
        with pytest.raises(
            ValueError, match=r"^An answer of 4,000 tokens would record \d+ MB and 1 MB are free: "
        ):
            extractor.generate(picture(), PROMPT, 4000, on_plan=plans.append)
        extractor.generate(picture(), PROMPT, 1, on_plan=plans.append)
    assert len(plans) == 1
    assert everything(small[0]) == before


def test_the_published_3b_shape_is_planned_as_it_was_worked_out() -> None:
    """36 layers × 16 heads, 1,024 tokens over 1,280 patches in float16: 1.51 GB of weights."""
    plan = Plan(visual=1280, text=0, prompt=0, new=1024, layers=36, heads=16, itemsize=2)
    beside = plan.text_bytes + 1024 * 36 * 16 * 3 * 4
    assert plan.text_bytes == 1024 * 36 * 1024 * 4
    assert plan.bytes - beside == 1_509_949_440
    assert replace(plan, keep="head-mean").bytes - beside == 94_371_840
    assert replace(plan, keep="head-mean").bytes < 300e6
    eight = tuple((layer, 3) for layer in range(20, 28))
    assert replace(plan, layers=8, keep=eight).bytes - (beside * 8) // 36 == 20_971_520


@pytest.mark.parametrize(
    ("count", "text"), [(0, "1 MB"), (1_400_000, "1 MB"), (37_000_000, "37 MB"), (1_510_000_000, "1.5 GB")]
)
def test_sizes_are_written_as_people_do(count: int, text: str) -> None:
    assert size_text(count) == text


@pytest.mark.parametrize("keep", list(HOW))
def test_it_is_known_before_the_picture_is_read(small: tuple[Any, Any], keep: Keep) -> None:
    extractor = AttentionExtractor(*small, float16=False, keep=keep)
    for width, height, prompt in ((140, 224, PROMPT), (301, 95, "Was ist “dort” – 鿂?"), (57, 900, "?")):
        plans: list[Plan] = []
        extractor.generate(picture(width, height), prompt, 2, on_plan=plans.append)
        assert [extractor.plan((width, height), prompt, 2)] == plans


def test_a_given_answer_is_planned_by_its_own_length(small: tuple[Any, Any]) -> None:
    extractor = AttentionExtractor(*small)
    capture = extractor.read(picture(), PROMPT, "It is a heart, 鿂.")
    plan = extractor.plan(picture().size, PROMPT, 4000, answer="It is a heart, 鿂.")
    assert plan.new == len(capture.token_ids)
    assert extractor.plan(picture().size, PROMPT, answer=capture.token_ids) == plan


@pytest.mark.parametrize(
    ("size_wh", "prompt", "tokens", "line"),
    [
        ((140, 224), " ", 2, "The prompt is empty."),
        ((140, 224), "a <|image_pad|>", 2, "control token <|image_pad|>"),
        ((140, 224), PROMPT, 0, "max_new_tokens must be at least 1"),
        ((4, 224), PROMPT, 2, "The picture is too small (4 x 224)"),
        ((140, 224), "鿂" * 60, 2, "the model reads fewer than 80"),
    ],
)
def test_it_refuses_what_the_answer_would_be_refused_for(
    small: tuple[Any, Any],
    monkeypatch: pytest.MonkeyPatch,
    size_wh: tuple[int, int],
    prompt: str,
    tokens: int,
    line: str,
) -> None:
    monkeypatch.setattr(small[0].config.text_config, "max_position_embeddings", 80)
    extractor = AttentionExtractor(*small)
    told = []
    for asked in (
        lambda: extractor.plan(size_wh, prompt, tokens),
        lambda: extractor.generate(picture(*size_wh), prompt, tokens),
    ):
        with pytest.raises(ValueError, match=re.escape(line)) as error:
            asked()
        told.append(str(error.value))
    assert told[0] == told[1]
