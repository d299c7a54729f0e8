"""Models larger than the device: parts that accelerate keeps in main memory or on disk until needed.

There the weights are "meta" between two passes, and accelerate brings them. Every figure must be that
of the same model held whole.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model

import config
from attention_extractor import AttentionExtractor
from internals import gradients
from internals.memory import held_by_graph
from methods import METHODS, token_maps
from methods.grad_cam import smooth_grad_cam
from model import FAMILIES, loading
from page.model_room import ModelRoom
from records.capture import Capture
from tests.conftest import traces
from tests.model.kit import PROMPT, noise
from tests.numerics import assert_same
from tests.tiny import tiny_model

pytestmark = pytest.mark.numeric

LAYERS, TOKENS, SAMPLES = 4, 6, 3
PICTURE = noise(112, 196)  # 4 x 7 visual tokens
WITH_MODEL = [
    name for name, row in METHODS.items() if row.needs_model and not row.refusal(FAMILIES["qwen2_5_vl"])
]
CPU = torch.device("cpu")


def whole() -> tuple[Any, Any]:
    model, processor = tiny_model(LAYERS, vocabulary="bytes")
    model.generation_config.eos_token_id = None
    return model, processor


def in_memory(model: Any, folder: Path) -> None:
    """Keep every weight in main memory until its module runs, as on a card that holds one layer."""
    cpu_offload(model, execution_device=CPU)


def on_disk(model: Any, folder: Path) -> None:
    disk_offload(model, str(folder), execution_device=CPU)


def in_part(model: Any, folder: Path) -> None:
    """Keep the vision tower and half of the decoder on disk, the rest in place, as device_map "auto" may."""
    decoder = "model.language_model"
    places = {
        **dict.fromkeys(["lm_head", *(f"{decoder}.{name}" for name in ("embed_tokens", "norm"))], "cpu"),
        **{f"{decoder}.layers.{layer}": "disk" if layer % 2 else "cpu" for layer in range(LAYERS)},
        f"{decoder}.rotary_emb": "cpu",
        "model.visual": "disk",
    }
    dispatch_model(model, places, main_device="cpu", offload_dir=str(folder))


Small = tuple[Any, Any]


@pytest.fixture(scope="module")
def plain() -> Small:
    return whole()


@pytest.fixture(scope="module")
def answer(plain: Small) -> Capture:
    return AttentionExtractor(*plain, float16=False).generate(PICTURE, PROMPT, TOKENS, 2.0, seed=1)


@pytest.fixture(scope="module", params=[in_memory, on_disk, in_part])
def offloaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Small:
    model, processor = whole()
    place: Callable[[Any, Path], None] = request.param
    place(model, tmp_path_factory.mktemp("offloaded"))
    assert any(weight.device.type == "meta" for weight in model.parameters())
    return model, processor


def assert_captures_same(found: Capture, expected: Capture) -> None:
    assert found.token_ids == expected.token_ids
    for name in ("attention", "shares", "text_attention", "prompt_attention", "prompt_shares"):
        assert_same(getattr(found, name), getattr(expected, name))


def test_a_capture_is_that_of_the_model_held_whole(offloaded: Small, answer: Capture) -> None:
    before = traces(offloaded[0])
    extractor = AttentionExtractor(*offloaded, float16=False)
    assert_captures_same(extractor.generate(PICTURE, PROMPT, TOKENS, 2.0, seed=1), answer)
    assert_captures_same(extractor.read(PICTURE, PROMPT, answer.token_ids), answer)
    assert traces(offloaded[0]) == before


@pytest.mark.parametrize("recompute", [False, True])
def test_grad_cam_is_that_of_the_model_held_whole(
    plain: Small, offloaded: Small, answer: Capture, recompute: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also with layers computed again in the backward pass, when their weights have left once more."""
    before = traces(offloaded[0])
    given: Any = {"layers": "all", "num_samples": SAMPLES, "noise_std": 0.1, "answer": answer}
    expected = smooth_grad_cam(*plain, PICTURE, PROMPT, **given)
    monkeypatch.setattr(gradients, "_plan", lambda passes: gradients._Plan(1, recompute))
    found = smooth_grad_cam(*offloaded, PICTURE, PROMPT, **given)
    assert np.abs(found.maps).max() > 0
    assert_same(found.maps, expected.maps)
    assert traces(offloaded[0]) == before


@pytest.mark.parametrize("method", WITH_MODEL)
def test_every_method_gives_the_same_maps_or_says_why_not(
    plain: Small, offloaded: Small, answer: Capture, method: str
) -> None:
    before = traces(offloaded[0])

    def maps(small: Small) -> Any:
        return token_maps(
            method, answer, model=small[0], processor=small[1], image=PICTURE, tokens=[1, 4]
        ).maps

    head = offloaded[0].get_output_embeddings().weight
    if method == "tam" and head.device.type == "meta":
        with pytest.raises(ValueError, match="lm_head is not in memory; TAM needs a model that fits"):
            maps(offloaded)
    else:
        assert_same(maps(offloaded), maps(plain))
    assert traces(offloaded[0]) == before


def test_a_backward_pass_holds_the_weights_that_were_brought_for_it(plain: Small, offloaded: Small) -> None:
    """Of layers above the lowest that is differentiated; those that are in place count as taken already."""
    waiting = [
        sum(weight.nbytes for weight in layer.parameters() if weight.device.type == "meta")
        for layer in offloaded[0].model.language_model.layers
    ]
    assert held_by_graph(offloaded[0], 1) == sum(waiting[2:]) > 0
    assert held_by_graph(plain[0], 1) == 0


def test_a_model_loaded_in_part_from_disk_answers_as_one_held_whole(
    tmp_path: Path, plain: Small, answer: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `device_map="auto"` makes of a card too small for the model, loaded as the page does."""
    plain[0].save_pretrained(tmp_path)
    plain[1].save_pretrained(tmp_path)
    parts = {"model.visual": "disk", "model.language_model": "cpu", "lm_head": "cpu"}
    monkeypatch.setattr(loading, "device_map", lambda _: parts)
    monkeypatch.setattr(config, "DEVICE", "cpu")
    loaded = ModelRoom().load(str(tmp_path))
    assert loaded.model.device.type == "meta"
    assert loaded.place == "CPU, float32"
    extractor = AttentionExtractor(loaded.model, loaded.processor, float16=False)
    assert_captures_same(extractor.read(PICTURE, PROMPT, answer.token_ids), answer)
