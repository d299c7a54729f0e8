"""Grad-CAM: under the seeds' names."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import visualization
from gradcam import (
    SmoothQwenGradCAM,
    get_model_layers,
)
from methods.grad_cam import Noise
from records.look import Look
from report.layers import Style, save_layers
from tests.gradcam.kit import (
    ANSWER,
    LAYERS,
    MODES,
    PROMPT,
    SAMPLES,
    SIGMA,
    cam_of,
    picture,
)
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


def test_smooth_qwen_grad_cam(small: tuple[Any, Any]) -> None:
    layers, count = get_model_layers(small[0])
    assert (len(layers), count) == (LAYERS, LAYERS)
    grad_cam = SmoothQwenGradCAM(*small, target_layer=layers[-2], num_samples=SAMPLES, noise_std=SIGMA)
    superimposed, heatmap = grad_cam.generate_cam(picture(), PROMPT, answer=ANSWER)
    np.testing.assert_array_equal(heatmap, cam_of(small, layers=[3]).maps[0])
    np.testing.assert_array_equal(
        np.asarray(superimposed), np.asarray(visualization.overlay(picture(), heatmap))
    )
    quiet = SmoothQwenGradCAM(*small, target_layer=3, num_samples=9, noise_std=0.0)
    plain = cam_of(small, layers=[3], noise_std=0).maps[0]
    for found in (
        grad_cam.generate_cam(picture(), PROMPT, use_smooth=False, answer=ANSWER),
        quiet.generate_cam(picture(), PROMPT, answer=ANSWER),
    ):
        np.testing.assert_array_equal(found.heatmap, plain)
    assert SmoothQwenGradCAM(*small, 0).noise == Noise(10, 0.1, 0)
    for wrong, message in (
        (layers[-1], "layer 4 is the last one"),
        (-1, "layer 4 is the last one"),
        (5, "there is no layer 5: the model has 5 layers"),
        (torch.nn.Linear(2, 3), "is no decoder layer of this model"),
    ):
        with pytest.raises(ValueError, match=message):
            SmoothQwenGradCAM(*small, wrong)


@pytest.mark.parametrize(("mode", "call", "choice", "layers"), MODES, ids=lambda value: str(value)[:12])
def test_modes_write_their_files(
    small: tuple[Any, Any],
    tmp_path: Path,
    mode: str,
    call: Any,
    choice: dict[str, Any],
    layers: tuple[int, ...],
) -> None:
    folder = tmp_path / "new" / "folder"
    given: dict[str, Any] = {"num_samples": 2, "noise_std": 0.4, "answer": ANSWER, "target": 4, "seed": 1}
    results = call(*small, picture(), PROMPT, save_dir=folder, **choice, **given)
    expected = cam_of(small, layers=list(layers), **given)
    assert tuple(results) == layers
    drawn = {f"layer_{n}_{kind}.png" for n in layers for kind in ("heatmap", "superimposed")}
    drawn |= {"layer_grid.png"} if mode != "single" else set()
    assert {file.name for file in folder.iterdir()} == drawn | {"original.png", "maps.npz"}
    for layer in layers:
        superimposed, heatmap = results[layer]
        assert_same(heatmap, expected.layer_map(layer))
        np.testing.assert_array_equal(
            np.asarray(superimposed), np.asarray(visualization.overlay(picture(), heatmap))
        )
    with Image.open(folder / "original.png") as original:
        np.testing.assert_array_equal(np.asarray(original), np.asarray(picture()))
    with np.load(folder / "maps.npz", allow_pickle=False) as made:
        assert_same(made["maps"], expected.maps)
        assert made["layers"].tolist() == list(layers)
        assert (str(made["answer"]), str(made["target"])) == ("A red box.", "token 4 “d”")
        sizes: dict[str, int] = {"layer": len(layers), "h": 4, "w": 7, "sample": 2}
        for name, axes in json.loads(str(made["axes"])).items():
            for axis, size in zip(axes, made[name].shape, strict=True):
                assert sizes.setdefault(axis, size) == size, (name, axis)
        settings = json.loads(str(made["settings"]))
    assert (settings["gradcam"]["num_samples"], settings["gradcam"]["noise_std"]) == (2, 0.4)
    assert set(settings["drawing"]["files"]) == drawn | {"original.png", "maps.npz"}


def test_the_hottest_cell_is_red_under_jet_and_numbers_stand_beside_it(
    small: tuple[Any, Any], tmp_path: Path
) -> None:
    cam = cam_of(small, num_samples=1)
    told: list[tuple[int, int]] = []
    style = Style(Look("jet", 1.0), "shared")
    save_layers(cam, picture(), tmp_path, "grid", style, lambda *done: told.append(done))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]
    layer = int(cam.maps.reshape(4, -1).max(axis=1).argmax())
    row, col = np.unravel_index(cam.maps[layer].argmax(), cam.grid)
    with Image.open(tmp_path / f"layer_{layer}_superimposed.png") as drawn:
        whole = np.asarray(drawn).astype(int)
    expected = visualization.visualize_attention_on_image(
        picture(), cam.maps[layer], "jet", 1.0, "overlay", title=" ", subtitle=" ", unit="", min_side=640
    )
    x0, y0, x1, y1 = expected.info["picture_box"]
    picked = whole[y0 + int((row + 0.5) * (y1 - y0) / 4), x0 + int((col + 0.5) * (x1 - x0) / 7)]
    assert picked[0] > 120
    assert picked[1:].max() < 20
    with np.load(tmp_path / "maps.npz") as made:
        drawing = json.loads(str(made["settings"]))["drawing"]
    assert (drawing["vmin"], drawing["vmax"]) == (float(cam.maps.min()), float(cam.maps.max()))


def test_another_picture_and_unknown_words_are_refused(small: tuple[Any, Any], tmp_path: Path) -> None:
    cam = cam_of(small, num_samples=1)
    with pytest.raises(ValueError, match="this is not the picture that was explained"):
        save_layers(cam, picture(seed=1), tmp_path)
    with pytest.raises(ValueError, match="mode must be one of single, grid, multi, comparative; got 'all'"):
        save_layers(cam, picture(), tmp_path, "all")
    with pytest.raises(ValueError, match="scale must be 'own' or 'shared'; got 'mine'"):
        Style(scale="mine")
    assert list(tmp_path.iterdir()) == []
