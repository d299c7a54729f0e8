"""Methods: what is asked, and the record."""

import json
import re
from dataclasses import replace
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import torch

import config
from methods import METHODS, rank_heads, token_maps
from tests.attention_processor.kit import (
    CONTEXT,
    HEADS,
    RECORDED,
    TOKENS,
    made_capture,
)
from tests.methods.kit import (
    LOCAL,
    OFFERED,
    PORTRAIT,
    WITH_MODEL,
    maps_of,
)

pytestmark = pytest.mark.numeric


def test_every_method_says_what_it_is() -> None:
    assert list(METHODS) == [
        "attention",
        "heads-3",
        "heads-5",
        "heads-8",
        "relative",
        "rollout",
        "gradient-attention",
        "grad-cam",
        "smooth-grad-cam",
        "gradient-norm",
        "tam",
        "occlusion",
        "gated-attention",
    ]
    assert [name for name in OFFERED if name not in WITH_MODEL] == ["attention", *LOCAL]
    assert [name for name, method in METHODS.items() if method.needs] == ["rollout", "gated-attention"]
    for method in METHODS.values():
        assert method.what.endswith(".")
        assert method.caveat.endswith(".")
        assert re.search(r" \d{4}, arXiv \d{4}\.\d{4,5}$", method.paper)
        module, name = method.function.split(":")
        assert callable(getattr(import_module(module), name))
    assert [name for name, method in METHODS.items() if method.folds] == ["attention"]


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("attentoin", {}, "method must be one of attention, heads-3"),
        ("tam", {"layers": [1]}, "Token activation map does not take 'layers'; it takes no options"),
        ("rollout", {"size": 2}, "Attention rollout does not take 'size'; it takes layers, heads"),
        ("attention", {"tokens": 7}, "there is no token 7: there are 7"),
        ("attention", {"layers": [5]}, "there is no layer 5"),
        ("rollout", {"layers": [5]}, "there is no layer 5: the model has 5 layers"),
        ("rollout", {"heads": [4]}, "there is no head 4"),
        ("gradient-attention", {"heads": []}, "choose at least one head"),
        ("attention", {"pairs": []}, "choose at least one pair"),
        ("attention", {"pairs": [(0, 9)]}, "there is no head 9"),
        ("attention", {"pairs": [(0, 1)], "layers": [0]}, "either pairs"),
        ("attention", {"aggregation": "median"}, "aggregation must be one of mean, max, min"),
        ("relative", {"epsilon": 0.0}, "epsilon must be above 0"),
        ("occlusion", {"size": 0}, "size must be a whole number of at least 1"),
        ("occlusion", {"size": 2, "stride": 3}, "stride must be at most the region's size, 2"),
        ("occlusion", {"fill": "black"}, "fill must be one of mean, blur"),
    ],
)
def test_what_cannot_be_used_is_refused(
    small: tuple[Any, Any], method: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        maps_of(small, method, **options)


def test_an_empty_answer_has_no_maps() -> None:
    parts = ("token_ids", "tokens", "token_spans", "text", "attention", "shares", "logprobs")
    none_left = {name: getattr(made_capture(), name)[:0] for name in parts}
    nothing = made_capture(**none_left, text_attention=torch.empty(0, len(RECORDED), 8))
    with pytest.raises(ValueError, match="empty answer"):
        token_maps("attention", nothing)
    with pytest.raises(ValueError, match="empty answer"):
        rank_heads(nothing)


def test_noise_is_configs_as_it_is_when_the_method_runs(
    small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "GRADCAM_SAMPLES", 2)
    monkeypatch.setattr(config, "GRADCAM_NOISE", 0.4)
    found = maps_of(small, "smooth-grad-cam", tokens=3)
    assert (found.settings["num_samples"], found.settings["noise_std"]) == (2, 0.4)
    assert found.cost.forward == 2
    expected = maps_of(small, "smooth-grad-cam", tokens=3, num_samples=2, noise_std=0.4)
    np.testing.assert_allclose(found.maps, expected.maps, rtol=1e-5)
    monkeypatch.setattr(config, "GRADCAM_SAMPLES", 3)
    assert maps_of(small, "smooth-grad-cam", tokens=3).cost.forward == 3
    norm = maps_of(small, "gradient-norm", tokens=3)  # which is without noise whatever config says
    assert (norm.settings["num_samples"], norm.settings["noise_std"]) == (1, 0.0)


def test_what_each_method_chooses_itself(small: tuple[Any, Any]) -> None:
    late, below = [2, 3, 4], [2, 3]  # of five layers; of those below the last
    expected: dict[str, Any] = {
        "relative": {"layers": late, "heads": [0, 1, 2, 3], "pairs": None, "epsilon": 1 / 18},
        "rollout": {"layers": late, "heads": [0, 1, 2, 3]},
        "gradient-attention": {"layers": late, "heads": [0, 1, 2, 3]},
        "grad-cam": {"layers": below},
        "gradient-norm": {"layers": below, "num_samples": 1, "noise_std": 0.0},
        "occlusion": {"size": 1, "stride": 1, "fill": "mean", "regions": 18},
    }
    for method, chosen in expected.items():
        found = maps_of(small, method, PORTRAIT, tokens=6)
        assert {name: found.settings[name] for name in chosen} == chosen
        assert found.notes == ()
        assert json.loads(json.dumps(found.settings)) == found.settings
        assert found.cost.seconds > 0
    larger = maps_of(small, "occlusion", (9, 8), tokens=0)
    assert [larger.settings[name] for name in ("size", "stride", "regions")] == [2, 1, 8 * 7]
    dark = replace(
        made_capture(),
        attention=torch.zeros_like(made_capture().attention),
        shares=torch.tensor([0.0, 0.6, 0.4]).expand(TOKENS, len(RECORDED), HEADS, 3),
        text_attention=torch.eye(len(CONTEXT) + TOKENS)[:1].expand(TOKENS, len(RECORDED), -1),
    )
    assert token_maps("attention", dark, tokens=3).notes == ("The map of token 3 is zero everywhere.",)
    plainly = token_maps("attention", made_capture()).settings
    assert (plainly["layers"], plainly["heads"]) == (list(RECORDED), list(range(HEADS)))
