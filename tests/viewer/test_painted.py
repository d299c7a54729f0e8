"""Glow, spotlight and outline are the same in the browser and in Python's pictures, to 2 of 255."""

import base64
import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import visualization
from drawing import glow
from drawing.colours import palette
from drawing.outline import border_segments, half_cells
from records.look import Look
from tests.drawn import pixels
from tests.slow_glow import scene, spiky
from tests.viewer.test_node import needs_node

SHAPES = {  # map (h, w), picture (height, width)
    "landscape": ((5, 8), (60, 103)),
    "portrait": ((9, 4), (120, 51)),
    "strip": ((2, 23), (20, 301)),
    "one cell": ((1, 1), (13, 17)),
}
LOOKS: dict[str, dict[str, Any]] = {
    "smooth": {},
    "cells": {"smooth": False},
    "contrast": {"gamma": 0.5},
    "more contrast": {"gamma": 2.0, "smooth": False},
    "strength": {"alpha": 0.35},
    "shared": {"shared": True},
    "alone": {"view": "heatmap"},
    "spotlight": {"view": "spotlight"},
    "spotlight, cells": {"view": "spotlight", "smooth": False, "alpha": 0.6, "gamma": 1.5},
    "a colour map's spotlight": {"view": "spotlight", "colormap": "magma", "gamma": 0.8, "smooth": False},
    "and smooth": {"view": "spotlight", "colormap": "magma", "smooth": True},
}
OTHERS = 2  # maps that share a scale with the one that is drawn


def in_node(*asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what the viewer's functions give for each case."""
    needs_node()
    run = subprocess.run(
        ["node", str(Path(__file__).with_name("painted.js"))],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    answers: list[dict[str, Any]] = json.loads(run.stdout)
    return answers


def rgb_of(answer: dict[str, Any], size_hw: tuple[int, int]) -> np.ndarray:
    """Return the pixels (H, W, 3); each has to be opaque."""
    rgba = np.frombuffer(base64.b64decode(answer["pixels"]), np.uint8).reshape(*size_hw, 4).astype(int)
    assert (rgba[..., 3] == 255).all()
    return rgba[..., :3]


def asked_of(image: Image.Image, values: np.ndarray, look: Look, others: list[np.ndarray]) -> dict[str, Any]:
    """Return a case as JSON."""
    return {
        "kind": "painted",
        "rgba": base64.b64encode(image.convert("RGBA").tobytes()).decode(),
        "width": image.width,
        "height": image.height,
        "warmth": glow.warmth(image),
        "values": values.ravel().tolist(),
        "grid": values.shape,
        "range": None if look.is_glow else visualization.value_range(values, look),
        "gamma": look.gamma,
        "smooth": look.smooth,
        "strength": look.alpha,
        "view": look.view,
        "shared": [one.ravel().tolist() for one in others] or None,
    }


def without_outline(drawn: Image.Image, image: Image.Image, values: np.ndarray, look: Look) -> np.ndarray:
    """Return Python's pixels, nan where its outline is: the browser draws that itself."""
    found = pixels(drawn).astype(float)
    if look.view != "spotlight":
        plain = Image.new("RGB", image.size, (255, 0, 255))
        outline = pixels(visualization.outlined(plain.copy(), half_cells(values)))
        found[(outline != pixels(plain)).any(2)] = np.nan
    return found


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("shape", SHAPES)
def test_python_and_the_browser_draw_the_same_pixels(shape: str, name: str) -> None:
    grid, size = SHAPES[shape]
    settings = {"colormap": "glow", **LOOKS[name]}
    values = spiky(grid).astype(np.float64)
    others = [spiky(grid, seed) ** 3 for seed in range(OTHERS)] if settings.pop("shared", False) else []
    look = Look(**settings)
    if others:
        look = visualization.shared_look(look, [values, *others])
    images = [scene(*size, warm=warm) for warm in (False, True)]
    answers = in_node(*(asked_of(image, values, look, others) for image in images))
    for image, answer in zip(images, answers, strict=True):
        drawn = without_outline(visualization.in_view(image, values, look), image, values, look)
        seen = ~np.isnan(drawn)
        assert seen.mean() > 0.1
        assert np.abs(drawn - rgb_of(answer, size))[seen].max() <= 2


def test_where_nothing_is_hot_the_browser_keeps_a_cold_picture_exactly() -> None:
    image = scene(40, 90, warm=False).crop((30, 2, 60, 20))  # all of one blue
    values = np.zeros((4, 9))
    values[3, 8] = 1
    look = Look("glow", smooth=False)
    flat = [np.full((4, 9), 0.02), np.zeros((4, 9)), -np.ones((4, 9))]
    assert glow.warmth(image) == 0
    spiked, *rest = in_node(*(asked_of(image, one, look, []) for one in (values, *flat)))
    away = rgb_of(spiked, (18, 30))[:13, :26]
    np.testing.assert_array_equal(away, pixels(image)[:13, :26])
    for answer in rest:
        np.testing.assert_array_equal(rgb_of(answer, (18, 30)), pixels(image))


def test_the_outline_is_around_the_same_cells_by_the_same_lines() -> None:
    maps = [spiky(shape, seed).astype(float) for shape, _ in SHAPES.values() for seed in range(4)]
    maps += [np.array([[0.0, 3, 1, 3], [3, 3, 0, -9], [3, 0, 3, 3]]), np.full((3, 4), 0.1), np.zeros((2, 3))]
    asked = [{"kind": "outline", "values": one.ravel().tolist(), "grid": one.shape} for one in maps]
    for one, answer in zip(maps, in_node(*asked), strict=True):
        cells = half_cells(one)
        assert answer["cells"] == np.flatnonzero(cells).tolist()
        assert answer["segments"] == [list(segment) for segment in border_segments(cells)]


def test_both_bars_have_the_same_colours() -> None:
    asked = [{"kind": "bar", "isSpotlight": is_spotlight} for is_spotlight in (False, True)]
    for name, answer in zip(("glow", "spotlight"), in_node(*asked), strict=True):
        assert np.abs(rgb_of(answer, (1, 256))[0] - palette(name).astype(int)).max() <= 1
