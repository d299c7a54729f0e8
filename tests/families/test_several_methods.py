"""Every family: the methods on an answer about several pictures, against slow computations."""

from typing import Any

import numpy as np
import pytest
import torch

from evaluation.removal import check_map
from evaluation.without_picture import logprobs_without, without_image
from internals.teacher_forcing import TeacherForced
from methods import METHODS, activation, covered, covering, sink_patches, token_maps, without_sinks
from methods.grad_cam import smooth_grad_cam
from model import decoder_layers, encode
from records.visuals import part_of_map
from tests.families.kit import attended, plain
from tests.families.several import AFTER, BETWEEN, GRIDS, TOKENS, answer, pictures, read
from tests.methods.kit import slow_filter
from tests.numerics import assert_same
from tests.tiny_families import INJECTED, tiny_family

pytestmark = pytest.mark.numeric

TOKEN, PATCHES = 3, sum(h * w for h, w in GRIDS)
SPARING: dict[str, Any] = {"smooth-grad-cam": {"num_samples": 1}, "occlusion": {"size": 3}}


def maps_of(kind: str, method: str, prompt: str = BETWEEN, **given: Any) -> Any:
    model, processor = tiny_family(kind)
    read_by = {"model": model, "processor": processor, "image": pictures(kind)}
    return token_maps(method, answer(kind, prompt), **read_by, **given)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "qwen3_vl", "qwen3_5"])
@pytest.mark.parametrize("method", METHODS)
def test_every_method_has_a_map_of_each_picture(family: tuple[Any, Any], kind: str, method: str) -> None:
    if METHODS[method].refusal(answer(kind, BETWEEN)):
        with pytest.raises(ValueError, match="not for this model"):
            maps_of(kind, method)
        return
    found = maps_of(kind, method, tokens=[1, TOKEN], **SPARING.get(method, {}))
    assert found.maps.shape == (2, PATCHES)
    parts = [found.token_map(TOKEN, visual=number) for number in range(len(GRIDS))]
    assert [part.shape for part in parts] == list(GRIDS)
    assert_same(np.concatenate([part.reshape(-1) for part in parts]), found.maps[1])
    assert all(part.any() for part in parts)
    with pytest.raises(ValueError, match="picture 3"):
        found.token_map(TOKEN, visual=3)


def test_gradient_attention_equals_autograd(family: tuple[Any, Any], kind: str) -> None:
    """With ∂s/∂A at the softmax's own output, and full matrices from the first layer up."""
    found = maps_of(kind, "gradient-attention", tokens=[TOKEN], layers=[1, 3])
    inputs, encoded = read(kind, BETWEEN)
    outputs, size = plain(kind)(**inputs, output_attentions=True), inputs["input_ids"].shape[1]
    row, flow = encoded.prompt_length + TOKEN - 1, torch.eye(size, dtype=torch.float64)
    score = outputs.logits[0, row, answer(kind, BETWEEN).token_ids[TOKEN]]
    slopes = torch.autograd.grad(score, outputs.attentions)
    for layer in (1, 3):
        place = attended(kind).index(layer)
        weighted = (slopes[place] * outputs.attentions[place]).clamp(min=0)[0].detach().double()
        flow = flow + weighted.mean(0) @ flow
    at = (encoded.input_ids == tiny_family(kind)[0].config.image_token_id).nonzero()[:, 0]
    assert_same(found.maps[0], flow[row, at], steps=8192)


def test_grad_cam_is_the_mean_over_all_pictures_patches(family: tuple[Any, Any], kind: str) -> None:
    layer = 2
    assert layer >= INJECTED.get(kind, 0)  # nothing is added to what the layer returns
    capture = answer(kind, AFTER)
    cam = smooth_grad_cam(
        *family, pictures(kind), AFTER, [layer], TOKEN, noise_std=0.0, answer=capture, method="grad-cam"
    )
    inputs, encoded = read(kind, AFTER)
    kept: list[Any] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    handle = decoder_layers(plain(kind))[layer].register_forward_hook(keep)
    try:
        logits = plain(kind)(**inputs).logits[0, encoded.prompt_length + TOKEN - 1]
        logits[capture.token_ids[TOKEN]].backward()
    finally:
        handle.remove()
        plain(kind).zero_grad(set_to_none=True)
    at = (encoded.input_ids == tiny_family(kind)[0].config.image_token_id).nonzero()[:, 0]
    terms = kept[0].detach()[0, at] * kept[0].grad[0, at].mean(0)
    expected = np.maximum(terms.sum(1).numpy(), 0)
    assert_same(cam.maps[0], expected, terms=max(float(terms.abs().max()), 1e-6), steps=8192)
    second = cam.maps[0, GRIDS[0][0] * GRIDS[0][1] :][: GRIDS[1][0] * GRIDS[1][1]]
    assert cam.layer_map(layer, visual=1).tolist() == second.reshape(GRIDS[1]).tolist()


@pytest.mark.parametrize("kind", ["qwen2_5_vl"])
def test_no_window_of_the_filter_spans_two_pictures(
    family: tuple[Any, Any], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = maps_of(kind, "tam", tokens=[TOKEN])
    monkeypatch.setattr(activation, "rank_gaussian", lambda heat: heat)
    raw = maps_of(kind, "tam", tokens=[TOKEN])
    for number in range(len(GRIDS)):
        expected = slow_filter(raw.token_map(TOKEN, visual=number).astype(np.float64))
        assert_same(found.token_map(TOKEN, visual=number), expected, steps=1024)


def test_a_covered_cell_is_that_cell_of_that_picture(kind: str) -> None:
    encoded = encode(*tiny_family(kind), pictures(kind), BETWEEN)
    forced = TeacherForced(tiny_family(kind)[0], encoded, answer(kind, BETWEEN).token_ids, (0,))
    cells = np.zeros(PATCHES, dtype=bool)
    part_of_map(cells, encoded.visuals, 1)[2, 4] = True  # a view
    changed = (covered(forced, cells, covering(forced, "blur")) != forced.pixels).any(1).reshape(PATCHES, -1)
    assert np.flatnonzero(changed.any(1)).tolist() == [GRIDS[0][0] * GRIDS[0][1] + 2 * GRIDS[1][1] + 4]
    alone = TeacherForced(
        tiny_family(kind)[0],
        encode(*tiny_family(kind), pictures(kind)[1], AFTER),
        answer(kind, BETWEEN).token_ids,
        (0,),
    )
    start, stop = (len(forced.pixels) // PATCHES * one for one in (15, 15 + 24))
    for fill in ("mean", "blur"):  # each picture's own
        assert_same(covering(forced, fill)[start:stop], covering(alone, fill))


@pytest.mark.parametrize("prompt", [AFTER, BETWEEN])
def test_a_pictures_map_is_tested_on_it_alone(family: tuple[Any, Any], kind: str, prompt: str) -> None:
    capture = answer(kind, prompt)
    heat = token_maps("attention", capture).token_map(TOKEN, visual=2)
    check = check_map(*family, pictures(kind), capture, TOKEN, heat, visual=2, patches=[1, 12], repeats=2)
    assert check.patches == GRIDS[2][0] * GRIDS[2][1] == 12
    assert check.hottest[0] == pytest.approx(float(capture.logprobs[TOKEN].exp()), rel=1e-3)
    assert check.hottest[2] == pytest.approx(check.random[0][2], rel=1e-3)  # the same picture, whole
    encoded = encode(*family, pictures(kind), prompt)
    forced = TeacherForced(family[0], encoded, capture.token_ids, (TOKEN,))
    pixels = forced.pixels.clone()
    pixels[len(pixels) // PATCHES * 39 :] = covering(forced, "blur")[len(pixels) // PATCHES * 39 :]
    with torch.no_grad():
        logprobs = torch.log_softmax(forced.logits([pixels])[0, 0].float(), -1)
    expected = logprobs[capture.token_ids[TOKEN]].exp()
    assert check.hottest[2] == pytest.approx(float(expected), rel=1e-3)
    with pytest.raises(ValueError, match=r"expected a map of finite values \(h, w\)=\(5, 3\)"):
        check_map(*family, pictures(kind), capture, TOKEN, heat)


def test_without_pictures_the_question_is_text_alone(family: tuple[Any, Any], kind: str) -> None:
    capture = answer(kind, BETWEEN)
    turn = [{"role": "user", "content": [{"type": "text", "text": "Is redder than , or ?"}]}]
    text = family[1].apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    asked = family[1].tokenizer(text)["input_ids"]
    ids = torch.tensor([[*asked, *capture.token_ids]])
    with torch.no_grad():
        logits = plain(kind)(input_ids=ids, mm_token_type_ids=torch.zeros_like(ids)).logits[0]
    expected = torch.log_softmax(logits[len(asked) - 1 : -1], -1)
    expected = expected[range(TOKENS), list(capture.token_ids)]
    assert_same(logprobs_without(*family, capture), expected, terms=10)
    check = without_image(*family, pictures(kind), capture)
    assert_same(check.without, expected, terms=10)
    with pytest.raises(ValueError, match="another picture or prompt"):
        without_image(*family, pictures(kind)[::-1], capture)


def test_what_needs_no_model(kind: str) -> None:
    capture = answer(kind, BETWEEN)
    assert capture.prompt == BETWEEN
    spelled = "".join(capture.prompt[start:end] for start, end in capture.prompt_token_spans)
    assert spelled == BETWEEN.replace("<image>", "")
    sinks = sink_patches(capture, threshold=1.01)
    if sinks:
        found = without_sinks(token_maps("attention", capture), sinks)
        assert f"picture {1 + (sinks[0].patch >= 15) + (sinks[0].patch >= 39)} row " in found.how
