"""The viewer's data: how likely the words were, tests of maps, methods, and maps of some tokens only."""

import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

import viewer
from methods import METHODS
from records import measured
from records.token_maps import TokenMaps
from tests.attention_processor.kit import GRID, PROMPT_TOKENS, TOKENS, made_capture
from tests.records.kit import map_check
from tests.viewer.payload.kit import FLAT, attention_of, maps_of, read_back
from viewer.methods import best_method


def shown(capture: Any, *maps: TokenMaps | None, **given: Any) -> dict[str, Any]:
    return json.loads(json.dumps(viewer.payload(capture, None, *maps, **given), allow_nan=False))


# --- With and without the picture ---


def test_log_probabilities_with_and_without_the_picture(capture: Any) -> None:
    assert shown(capture, FLAT)["answer"]["without"] is None
    without = -np.geomspace(0.001, 20, TOKENS).astype(np.float32)
    data = shown(capture, FLAT, without=without)
    np.testing.assert_allclose(data["answer"]["logprobs"], capture.logprobs.numpy(), atol=1e-5)
    np.testing.assert_allclose(data["answer"]["without"], without, atol=1e-5)
    assert "logprobs" not in data["prompt"]
    assert "without" not in data["prompt"]


def test_what_was_all_but_impossible_is_a_number(capture: Any) -> None:
    worst = np.full(TOKENS, -np.inf, np.float32)
    sure = replace(capture, logprobs=torch.full((TOKENS,), 5e-5))
    data = shown(sure, FLAT, without=worst)
    assert data["answer"]["without"] == [-100.0] * TOKENS
    assert data["answer"]["logprobs"] == [0.0] * TOKENS


def test_another_number_of_tokens_is_refused(capture: Any) -> None:
    with pytest.raises(ValueError, match=r"log p without the picture of 11 tokens; got shape \(10,\)"):
        viewer.payload(capture, None, FLAT, without=np.zeros(TOKENS - 1))


# --- Maps of some tokens ---


def test_maps_of_some_tokens_say_which(capture: Any) -> None:
    values = np.random.default_rng(4).random((3, *GRID)).astype(np.float32)
    data = shown(capture, TokenMaps("tam", (2, 5, 10), values))
    assert data["answer"]["have"] == [2, 5, 10]
    np.testing.assert_allclose(read_back(data["answer"]["maps"]), values.reshape(3, -1), atol=2e-5)
    assert len(data["answer"]["shares"]) == TOKENS
    assert shown(capture, FLAT)["answer"]["have"] is None
    assert "have" not in data["prompt"]


def test_maps_of_what_is_not_there_are_refused(capture: Any) -> None:
    one = np.zeros((1, *GRID), np.float32)
    with pytest.raises(ValueError, match=r"expected maps of shape \(11, 5, 7\)"):
        viewer.payload(capture, None, TokenMaps("tam", (TOKENS,), one))
    part = TokenMaps("attention", (1,), one, of_prompt=True)
    with pytest.raises(ValueError, match=f"maps of all {PROMPT_TOKENS} tokens of the prompt; got 1"):
        viewer.payload(capture, None, FLAT, part)


# --- Tests of maps ---


def test_tested_maps_come_with_what_they_were_and_which_maps_are_shown(capture: Any) -> None:
    answer, prompt = attention_of(capture)
    tests = [map_check(1, 2, map_key=answer.key), map_check(3, map_key="tam-0")]
    data = shown(capture, answer, prompt, checks=tests)
    assert data["checks"] == [json.loads(json.dumps(one.as_dict())) for one in tests]
    assert (data["method"]["id"], data["method"]["key"]) == ("attention", answer.key)
    assert [one["map_key"] == data["method"]["key"] for one in data["checks"]] == [True, False]
    assert shown(capture, answer)["checks"] == []


# --- Methods ---


def test_every_method_is_told_three_of_them_first(capture: Any) -> None:
    listed = shown(capture, FLAT)["methods"]
    assert [one["short"] for one in listed[:3]] == ["Fast", "Best", "Causal"]
    assert [one["name"] for one in listed[:3]] == ["attention", "gradient-attention", "occlusion"]
    assert [one["group"] for one in listed] == ["first"] * 3 + ["more"] * (len(METHODS) - 3)
    assert {one["name"] for one in listed} == set(METHODS)
    for one in listed:
        row = METHODS[one["name"]]
        for name in ("label", "sentence", "cost", "paper", "caveat", "needs_model"):
            assert one[name] == getattr(row, name)
        assert (one["cost"] == "free") == (not row.needs_model)
    assert len(json.dumps(listed)) < 8000


def test_what_is_said_of_methods_is_plain() -> None:
    assert METHODS["attention"].sentence == "where this word's attention went; free"
    assert METHODS["gradient-attention"].sentence == "attention that pushed this word up"
    assert METHODS["occlusion"].sentence == "what the word loses when each part is hidden; slow"
    for row in METHODS.values():
        assert not re.search(r"logit|patch|nats|chain|gradient|token\b", row.sentence)
        assert row.sentence[0].islower() or row.sentence.startswith("Grad-CAM")
        assert not row.sentence.endswith(".")
        assert len(row.short) <= 13
    shorts = [row.short for row in METHODS.values()]
    assert len(set(shorts)) == len(shorts)


def test_figures_are_those_of_the_model_that_was_measured() -> None:
    ours = {one["name"]: one for one in viewer.methods_payload("demo")}
    assert ours["gradient-attention"]["measured"] == (
        "On this model's scenes its hottest patch lay on the named thing for 99 of 100 words; "
        "a blind guess gets 9."
    )
    assert ours["gradient-attention"]["found"] == measured.measured()["Gradient × attention"]["pointing"]
    others = viewer.methods_payload("Qwen/Qwen2.5-VL-3B-Instruct")
    assert {(one["measured"], one["found"]) for one in others} == {("Not measured on this model yet.", None)}
    unmeasured = ours["heads-3"]
    assert (unmeasured["measured"], unmeasured["found"]) == ("Not measured on this model yet.", None)


def test_best_is_what_measured_best_and_of_equals_what_lies_more_on_the_thing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = measured.measured()
    assert figures["Attention rollout"]["pointing"] == figures["Gradient × attention"]["pointing"]
    assert figures["Attention rollout"]["energy"] < figures["Gradient × attention"]["energy"]
    assert measured.ranked()[0][0] == best_method().label == "Gradient × attention"
    better = {"pointing": 1.0, "energy": 0.5}
    monkeypatch.setattr(
        measured, "measured", lambda: {**figures, "Occlusion": better, "Gradient norm": better}
    )
    assert best_method().name == "gradient-norm"  # Causal has its own place
    assert [one["short"] for one in viewer.methods_payload("demo")[:3]] == ["Fast", "Best", "Causal"]
    monkeypatch.setattr(measured, "measured", dict)
    assert best_method().name == "gradient-attention"


def test_a_payload_of_another_model_says_so(capture: Any) -> None:
    assert all(one["found"] is None for one in shown(capture, FLAT)["methods"])
    bundled = shown(made_capture(model_name="demo"), maps_of(np.zeros((TOKENS, *GRID))))
    assert bundled["methods"][0]["found"] == pytest.approx(0.967, abs=0.001)
