"""The extractor: streaming, stopping, failing; two at a time."""

import threading
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import internals.recording as recording_room
from attention_extractor import AttentionExtractor
from internals.hooks import hooked
from records.capture import Capture
from tests.attention_extractor.kit import (
    PROMPT,
    TOKENS,
    everything,
    picture,
    small_model,
    stop_after,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


# --- Streaming, stopping, failing ---


def test_stop_ends_the_answer_between_tokens(small: tuple[Any, Any]) -> None:
    extractor = AttentionExtractor(*small, float16=False)
    full = extractor.generate(picture(), PROMPT, TOKENS, 0)
    on_token, stop = stop_after(4)
    part = extractor.generate(picture(), PROMPT, TOKENS, 0, on_token=on_token, stop=stop)
    assert (part.stopped, full.stopped) == (True, False)
    assert part.token_ids == full.token_ids[:4]
    assert_same(part.attention, full.attention[:4])
    first = extractor.generate(picture(), PROMPT, TOKENS, 0, stop=stop)  # set before it began
    assert (first.stopped, first.token_ids) == (True, full.token_ids[:1])


def test_on_token_hears_every_token(small: tuple[Any, Any]) -> None:
    heard: list[tuple[str, int]] = []
    capture = AttentionExtractor(*small).generate(
        picture(), PROMPT, TOKENS, 0, on_token=lambda text, count: heard.append((text, count))
    )
    assert [count for _, count in heard] == list(range(1, TOKENS + 1))
    for (earlier, _), (later, _) in pairwise(heard):
        assert later.startswith(earlier)
    assert len(heard[-1][0]) > 0
    assert len(capture.token_ids) == TOKENS


@pytest.mark.parametrize("block", [64, 4])
def test_on_map_hears_where_the_attention_of_a_token_went(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    """The mean over layers and heads that the finished answer has; also right after a block was filed."""
    monkeypatch.setattr(recording_room, "BLOCK", block)
    monkeypatch.setattr(recording_room, "MAP_EVERY", 0.0)
    extractor = AttentionExtractor(*small, float16=False)
    plain = extractor.generate(picture(), PROMPT, TOKENS, 0)
    heard: list[tuple[int, Any]] = []
    capture = extractor.generate(
        picture(), PROMPT, TOKENS, 0, on_map=lambda token, one: heard.append((token, one))
    )
    assert [token for token, _ in heard] == list(range(TOKENS))
    for token, one in heard:
        assert one.shape == capture.grid
        truth = capture.attention[token].float().mean(dim=(0, 1)).reshape(capture.grid)
        assert_same(torch.from_numpy(one), truth)
    assert_same(capture.attention, plain.attention)  # it is recorded as without
    assert capture.token_ids == plain.token_ids


def test_on_map_is_not_called_all_too_often(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(1000))
    monkeypatch.setattr(recording_room, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    monkeypatch.setattr(recording_room, "MAP_EVERY", 4)  # the clock goes on by one at each look
    heard: list[int] = []
    AttentionExtractor(*small).generate(
        picture(), PROMPT, TOKENS, 0, on_map=lambda token, _: heard.append(token)
    )
    assert heard == [4, 8]  # a look to decide, and one more after each map


@pytest.mark.parametrize("kind", [ZeroDivisionError, KeyboardInterrupt, GeneratorExit])
def test_an_error_in_on_token_propagates_and_restores(
    small: tuple[Any, Any], kind: type[BaseException]
) -> None:
    def fail(text: str, count: int) -> None:
        if count == 3:
            raise kind

    extractor = AttentionExtractor(*small)
    with pytest.raises(kind):
        extractor.generate(picture(), PROMPT, TOKENS, 0, on_token=fail)
    assert len(extractor.generate(picture(), PROMPT, 2, 0).token_ids) == 2  # and the model is free again


@pytest.mark.parametrize("step", [0, 2])
def test_an_error_inside_the_model_restores(small: tuple[Any, Any], step: int) -> None:
    model, processor = small
    calls = []

    def fail(index: int, module: Any, args: Any, output: Any) -> None:
        calls.append(index)
        if len(calls) > step:
            raise ZeroDivisionError

    before = everything(model)
    with hooked([model.model.language_model.layers[1].mlp], fail), pytest.raises(ZeroDivisionError):
        AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
    assert everything(model) == before


def test_half_a_registration_is_undone(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, processor = small
    extractor = AttentionExtractor(model, processor)

    def fail(hook: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(model.model.language_model.layers[2].self_attn, "register_forward_hook", fail)
    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        extractor.generate(picture(), PROMPT, TOKENS, 0)
    assert everything(model) == before


def test_a_switch_that_fails_halfway_is_undone(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, processor = small
    switch = model.set_attn_implementation

    def fail(names: dict[str, str]) -> None:
        switch(names)
        if names["text_config"].startswith("captured_"):
            raise ZeroDivisionError

    monkeypatch.setattr(model, "set_attn_implementation", fail)
    before = everything(model)
    with pytest.raises(ZeroDivisionError):
        AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0)
    assert everything(model) == before


def test_modes_and_gradients_are_as_before(small: tuple[Any, Any]) -> None:
    model, processor = small
    layers = model.model.language_model.layers
    layers[1].train()
    layers[2].mlp.up_proj.weight.requires_grad_(False)
    before = everything(model)
    seen = set()

    def look(index: int, module: Any, args: Any, output: Any) -> None:
        seen.add(module.training)

    try:
        with hooked([layers[1]], look):
            capture = AttentionExtractor(model, processor).generate(picture(), PROMPT, 2, 0)
        assert everything(model) == before
    finally:
        layers[1].eval()
        layers[2].mlp.up_proj.weight.requires_grad_(True)
    assert seen == {False}
    assert not capture.attention.requires_grad


def test_someone_elses_switch_is_noticed(small: tuple[Any, Any]) -> None:
    model, processor = small

    def switch(text: str, count: int) -> None:
        model.set_attn_implementation({"text_config": "eager"})

    with pytest.raises(RuntimeError, match="backend was switched"):
        AttentionExtractor(model, processor).generate(picture(), PROMPT, TOKENS, 0, on_token=switch)


# --- Two at a time ---


def test_a_second_capture_on_one_model_is_refused(small: tuple[Any, Any]) -> None:
    messages = []

    def again(text: str, count: int) -> None:
        with pytest.raises(RuntimeError, match="already at work for another answer") as refusal:
            AttentionExtractor(*small).generate(picture(), PROMPT, 1, 0)
        messages.append(str(refusal.value))

    capture = AttentionExtractor(*small).generate(picture(), PROMPT, 3, 0, on_token=again)
    assert len(messages) == len(capture.token_ids) == 3


def test_two_models_in_two_threads_do_not_mix() -> None:
    models = [small_model(seed=0), small_model(seed=1)]
    prompts = ["First?", "And the other one?"]
    pictures = [picture(), picture(308, 84, seed=1)]
    settings: list[dict[str, Any]] = [{"temperature": 0.9, "seed": 5}, {"temperature": 1.1, "seed": 6}]

    def run(which: int, on_token: Any = None) -> Capture:
        extractor = AttentionExtractor(*models[which], layers=[[0, 1], [1, 2]][which], float16=False)
        return extractor.generate(
            pictures[which], prompts[which], TOKENS, on_token=on_token, **settings[which]
        )

    alone = [run(0), run(1)]
    turn = threading.Barrier(2, timeout=60)  # token by token, side by side
    together: list[Capture | None] = [None, None]

    def work(which: int) -> None:
        together[which] = run(which, lambda text, count: turn.wait())

    threads = [threading.Thread(target=work, args=(which,)) for which in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for mine, other in zip(together, alone, strict=True):
        assert mine is not None
        assert (mine.token_ids, mine.layers, mine.grid) == (other.token_ids, other.layers, other.grid)
        assert_same(mine.attention, other.attention)
