"""Samples from a folder in COCO format: pictures and an instances JSON."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pycocotools.coco import COCO

from attention_processor import AttentionProcessor
from evaluation.samples import Judged, JudgedWord, Sample, function_words, named
from records.capture import Capture
from records.pictures import ImageError, open_image

PROMPT = "Describe this image."
NOT_THERE = "words for things that the annotations do not have"
NOT_NAMED = "things that the answer does not name"


class CocoFolder:
    """Pictures with annotated things.

    The annotations are `instances*.json` in the folder or in its `annotations`, or the file that is named.
    Pictures lie in the folder itself, in `images`, or in a folder that the annotations are named after
    (`val2017`). A category's mask is the union of all its instances in the picture, crowds included: where
    many stand close, they are annotated as one region, and a word for them means that too.
    """

    def __init__(self, folder: Path, annotations: Path | None = None, prompt: str = PROMPT) -> None:
        """Read the annotations.

        Raises:
            ValueError: if there are none, or several, or they are not in COCO's format.
        """
        self.folder, self.prompt = folder, prompt
        self.file = _annotations(folder) if annotations is None else annotations
        self.skipped: dict[str, int] = {}  # pictures left out: why, and how many
        try:
            with redirect_stdout(io.StringIO()):  # it prints how long it took
                self.coco = COCO(str(self.file))
            self.names = {number: str(one["name"]) for number, one in self.coco.cats.items()}
            self.pictures = [
                (number, str(one["file_name"]))
                for number, one in self.coco.imgs.items()
                if self.coco.getAnnIds(imgIds=[number])
            ]
        except OSError as error:
            raise ValueError(f"{self.file}: {error.strerror or 'cannot be read'}") from error
        except (ValueError, KeyError, TypeError, AttributeError, AssertionError) as error:
            raise ValueError(f"{self.file.name} is not instances in COCO's format") from error
        if not self.pictures or not self.names:
            raise ValueError(f"{self.file.name} has no picture with annotated things")

    def __len__(self) -> int:
        return len(self.pictures)

    def samples(self, limit: int | None = None, seed: int = 0) -> Iterator[Sample]:
        """Yield samples, at most so many, drawn by the seed; pictures that cannot be used are counted."""
        left = len(self) if limit is None else limit
        for number, name in random.Random(seed).sample(self.pictures, len(self)):
            if left == 0:
                return
            sample = self._sample(number, name)
            if sample is not None:
                left -= 1
                yield sample

    def _sample(self, number: int, name: str) -> Sample | None:
        """Return the sample; None for a picture that cannot be used, which is counted."""
        path = self._path(name)
        why = "pictures that are missing or cannot be read"
        if path is not None:
            with suppress(ImageError, ValueError, KeyError, TypeError, IndexError):
                image, why = open_image(path), "pictures whose outlines cannot be read"
                masks, why = self._masks(number), "pictures of another size than their annotations"
                if all(mask.shape == (image.height, image.width) for mask in masks.values()):
                    return Sample(name, image, self.prompt, partial(self._judge, masks))
        self.skipped[why] = self.skipped.get(why, 0) + 1
        return None

    def _path(self, name: str) -> Path | None:
        """Return where the picture is; None if it is missing, or its name leads out of the folder."""
        split = self.file.stem.removeprefix("instances_")
        for folder in (self.folder, self.folder / "images", self.folder / split):
            path = folder / name
            if path.resolve().is_relative_to(self.folder.resolve()) and path.is_file():
                return path
        return None

    def _masks(self, number: int) -> dict[str, NDArray[np.bool_]]:
        """Return where each category is, by its name."""
        masks: dict[str, NDArray[np.bool_]] = {}
        for one in self.coco.loadAnns(self.coco.getAnnIds(imgIds=[number])):
            mask = self.coco.annToMask(one).astype(bool)
            name = self.names[one["category_id"]]
            masks[name] = masks[name] | mask if name in masks else mask
        return {name: mask for name, mask in masks.items() if mask.any()}

    def _judge(self, masks: dict[str, NDArray[np.bool_]], capture: Capture) -> Judged:
        """Return the answer's words for things of the picture."""
        said = named(AttentionProcessor(capture).words(), self.names.values())
        there = [JudgedWord(tokens, masks[name]) for name, tokens in said if name in masks]
        skipped = {
            NOT_THERE: len(said) - len(there),
            NOT_NAMED: len(set(masks) - {name for name, _ in said}),
        }
        return Judged(tuple(there), function_words(capture), skipped)


def _annotations(folder: Path) -> Path:
    if not folder.is_dir():
        raise ValueError(f"{folder} is not a folder")
    found = [*folder.glob("instances*.json"), *folder.glob("annotations/instances*.json")]
    if len(found) != 1:
        listed = ", ".join(sorted(file.name for file in found)) or "none"
        raise ValueError(
            f"name the file of annotations: expected one instances*.json in {folder} or its annotations, "
            f"found {listed}"
        )
    return found[0]
