"""What several tests here share."""

import json
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as rle

from attention_extractor import AttentionExtractor
from evaluation import (
    Evaluation,
    Judged,
    JudgedWord,
    Rows,
    Sample,
    Spent,
    Value,
    evaluate,
)
from methods import Cost
from records.capture import Capture
from records.words import Word
from tests.methods.kit import LANDSCAPE, PORTRAIT, picture

RNG = np.random.default_rng(0)


def brute_otsu(values: np.ndarray) -> float:
    """Return the edge with the smallest variance within the classes, every one of 256 bins tried."""
    low, high = values.min(), values.max()
    place = np.minimum(((values - low) / (high - low) * 256).astype(int), 255)
    least, best = np.inf, 0
    for first_above in range(1, 256):
        lower, upper = place[place < first_above], place[place >= first_above]
        within = lower.size * lower.var() + upper.size * upper.var()
        if within < least - 1e-6:
            least, best = within, first_above
    return float(low + (high - low) * best / 256)


def words_of(text: str) -> list[Word]:
    found, at = [], 0
    for number, part in enumerate(text.split()):
        start = text.index(part, at)
        at = start + len(part)
        found.append(Word(part, (number,), start, at))
    return found


def evaluation(
    values: list[Value], rows: tuple[str, ...] = ("a", "centre prior"), seed: int = 0
) -> Evaluation:
    return Evaluation(
        values=tuple(values),
        spent={row: Spent(1.5, 0, 0.25, 12_300_000, 4) for row in rows},
        settings={"model": "m", "dtype": "float32", "device": "cpu", "filling": "blur", "memory": "somehow"},
        answers=4,
        skipped={"words of wrong answers": 3, "nothing": 0},
        seed=seed,
    )


def mask_of(grid: tuple[int, int], rows: slice, cols: slice) -> np.ndarray:
    mask = np.zeros((28 * grid[0], 28 * grid[1]), dtype=bool)
    mask[rows, cols] = True
    return mask


MASKS = {
    "x": mask_of(LANDSCAPE, slice(20, 60), slice(90, 150)),
    "y": mask_of(PORTRAIT, slice(0, 40), slice(10, 70)),
}


def sample(group: str) -> Sample:
    """Return a sample of two words and a function word; the words are tokens, whatever they say."""

    def judge(capture: Capture) -> Judged:
        words = (JudgedWord((1, 2), MASKS[group], "object"), JudgedWord((4,), MASKS[group], "colour"))
        return Judged(words, ((3,), (0, 5)), {"left out": 2})

    return Sample(group, picture(LANDSCAPE if group == "x" else PORTRAIT), "Is red here?", judge)


def run(small: tuple[Any, Any], *explainers: Any, groups: str = "xy", **given: Any) -> Evaluation:
    settings = {"count": len(groups), "curves": 0, "max_new_tokens": 6, **given}
    return evaluate(*small, (sample(group) for group in groups), explainers, **settings)


def spike(value: float, row: int, col: int) -> Callable[[Any], Rows]:
    def make(case: Any) -> Rows:
        maps = np.zeros((len(case.tokens), *case.capture.grid), dtype=np.float32)
        maps[:, row, col] = value
        return Rows({"spike": maps, "flat": np.ones_like(maps)}, Cost(2, 3, 0.5))

    return make


def generated(small: tuple[Any, Any], given: Sample) -> Capture:
    extractor = AttentionExtractor(*small, store_on_cpu=True, float16=False)
    return extractor.generate(given.image, given.prompt, max_new_tokens=6, temperature=0.0)


def filled() -> Evaluation:
    figures = ("pointing", "energy", "obj_iou", "deletion")
    values = [
        Value(row, figure, "word", group, shift + 0.1 * "xyz".index(group))
        for row, shift in (("a", 0.3), ("centre prior", 0.0))
        for group in "xyz"
        for figure in figures
    ]
    values += [Value(row, "func_iou", "function", g, 0.5) for row in ("a", "centre prior") for g in "xyz"]
    return evaluation(values)


def instances(folder: Path, change: Callable[[dict[str, Any]], None] = lambda data: None) -> Path:
    """Write a folder in COCO format: a cat twice (polygons), a crowd of people, a dog, one of no picture."""
    (folder / "annotations").mkdir(parents=True)
    (folder / "val").mkdir()
    Image.fromarray(RNG.integers(0, 255, (80, 120, 3), dtype=np.uint8)).save(folder / "val" / "one.png")
    Image.fromarray(RNG.integers(0, 255, (60, 90, 3), dtype=np.uint8)).save(folder / "val" / "two.png")
    crowd = np.zeros((80, 120), dtype=np.uint8, order="F")
    crowd[50:70, 5:100] = 1
    runs = [len(list(run)) for _, run in groupby(crowd.reshape(-1, order="F"))]  # the first is of zeros
    packed: dict[str, Any] = {**rle.encode(np.asfortranarray(np.eye(60, 90, dtype=np.uint8)))}
    packed["counts"] = packed["counts"].decode()
    data: dict[str, Any] = {
        "images": [
            {"id": 1, "file_name": "one.png", "height": 80, "width": 120},
            {"id": 2, "file_name": "two.png", "height": 60, "width": 90},
            {"id": 3, "file_name": "gone.png", "height": 60, "width": 90},
            {"id": 4, "file_name": "empty.png", "height": 60, "width": 90},
        ],
        "categories": [{"id": 7, "name": "cat"}, {"id": 9, "name": "person"}, {"id": 4, "name": "dog"}],
        "annotations": [
            annotation(1, 1, 7, [[10, 10, 30, 10, 30, 20, 10, 20]]),
            annotation(2, 1, 7, [[60, 30, 80, 30, 80, 50, 60, 50]]),
            annotation(3, 1, 9, {"counts": runs, "size": [80, 120]}, iscrowd=1),
            annotation(4, 2, 4, packed),
            annotation(5, 3, 4, [[0, 0, 9, 0, 9, 9]]),
        ],
    }
    change(data)
    (folder / "annotations" / "instances_val.json").write_text(json.dumps(data))
    return folder


def annotation(number: int, image: int, category: int, outline: Any, iscrowd: int = 0) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "segmentation": outline,
        "iscrowd": iscrowd,
        "area": 1,
        "bbox": [0, 0, 1, 1],
    }


def text_capture(text: str) -> Any:
    """Return a stand-in for an answer whose tokens are its words."""
    words = words_of(text)

    class Said:
        token_spans = tuple((word.start, word.end) for word in words)
        tokens = tuple(word.text for word in words)

    Said.text = text  # type: ignore[attr-defined]
    return Said


def bad_outline(data: dict[str, Any]) -> None:
    data["annotations"][0]["segmentation"] = {"counts": "\x01", "size": "?"}


def other_size(data: dict[str, Any]) -> None:
    data["images"][0]["width"] = 119


def outside(data: dict[str, Any]) -> None:
    data["images"][0]["file_name"] = "../secret.png"
