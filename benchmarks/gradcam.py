"""What Smooth Grad-CAM of all layers costs: one backward pass for all, beside a run for each layer.

    python -m benchmarks.gradcam [--samples 3] [--answer 24] [--grid 8 20] [--proportions real]

A random-weight Qwen2.5-VL with 12 decoder layers, 512 wide, 8 heads on 2 key heads, in float32 on one CPU
thread, sees an image of 160 visual tokens and writes 24 tokens; "all" is the 11 layers below the last. The
proportions are those of benchmarks/capture.py: "real" are the 3B model's, scaled to this width.

"layer by layer" is the procedure of the code that this project began from: for each layer the answer is
generated again, and each noisy sample is a forward pass with logits for the whole sequence and a backward
pass to that layer through a model whose parameters take gradients too. "one pass" is `smooth_grad_cam`, with
the same noise; that both give the same maps is checked and printed.

Time is CPU time of the process in one run, "one pass" before and after the other. Memory is the highest
resident size above that before, measured in a process of its own; that of "layer by layer" does not depend
on the number of layers and samples, and is measured with one of each.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.capture import HEADS, LAYERS, PROMPT, TEXT_CONFIG, WIDTH, peak_mb, picture, random_model
from methods.grad_cam import Noise, smooth_grad_cam
from model import decoder_layers, encode
from records.grad_cam import GradCam
from records.layers import Layers

Grid = tuple[int, int]
SIGMA = 0.15
GROWTH_LAYERS: tuple[Layers, ...] = ([LAYERS - 2], "late", "auto", "all")
GROWTH_SAMPLES = (1, 2, 4)
GROWTH_TOKENS = (0.5, 1.0, 2.0)  # times the picture's width


def one_pass(
    model: Any, processor: Any, grid: Grid, answer: int, layers: Layers = "all", samples: int = 3
) -> GradCam:
    """Return all maps from one answer and one backward pass a sample."""
    return smooth_grad_cam(
        model,
        processor,
        picture(grid),
        PROMPT,
        layers,
        num_samples=samples,
        noise_std=SIGMA,
        max_new_tokens=answer,
    )


def layer_by_layer(
    model: Any, processor: Any, grid: Grid, answer: int, layers: Sequence[int], samples: int
) -> np.ndarray:
    """Return the maps (layer, h, w), each layer with a generation and with samples of its own."""
    maps = []
    for layer in layers:
        encoded = encode(model, processor, picture(grid), PROMPT)
        ids = model.generate(
            **encoded.inputs,
            max_new_tokens=answer,
            do_sample=False,
            repetition_penalty=1.0,
            temperature=1.0,
        )
        total = torch.zeros(grid)
        for index in range(samples):
            total += sample_map(model, encoded, ids, layer, index).view(grid)
        maps.append(total / samples)
    model.zero_grad(set_to_none=True)
    return torch.stack(maps).numpy()


def sample_map(model: Any, encoded: Any, ids: torch.Tensor, layer: int, index: int) -> torch.Tensor:
    """Return the raw map (patch,) of one layer and one sample; gradients pile up in the parameters."""
    kept: list[torch.Tensor] = []

    def keep(module: Any, args: Any, output: torch.Tensor) -> None:
        output.retain_grad()
        kept.append(output)

    said = ids[:, encoded.prompt_length :]
    inputs = encoded.inputs | {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "mm_token_type_ids": torch.cat([encoded.inputs["mm_token_type_ids"], torch.zeros_like(said)], dim=1),
        "pixel_values": Noise(index + 1, SIGMA).noisy(encoded.inputs["pixel_values"], index, 3, 2),
    }
    handle = decoder_layers(model)[layer].register_forward_hook(keep)
    try:
        logits = model(**inputs, use_cache=False).logits[0]
    finally:
        handle.remove()
    rows = torch.arange(encoded.prompt_length - 1, ids.shape[1] - 1)
    logits[rows, said[0]].sum().backward()
    gradient = kept[0].grad
    if gradient is None:
        raise RuntimeError("no gradient reached the layer")
    features = kept[0][0, encoded.image_positions].detach()
    return torch.relu(features @ gradient[0, encoded.image_positions].mean(dim=0))


def cpu_seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the CPU seconds of a run, and its result."""
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def print_comparison(
    model: Any, processor: Any, arguments: argparse.Namespace, peaks: dict[str, float]
) -> None:
    """Measure both and print them side by side."""
    grid, answer, samples = tuple(arguments.grid), arguments.answer, arguments.samples
    one_pass(model, processor, grid, 2, samples=1)  # libraries set themselves up on first use
    times = [cpu_seconds(lambda: one_pass(model, processor, grid, answer, samples=samples))]
    slow, maps = cpu_seconds(
        lambda: layer_by_layer(model, processor, grid, answer, range(LAYERS - 1), samples)
    )
    times.append(cpu_seconds(lambda: one_pass(model, processor, grid, answer, samples=samples)))
    fast = statistics.mean(seconds for seconds, _ in times)
    difference = np.abs(maps - times[0][1].maps).max(axis=(1, 2)) / maps.max(axis=(1, 2))
    print(f"\n{LAYERS - 1} layers, {samples} samples{'CPU s':>15}{'peak MB':>10}")
    print(f"{'layer by layer':22}{slow:15.2f}{peaks['layer by layer']:10.0f}")
    print(f"{'one pass':22}{fast:15.2f}{peaks['one pass']:10.0f}")
    print(f"{'ratio':22}{slow / fast:15.1f}{peaks['layer by layer'] / peaks['one pass']:10.1f}")
    print(f"largest difference of two maps: {difference.max():.1e} of the map's highest value")


def growth(arguments: argparse.Namespace) -> list[tuple[str, str, dict[str, Any]]]:
    """Return what grows, its value as text, and the settings of `one_pass`."""
    h, w = arguments.grid
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("layers", layers if isinstance(layers, str) else "one", {"layers": layers})
        for layers in GROWTH_LAYERS
    ]
    cases += [("samples", str(samples), {"samples": samples}) for samples in GROWTH_SAMPLES]
    wider = [(h, round(w * times)) for times in GROWTH_TOKENS]
    return cases + [("visual tokens", str(grid[0] * grid[1]), {"grid": grid}) for grid in wider]


def settings_of(arguments: argparse.Namespace, change: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of `one_pass` in which everything but the change is as usual."""
    usual = {"grid": tuple(arguments.grid), "answer": arguments.answer, "samples": arguments.samples}
    return {**usual, "layers": "all", **change}


def print_growth(model: Any, processor: Any, arguments: argparse.Namespace, peaks: dict[str, float]) -> None:
    """Measure and print how `one_pass` grows with each of its sizes, the others as usual."""
    print(f"\n{'one pass, by':16}{'':8}{'layers':>8}{'CPU s':>9}{'peak MB':>9}")
    for what, value, change in growth(arguments):
        seconds, cam = cpu_seconds(partial(one_pass, model, processor, **settings_of(arguments, change)))
        print(f"{what:16}{value:>8}{len(cam.layers):8}{seconds:9.2f}{peaks[f'{what} {value}']:9.0f}")


def print_peaks(arguments: argparse.Namespace) -> None:
    """Print the peak memory of every case as JSON. For a process of its own."""
    model, processor = random_model(arguments.proportions, "plain")
    grid, peaks = tuple(arguments.grid), {}
    one_pass(model, processor, grid, 2, samples=1)
    cases = [("one pass", {}), *((f"{what} {value}", change) for what, value, change in growth(arguments))]
    for name, change in cases:
        peaks[name] = peak_mb(partial(one_pass, model, processor, **settings_of(arguments, change)))
    peaks["layer by layer"] = peak_mb(
        lambda: layer_by_layer(model, processor, grid, arguments.answer, [0], 1)
    )
    print(json.dumps(peaks))


def measured_peaks(argv: Sequence[str]) -> dict[str, float]:
    """Return the peak memory of every case, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.gradcam", "--peaks", *argv]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The cost of Smooth Grad-CAM of all layers.")
    parser.add_argument("--samples", type=int, default=3)
    parser.add_argument("--answer", type=int, default=24, help="tokens of the answer")
    parser.add_argument("--grid", type=int, nargs=2, default=[8, 20], help="visual tokens, h w")
    parser.add_argument("--proportions", choices=list(TEXT_CONFIG), default="real")
    parser.add_argument("--peaks", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peaks:
        print_peaks(arguments)
        return
    h, w = arguments.grid
    print(f"{LAYERS} layers, {WIDTH} wide, {HEADS} heads, {arguments.proportions} proportions, float32")
    print(f"{h * w} visual tokens ({h} x {w}), an answer of {arguments.answer} tokens, one thread")
    peaks = measured_peaks(sys.argv[1:])
    model, processor = random_model(arguments.proportions, "plain")
    print_comparison(model, processor, arguments, peaks)
    print_growth(model, processor, arguments, peaks)


if __name__ == "__main__":
    main()
