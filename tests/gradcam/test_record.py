"""Grad-CAM: a spike is drawn where it is; the record."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import visualization
from internals import gradients
from internals.hooks import hooked
from model import decoder_layers, encode
from records.grad_cam import GradCam
from records.look import Look
from records.pictures import image_hash
from records.targets import Contrast
from records.visuals import picture_visual
from tests.gradcam.kit import (
    PROMPT,
    SAMPLES,
    SIGMA,
    cam_of,
    picture,
)

pytestmark = pytest.mark.numeric


# --- A spike is drawn where it is ---


@pytest.mark.parametrize(("grid", "cell"), [((4, 7), (1, 5)), ((6, 3), (4, 0))])
def test_a_spike_is_drawn_inside_its_cell(
    small: tuple[Any, Any], grid: tuple[int, int], cell: tuple[int, int]
) -> None:
    """Features are planted at one visual token: the map, whatever its sign, and the drawing peak there."""
    h, w = grid
    encoded = encode(*small, picture(grid), PROMPT)
    position = encoded.image_positions[cell[0] * w + cell[1]]

    def plant(index: int, module: Any, args: Any, output: torch.Tensor) -> torch.Tensor:
        output = output.clone()
        output[:, position] *= 30
        return output

    with hooked([decoder_layers(small[0])[1]], plant):
        one, other = (
            cam_of(small, grid, layers=[1], noise_std=0, target=Contrast(*pair, at=0)).maps[0]
            for pair in (("x", "y"), ("y", "x"))
        )
    heat = one + other
    assert np.unravel_index(heat.argmax(), grid) == cell
    wide = Image.new("RGB", (500, 180), "white")
    drawn = np.asarray(visualization.overlay(wide, heat, Look("gray", 1.0)))[..., 0]
    rows, cols = np.nonzero(drawn == drawn.max())
    assert cell[0] * 180 / h <= rows.min() <= rows.max() < (cell[0] + 1) * 180 / h
    assert cell[1] * 500 / w <= cols.min() <= cols.max() < (cell[1] + 1) * 500 / w


# --- The record ---


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"visuals": (picture_visual((7, 4), (9, 9), ""),)},
            r"expected maps of shape \(layer, h, w\)=\(4, 7, 4\)",
        ),
        ({"layers": (0, 1, 2)}, r"expected maps of shape \(layer, h, w\)=\(3, 4, 7\)"),
        ({"layers": (0, 1, 1, 2)}, "layers ascending, each once"),
        ({"layers": (0, 1, 2, 4)}, "layer 4 of 5 has no Grad-CAM"),
        ({"maps": np.full((4, 4, 7), np.nan, np.float32)}, "NaN or infinite"),
        ({"maps": np.full((4, 4, 7), -1, np.float32)}, "maps of 0 or above; got -1"),
        ({"scores": np.zeros((0,), np.float32)}, "a score for each sample"),
        ({"tokens": ("a",)}, "10 token ids, but 1 display texts"),
        ({"target_tokens": (10,)}, r"target tokens \(10,\) of an answer of 10"),
        ({"target_tokens": ()}, r"target tokens \(\) of an answer of 10"),
    ],
)
def test_a_record_refuses_parts_that_disagree(
    small: tuple[Any, Any], change: dict[str, Any], message: str
) -> None:
    cam = cam_of(small, num_samples=1)
    with pytest.raises(ValueError, match=message):
        replace(cam, **change)


def test_the_record_says_what_was_done(small: tuple[Any, Any]) -> None:
    cam = cam_of(small, target=[2, 3, 4], seed=5)
    assert (cam.target, cam.target_tokens, cam.text) == ("tokens 2, 3, 4 “red”", (2, 3, 4), "A red box.")
    assert (cam.prompt, cam.image_size, cam.model_name, cam.layer_count) == (PROMPT, (112, 196), "tiny", 5)
    assert json.loads(json.dumps(cam.settings)) == {
        "method": "grad-cam",
        "num_samples": SAMPLES,
        "noise_std": SIGMA,
        "seed": 5,
        "dtype": "float32",
        "attention_backend": "sdpa",
    }


def test_a_map_of_zeros_is_said(small: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        gradients.LayerGradients,
        "at_patches",
        lambda self, features, gradient: torch.zeros(len(features), 28),
    )
    cam = cam_of(small, layers=[1, 2])
    assert cam.notes == tuple(
        f"Layer {layer}'s map is zero everywhere: no visual token's features raise the score there."
        for layer in (1, 2)
    )


# --- Of several pictures ---


def several(maps: np.ndarray, grids: list[tuple[int, int]]) -> GradCam:
    """A record of maps (layer, patch) over pictures of these grids."""
    visuals, first = [], 0
    for number, (h, w) in enumerate(grids):
        visuals.append(
            picture_visual((h, w), (h * 28, w * 28), f"{number}" * 64, f"picture {number + 1}", first)
        )
        first += h * w
    rest: dict[str, Any] = {
        "token_ids": (1,),
        "tokens": ("a",),
        "text": "a",
        "prompt": "p",
        "model_name": "m",
    }
    return GradCam(
        maps, (0, 2), 4, tuple(visuals), np.ones(1, np.float32), "token 0 “a”", (0,), **rest, settings={}
    )


def test_the_part_on_a_picture_is_a_record_of_that_picture() -> None:
    maps = np.random.default_rng(0).random((2, 4 * 3 + 2 * 5)).astype(np.float32)
    cam, image = several(maps, [(4, 3), (2, 5)]), Image.new("RGB", (140, 56), "red")
    part = cam.on(image, 1, 0, "picture 2 of 2")
    np.testing.assert_array_equal(part.maps, maps[:, 12:].reshape(2, 2, 5))
    assert (part.grid, part.image_size, part.image_hash) == ((2, 5), (56, 140), image_hash(image))
    assert (part.target, part.whole) == ("token 0 “a” on picture 2 of 2", cam)
    with pytest.raises(ValueError, match="picture"):
        cam.on(image, 2)


def test_each_layer_counts_alike_for_where_most_of_the_maps_lies() -> None:
    maps = np.zeros((2, 4 + 6), np.float32)
    maps[0, 0], maps[0, 5], maps[1, 7] = (
        1000,
        400,
        0.001,
    )  # the second layer is faint, and all of it on the second
    assert several(maps, [(2, 2), (2, 3)]).hottest == (1, 0)
    assert several(maps[[0, 0]], [(2, 2), (2, 3)]).hottest == (0, 0)
    assert several(np.zeros_like(maps), [(2, 2), (2, 3)]).hottest == (0, 0)
