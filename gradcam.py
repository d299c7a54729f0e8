"""Smooth Grad-CAM under the names that people know: one layer or several, drawn and written into a folder.

Goes in: a model, its processor, an image, a prompt. Comes out: maps by layer, and pictures and files of
them. How they are computed stands in `methods/grad_cam.py`, how they are drawn in `report/layers.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypedDict, Unpack

from PIL import Image
from torch import nn

from methods.grad_cam import Noise, smooth_grad_cam, token_grad_cams
from model import Processor, decoder_layers, model_layer_count
from records.capture import Capture
from records.grad_cam import GradCam
from records.layers import Layers, chosen_layers, comparative_layers
from records.targets import Contrast, Target, Text
from report.layers import LayerCam, Style, save_layers, superimposed
from utils import OnProgress

__all__ = [
    "Contrast",
    "GradCam",
    "LayerCam",
    "Noise",
    "Options",
    "SmoothQwenGradCAM",
    "Style",
    "Text",
    "chosen_layers",
    "comparative_layers",
    "create_comparative_analysis",
    "create_layer_comparison_grid",
    "get_model_layers",
    "save_layers",
    "single_layer_visualization",
    "smooth_grad_cam",
    "token_grad_cams",
    "visualize_multiple_layers",
]


class Options(TypedDict, total=False):
    """What every function below also takes: as `smooth_grad_cam` does, and a style for the pictures."""

    target: Target
    seed: int
    method: str
    max_new_tokens: int | None
    answer: Capture | Sequence[int] | None
    on_progress: OnProgress | None
    stop: threading.Event | None


class SmoothQwenGradCAM:
    """Smooth Grad-CAM of one decoder layer. Nothing stays registered on the model between calls."""

    def __init__(
        self,
        model: Any,
        processor: Processor,
        target_layer: int | nn.Module,
        num_samples: int = 10,
        noise_std: float = 0.1,
    ) -> None:
        """Choose the layer: one of `get_model_layers(model)[0]`, or its number.

        Raises:
            ValueError: for the last layer, with the reason, and for what is no layer of the model.
        """
        self.model, self.processor = model, processor
        self.noise = Noise(num_samples, noise_std)
        (self.layer,), _ = chosen_layers(model_layer_count(model), _layer_number(model, target_layer))

    def generate_cam(
        self, image: Image.Image, prompt: str, use_smooth: bool = True, **options: Unpack[Options]
    ) -> LayerCam:
        """Return (superimposed, heatmap): the map over the picture, and the raw map (h, w), un-normalised.

        Without `use_smooth` it is plain Grad-CAM: one sample and no noise.
        """
        samples, noise = (self.noise.num_samples, self.noise.noise_std) if use_smooth else (1, 0.0)
        cam = smooth_grad_cam(
            self.model,
            self.processor,
            image,
            prompt,
            self.layer,
            num_samples=samples,
            noise_std=noise,
            **options,
        )
        return LayerCam(superimposed(image, cam.maps[0]), cam.maps[0])


def _layer_number(model: Any, layer: int | nn.Module) -> int:
    if not isinstance(layer, nn.Module):
        return layer
    for number, module in enumerate(decoder_layers(model)):
        if module is layer:
            return number
    raise ValueError("the target layer is no decoder layer of this model; see get_model_layers(model)")


def get_model_layers(model: Any) -> tuple[list[nn.Module], int]:
    """Return the decoder layers, first to last, and how many there are. The last has no Grad-CAM."""
    layers = list(decoder_layers(model))
    return layers, len(layers)


def single_layer_visualization(
    model: Any,
    processor: Processor,
    image: Image.Image,
    prompt: str,
    layer_idx: int = -2,
    num_samples: int = 10,
    noise_std: float = 0.15,
    save_dir: str | Path = "results/single",
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return one layer's map, by layer, and write its pictures into `save_dir` (see `save_layers`)."""
    cam = smooth_grad_cam(
        model, processor, image, prompt, layer_idx, num_samples=num_samples, noise_std=noise_std, **options
    )
    return save_layers(cam, image, save_dir, "single", style)


def create_layer_comparison_grid(
    model: Any,
    processor: Processor,
    image: Image.Image,
    prompt: str,
    layer_range: Layers = "auto",
    save_dir: str | Path = "results/grid",
    num_samples: int = 10,
    noise_std: float = 0.15,
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return maps by layer, and write them and a grid of them; `layer_range` as for `chosen_layers`."""
    cam = smooth_grad_cam(
        model, processor, image, prompt, layer_range, num_samples=num_samples, noise_std=noise_std, **options
    )
    return save_layers(cam, image, save_dir, "grid", style)


def visualize_multiple_layers(
    model: Any,
    processor: Processor,
    image: Image.Image,
    prompt: str,
    layer_indices: Layers = "auto",
    save_dir: str | Path = "results/multilayer",
    num_samples: int = 10,
    noise_std: float = 0.15,
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return maps by layer, and write them and a grid with each layer's overlay beside its heatmap."""
    cam = smooth_grad_cam(
        model,
        processor,
        image,
        prompt,
        layer_indices,
        num_samples=num_samples,
        noise_std=noise_std,
        **options,
    )
    return save_layers(cam, image, save_dir, "multi", style)


def create_comparative_analysis(
    model: Any,
    processor: Processor,
    image: Image.Image,
    prompt: str,
    save_dir: str | Path = "results/comparative",
    num_samples: int = 10,
    noise_std: float = 0.15,
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return maps of early, middle and late layers, and write them and a grid with a row of each."""
    layers = comparative_layers(model_layer_count(model))
    cam = smooth_grad_cam(
        model, processor, image, prompt, layers, num_samples=num_samples, noise_std=noise_std, **options
    )
    return save_layers(cam, image, save_dir, "comparative", style)
