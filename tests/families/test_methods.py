"""Every family: methods that read the answer again, and those that a family does not have."""

from typing import Any

import numpy as np
import pytest
import torch

import viewer
from evaluation.removal import check_map
from evaluation.without_picture import logprobs_without
from methods import METHODS, token_maps
from methods.attended import GENERAL_PROMPT
from methods.flow import ATTENTION_ONLY
from methods.grad_cam import EXPERTS, smooth_grad_cam
from model import FAMILIES, decoder_layers, encode
from tests.families.kit import GRID, HYBRIDS, PROMPT, TOKENS, answer, attended, eager, picture, plain, read
from tests.numerics import assert_same
from tests.tiny_families import HEADS

pytestmark = pytest.mark.numeric

SOME = [1, 4]
READ = [name for name, method in METHODS.items() if method.needs_model]
SPARING: dict[str, dict[str, Any]] = {"occlusion": {"size": 3}, "smooth-grad-cam": {"num_samples": 2}}


def maps_of(family: tuple[Any, Any], kind: str, method: str, **options: Any) -> Any:
    given: dict[str, Any] = {"image": picture(kind), "tokens": SOME, **options}
    return token_maps(method, answer(kind), model=family[0], processor=family[1], **given)


@pytest.mark.parametrize("method", READ)
def test_a_method_has_maps_or_says_why_not(family: tuple[Any, Any], kind: str, method: str) -> None:
    row, built = METHODS[method], FAMILIES[kind]
    refused = (method == "rollout" and kind in HYBRIDS) or (
        method == "gated-attention" and kind not in HYBRIDS
    )
    assert bool(row.refusal(built)) == bool(row.refusal(answer(kind))) == refused
    shown = {one["name"]: one["refused"] for one in viewer.methods_payload("any", answer(kind))}
    assert shown[method] == row.refusal(answer(kind))
    if refused:
        with pytest.raises(ValueError, match=f"^{row.label}: not for this model, .*: take [a-z-]+$"):
            maps_of(family, kind, method)
        return
    found = maps_of(family, kind, method, **SPARING.get(method, {}))
    assert found.maps.shape == (len(SOME), *GRID)
    assert all(heat.any() for heat in found.maps)
    assert found.maps[0].tolist() != found.maps[1].tolist()
    assert (ATTENTION_ONLY in found.notes) == (method == "gradient-attention" and kind in HYBRIDS)
    if method in ("relative", "gradient-attention", "gated-attention"):
        assert set(found.settings["layers"]) <= set(attended(kind))


def test_relative_attention_equals_the_definition(family: tuple[Any, Any], kind: str) -> None:
    found = maps_of(family, kind, "relative", layers=[1, 3], heads=[0, 4], epsilon=0.01)
    general = encode(*family, picture(kind), GENERAL_PROMPT)
    with torch.no_grad():
        below = torch.cat(plain(kind)(**general.inputs, output_attentions=True).attentions)
    below = below[:, :, general.prompt_length - 1, general.image_positions]  # (layer, head, patch)
    encoded, places = read(kind)[1], [attended(kind).index(layer) for layer in (1, 3)]
    for token, heat in zip(SOME, found.maps, strict=True):
        above = eager(kind)[:, :, encoded.prompt_length + token - 1, encoded.image_positions]
        each = (above / (below + 0.01))[places][:, [0, 4]]
        assert_same(heat.reshape(-1), each.mean((0, 1)))


@pytest.mark.parametrize("kind", HYBRIDS)
@pytest.mark.parametrize(("layers", "heads"), [(None, None), ([3], [5, 2])])
def test_gated_attention_equals_the_definition(
    family: tuple[Any, Any], kind: str, layers: Any, heads: Any
) -> None:
    """With the gates worked out again from what the attention gets and the later half of q_proj's rows."""
    found = maps_of(family, kind, "gated-attention", layers=layers, heads=heads)
    gates: dict[int, torch.Tensor] = {}

    def keep(module: Any, args: Any, given: Any) -> None:
        weights = module.q_proj.weight.view(HEADS, 2, module.head_dim, -1)[:, 1]  # (head, dim, channel)
        each = torch.einsum("tc,hdc->thd", given["hidden_states"][0], weights)
        gates[module.layer_idx] = (1 / (1 + torch.exp(-each))).mean(-1)  # (token, head)

    layers_: Any = decoder_layers(plain(kind))
    handles = [
        layers_[layer].self_attn.register_forward_pre_hook(keep, with_kwargs=True) for layer in attended(kind)
    ]
    try:
        with torch.no_grad():
            plain(kind)(**read(kind)[0])
    finally:
        for handle in handles:
            handle.remove()
    encoded = read(kind)[1]
    for token, heat in zip(SOME, found.maps, strict=True):
        row, expected = encoded.prompt_length + token - 1, np.zeros(GRID[0] * GRID[1])
        pairs = [(layer, head) for layer in layers or attended(kind) for head in heads or range(HEADS)]
        for layer, head in pairs:
            attention = eager(kind)[attended(kind).index(layer), head, row, encoded.image_positions]
            expected += (attention * gates[layer][row, head]).numpy() / len(pairs)
        assert_same(heat.reshape(-1), expected)
    assert (found.cost.forward, found.cost.backward) == (1, 0)


@pytest.mark.parametrize("kind", HYBRIDS)
def test_asking_for_a_layer_without_attention_names_those_that_have_it(
    family: tuple[Any, Any], kind: str
) -> None:
    with pytest.raises(ValueError, match=r"layer 2 of this model has no attention; choose .*: 1, 3$"):
        maps_of(family, kind, "gradient-attention", layers=[2, 3])
    assert maps_of(family, kind, "grad-cam", layers=[0, 2]).settings["layers"] == [0, 2]


def test_noise_and_experts_are_told_of(family: tuple[Any, Any], kind: str) -> None:
    asked: dict[str, Any] = {"layers": [1], "target": 4, "answer": answer(kind), "num_samples": 2}
    for noise in (0.0, 0.2):
        cam = smooth_grad_cam(*family, picture(kind), PROMPT, noise_std=noise, **asked)
        assert (EXPERTS in cam.notes) == (noise > 0 and kind.endswith("_moe"))


def test_a_map_is_tested_and_the_picture_is_taken_away(family: tuple[Any, Any], kind: str) -> None:
    capture = answer(kind)
    heat = token_maps("attention", capture).token_map([4])
    check = check_map(*family, picture(kind), capture, [4], heat)
    assert check.hottest[0] == pytest.approx(float(capture.logprobs[4].exp()), rel=1e-3)
    without = logprobs_without(*family, capture)
    assert without.shape == (TOKENS,)
    turn = [{"role": "user", "content": [{"type": "text", "text": PROMPT}]}]
    text = family[1].apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    asked = family[1].tokenizer(text)["input_ids"]
    ids = torch.tensor([[*asked, *capture.token_ids]])
    with torch.no_grad():
        logprobs = plain(kind)(input_ids=ids).logits[0].log_softmax(-1)
    expected = [logprobs[len(asked) + i - 1, token] for i, token in enumerate(capture.token_ids)]
    assert_same(without, expected)
