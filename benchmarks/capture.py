"""What capturing attention costs: plain generation, captured, and output_attentions, side by side.

    python -m benchmarks.capture [--rounds 5] [--tokens 48] [--proportions small real]

A random-weight Qwen2.5-VL with 12 decoder layers, 512 wide, 8 heads on 2 key heads, in float32 on one CPU
thread, sees an image of 1,024 visual tokens (16 x 64) and writes 48 tokens. Two sets of proportions:

small   everything that is not attention kept small, so that nothing hides the cost of the capture: a
        vocabulary of 278, feed-forward layers of 2 x the width, a vision tower of 2 layers, 32 wide
real    as in the 3B model, scaled to this width: a vocabulary of 37,984 (74 x the width), feed-forward
        layers of 5.4 x the width, a vision tower of 8 layers, 320 wide

"plain" is `model.generate` under sdpa with the settings that the capture uses; "captured" is
`AttentionExtractor.generate`, every layer and head, float16 on the CPU; "eager" is `model.generate` with
`output_attentions=True`. All three include reading the image.

Time is CPU time of the process, the three interleaved round by round; medians, ratios taken within each
round. "per token" is what each token after the first costs: 48 tokens less 1, by 47. Memory is the highest
resident size during one generation above that before it, each in a process of its own.
"""

import argparse
import gc
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration

from attention_extractor import AttentionExtractor
from evaluation.memory import resident
from model import encode
from tests.tiny import generation_config, tiny_config, tiny_processor

LAYERS, HEADS, KEY_HEADS, WIDTH = 12, 8, 2, 512
GRID = (16, 64)
PROMPT = "Describe"  # 8 tokens in a vocabulary of bytes, as many as a short question has in the real one
MODES = ("plain", "captured", "eager")
TEXT_CONFIG: dict[str, dict[str, Any]] = {
    "small": {},
    "real": {"vocab_size": 37_984, "intermediate_size": 2752},
}
VISION_CONFIG: dict[str, dict[str, int]] = {
    "small": {},
    "real": {"hidden_size": 320, "intermediate_size": 856, "num_heads": 4},
}
VISION_LAYERS = {"small": 2, "real": 8}
Run = Callable[[int], Any]


def random_model(proportions: str, mode: str) -> tuple[Any, Any]:
    """Return the random model in the given proportions, with its processor."""
    processor = tiny_processor("bytes")
    tokenizer, text = processor.tokenizer, TEXT_CONFIG[proportions]
    config = tiny_config(
        tokenizer, LAYERS, HEADS, KEY_HEADS, WIDTH, vision_layers=VISION_LAYERS[proportions], **text
    )
    for name, value in VISION_CONFIG[proportions].items():
        setattr(config.vision_config, name, value)
    torch.manual_seed(0)
    model = Qwen2_5_VLForConditionalGeneration(config).eval()
    model.generation_config = generation_config(tokenizer)
    model.generation_config.eos_token_id = None  # so that every answer has the same length
    model.set_attn_implementation("eager" if mode == "eager" else "sdpa")
    return model, processor


def picture(grid: tuple[int, int] = GRID) -> Image.Image:
    """Return an image of h x w visual tokens."""
    h, w = grid
    pixels = np.random.default_rng(0).integers(0, 256, (h * 28, w * 28, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def runner(model: Any, processor: Any, mode: str) -> Run:
    """Return a function that generates so many tokens in the given mode."""
    image = picture()
    if mode == "captured":
        extractor = AttentionExtractor(model, processor, store_on_cpu=True, float16=True)

        def captured(tokens: int) -> None:
            capture = extractor.generate(image, PROMPT, max_new_tokens=tokens, generation="greedy")
            if capture.attention.shape != (tokens, LAYERS, HEADS, GRID[0] * GRID[1]):
                raise RuntimeError(f"unexpected capture of shape {tuple(capture.attention.shape)}")

        return captured

    extra = {"output_attentions": True, "return_dict_in_generate": True} if mode == "eager" else {}

    def plain(tokens: int) -> None:
        encoded = encode(model, processor, image, PROMPT)
        model.generate(
            **encoded.inputs,
            max_new_tokens=tokens,
            do_sample=False,
            repetition_penalty=1.0,
            temperature=1.0,
            **extra,
        )

    return plain


def cpu_seconds(run: Run, tokens: int) -> float:
    """Return the CPU seconds of one run."""
    gc.collect()
    start = time.process_time()
    run(tokens)
    return time.process_time() - start


def print_peak_memory(proportions: str, mode: str, tokens: int) -> None:
    """Print the peak of one generation above the size before it, in MB. For a process of its own."""
    run = runner(*random_model(proportions, mode), mode)
    run(2)  # libraries allocate on first use
    print(json.dumps(peak_mb(lambda: run(tokens))))


def peak_mb(run: Callable[[], Any]) -> float:
    """Return the highest resident size during a run above that before it, in MB; NaN off Linux."""
    _, peak = resident(run)
    return float("nan") if peak is None else peak / 2**20


def peak_memory_mb(proportions: str, mode: str, tokens: int) -> float:
    """Return the peak memory of one generation, measured in a new process."""
    command = [sys.executable, "-m", "benchmarks.capture", "--peak", mode]
    command += ["--proportions", proportions, "--tokens", str(tokens)]
    # Every tensor gets memory of its own and gives it back: else the allocator's leftovers are measured too.
    settings = {"OMP_NUM_THREADS": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ | settings)
    return float(json.loads(done.stdout.splitlines()[-1]))


def print_comparison(proportions: str, tokens: int, rounds: int) -> None:
    """Measure and print one table."""
    same = random_model(
        proportions, "plain"
    )  # one set of weights: where they lie in memory is worth some percent
    eager = random_model(proportions, "eager")  # output_attentions leaves hooks behind, so it gets its own
    runs = {mode: runner(*(eager if mode == "eager" else same), mode) for mode in MODES}
    for run in runs.values():
        run(2)
    whole: dict[str, list[float]] = {mode: [] for mode in MODES}
    first: dict[str, list[float]] = {mode: [] for mode in MODES}
    for number in range(rounds):
        order = MODES if number % 2 == 0 else MODES[::-1]
        for mode in order:
            whole[mode].append(cpu_seconds(runs[mode], tokens))
        for mode in order:
            first[mode].append(cpu_seconds(runs[mode], 1))
    print(f"\n{proportions} proportions, {tokens} tokens, median of {rounds} rounds")
    print(f"{'':10}{'CPU s':>9}{'x plain':>9}{'ms/token':>10}{'x plain':>9}{'peak MB':>9}")
    for mode in MODES:
        print(f"{mode:10}" + "".join(figures(whole, first, mode, tokens)), end="")
        print(f"{peak_memory_mb(proportions, mode, tokens):9.0f}")


def figures(
    whole: dict[str, list[float]], first: dict[str, list[float]], mode: str, tokens: int
) -> list[str]:
    """Return seconds, their ratio to plain, milliseconds a token and their ratio, as columns."""
    each = {
        name: [(a - b) / (tokens - 1) for a, b in zip(whole[name], first[name], strict=True)]
        for name in whole
    }
    columns = []
    for times, scale, digits in ((whole, 1, 3), (each, 1000, 2)):
        ratios = [mine / plain for mine, plain in zip(times[mode], times["plain"], strict=True)]
        columns.append(f"{statistics.median(times[mode]) * scale:{9 if digits == 3 else 10}.{digits}f}")
        columns.append(f"{statistics.median(ratios):9.3f}")
    return columns


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description="The cost of capturing attention.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=48)
    parser.add_argument("--proportions", nargs="+", choices=list(TEXT_CONFIG), default=list(TEXT_CONFIG))
    parser.add_argument("--peak", choices=MODES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.peak:
        print_peak_memory(arguments.proportions[0], arguments.peak, arguments.tokens)
        return
    h, w = GRID
    print(f"{LAYERS} layers, {WIDTH} wide, {HEADS} heads, {h * w:,} visual tokens, float32, one thread")
    for proportions in arguments.proportions:
        print_comparison(proportions, arguments.tokens, arguments.rounds)


if __name__ == "__main__":
    main()
