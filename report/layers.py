"""Pictures and files of a Grad-CAM: each layer's map over the picture, and all of them in one grid.

Goes in: a `GradCam` and its picture. Comes out: Pillow pictures, PNG files, arrays for an NPZ. Knows
nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image

import config
import visualization
from drawing.characters import isolated
from drawing.outline import whole_of
from records.grad_cam import LABELS, GradCam
from records.layers import layer_thirds
from records.look import Look
from records.pictures import image_hash
from utils import OnProgress, described_arrays, one_line, save_arrays, shown
from visualization import save_image

Mode = Literal["single", "grid", "multi", "comparative"]
MODES: tuple[str, ...] = get_args(Mode)
GRID_FILE = "layer_grid.png"


class LayerCam(NamedTuple):
    """What is returned of a layer: the map over the picture, and the map."""

    superimposed: Image.Image  # RGB, of the picture's size
    heatmap: NDArray[np.float32]  # (h, w), raw


@dataclass(frozen=True)
class Style:
    """How maps are drawn: look (its view is not read), and whether all layers share one range of values."""

    look: Look = field(default_factory=Look)
    scale: str = field(default_factory=lambda: config.HEATMAP_SCALE)

    def __post_init__(self) -> None:
        if self.scale not in ("own", "shared"):
            raise ValueError(f"scale must be 'own' or 'shared'; got {shown(self.scale)}")

    def looks_at(self, cam: GradCam) -> list[Look]:
        """Return the look of each layer, with the range of all layers if they share it.

        What is a part of maps of several pictures is drawn by the measure of all of them.
        """
        every = cam.maps if cam.whole is None else cam.whole.maps.reshape(len(cam.layers), -1)
        look = self.look if self.scale == "own" else visualization.shared_look(self.look, every)
        if cam.whole is None:
            return [look] * len(cam.layers)
        return [replace(look, whole=whole_of(one.astype(np.float64))) for one in every]


def save_layers(
    cam: GradCam,
    image: Image.Image,
    save_dir: str | Path,
    mode: str = "grid",
    style: Style | None = None,
    on_progress: OnProgress | None = None,
) -> dict[int, LayerCam]:
    """Write the pictures of all layers into a folder, each file whole or not at all; return them by layer.

    `layer_N_heatmap.png` and `layer_N_superimposed.png` for each layer, `original.png`, `maps.npz` (raw maps
    and what they were made from, read without pickle), and but for mode "single" `layer_grid.png`: all layers
    in order ("grid"), each beside its heatmap ("multi"), or in rows early, middle and late ("comparative").
    `on_progress(layers drawn, layers in all)` is called after each.

    Raises:
        ValueError: for another picture than the one that was explained, or an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {shown(mode)}")
    if image_hash(image) != cam.image_hash:
        raise ValueError("this is not the picture that was explained")
    folder, style = Path(save_dir), style or Style()
    looks = style.looks_at(cam)
    files = ["original.png", "maps.npz", *([GRID_FILE] if mode != "single" else [])]
    drawn = {}
    for done, (layer, look) in enumerate(zip(cam.layers, looks, strict=True), start=1):
        files += _save_layer(cam, image, layer, look, folder)
        drawn[layer] = LayerCam(superimposed(image, cam.layer_map(layer), look), cam.layer_map(layer))
        if on_progress is not None:
            on_progress(done, len(cam.layers))
    if mode != "single":
        save_image(layer_grid(cam, image, mode, looks), folder / GRID_FILE)
    save_image(visualization.as_rgb(image), folder / "original.png")
    drawing = {**asdict(looks[0]), "scale": style.scale, "mode": mode, "files": sorted(files)}
    save_arrays(folder / "maps.npz", arrays_of(cam, drawing))
    return drawn


def superimposed(image: Image.Image, heatmap: NDArray[np.float32], look: Look | None = None) -> Image.Image:
    """Return the map over the picture, without a colour bar."""
    return visualization.overlay(image, heatmap, replace(look or Look(), view="overlay"))


def _save_layer(cam: GradCam, image: Image.Image, layer: int, look: Look, folder: Path) -> list[str]:
    """Write the two pictures of a layer, with title and colour bar; return their names."""
    names = {view: f"layer_{layer}_{name}.png" for view, name in _VIEWS.items()}
    for view, name in names.items():
        picture = visualization.visualize_attention_on_image(
            image,
            cam.layer_map(layer),
            **{**asdict(look), "view": view},
            title=f"layer {layer} of 0 to {cam.layer_count - 1}",
            subtitle=f"{isolated(cam.target)} · {method(cam)}",
            scale_label=LABELS[cam.settings["method"]],
            unit="",
            min_side=visualization.MIN_SIDE,
            max_side=visualization.MAX_SIDE,
        )
        save_image(picture, folder / name)
    return list(names.values())


_VIEWS = {"heatmap": "heatmap", "overlay": "superimposed"}


def method(cam: GradCam) -> str:
    """Return how the maps were made, for people."""
    samples, noise = cam.settings["num_samples"], cam.settings["noise_std"]
    name = LABELS[cam.settings["method"]]
    return f"Smooth {name}, {samples} samples, noise {noise:g}" if noise else name[0].upper() + name[1:]


def layer_grid(cam: GradCam, image: Image.Image, mode: str, looks: Sequence[Look]) -> Image.Image:
    """Return all layers in one picture, in order, arranged as the mode says; `looks` are those of each."""
    maps, labels = list(cam.maps), [f"layer {layer}" for layer in cam.layers]
    pictures, columns = _in_view(image, maps, looks, "overlay"), None
    if mode == "multi":
        alone_ = _in_view(image, maps, looks, "heatmap")
        pictures = [picture for pair in zip(pictures, alone_, strict=True) for picture in pair]
        maps, labels = ([one for one in both for _ in range(2)] for both in (maps, labels))
        looks = [look for look in looks for _ in range(2)]
        columns = 2 * math.ceil(len(cam.layers) / 6)
    if mode == "comparative":
        thirds = layer_thirds(cam.layer_count)
        of = {layer: name for name, third in thirds.items() for layer in third}
        labels = [f"{of[layer]}: layer {layer}" for layer in cam.layers]
        columns = max(1, len(cam.layers) // len({of[layer] for layer in cam.layers}))
    subtitle = f"{isolated(cam.target)} · {method(cam)} · {cam.layer_count} layers"
    title = one_line(cam.text) or cam.target
    words = {"title": title, "subtitle": subtitle, "scale_label": LABELS[cam.settings["method"]]}
    return visualization.map_grid(pictures, maps, labels, looks, columns, **words, unit="")


def _in_view(
    image: Image.Image, maps: Sequence[NDArray[np.float32]], looks: Sequence[Look], view: str
) -> list[Image.Image]:
    return visualization.thumbnails(image, maps, [replace(look, view=view) for look in looks])


def arrays_of(cam: GradCam, drawing: Mapping[str, Any] | None = None) -> dict[str, NDArray[Any]]:
    """Return the record as arrays for an NPZ; `axes` and `settings` are JSON."""
    named: dict[str, tuple[NDArray[Any], str]] = {
        "maps": (cam.maps, "layer,h,w"),
        "layers": (np.array(cam.layers), "layer"),
        "scores": (cam.scores, "sample"),
        "token_ids": (np.array(cam.token_ids), "token"),
        "tokens": (np.array(cam.tokens), "token"),
        "target_tokens": (np.array(cam.target_tokens), "target token"),
    }
    facts = {
        "grid": cam.grid,  # (h, w)
        "image_size": cam.image_size,  # (h, w)
        "image_hash": cam.image_hash,
        "model": cam.model_name,
        "layer_count": cam.layer_count,
        "prompt": cam.prompt,
        "answer": cam.text,
        "target": cam.target,
        "notes": " ".join(cam.notes),
    }
    return described_arrays(named, facts, {"gradcam": cam.settings, "drawing": dict(drawing or {})})
