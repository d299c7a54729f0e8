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
from PIL import Image
from pycocotools.coco import COCO

from attention_processor import AttentionProcessor
from evaluation.samples import Judged, JudgedWord, Sample, function_words, named
from records.capture import Capture
from records.pictures import ImageError, open_image
from sets.ledger import digest, file_content

PROMPT = "Describe this image."
NOT_THERE = "words for things that the annotations do not have"
NOT_NAMED = "things that the answer does not name"
MISSING = "pictures that are missing or cannot be read"
OUTLINES = "pictures whose outlines cannot be read"
OTHER = "pictures of another size than their annotations"


class LeftOutError(ValueError):
    """A picture cannot be used: why, in one line; `kind` is of all that are left out for this."""

    def __init__(self, reason: str, kind: str) -> None:
        """Take the reason and its kind."""
        super().__init__(reason)
        self.kind = kind


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
        self.left_out: list[tuple[str, str]] = []  # the name of each, and why in one line
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
        """Yield samples, at most so many, drawn by the seed; pictures that cannot be used are left out."""
        return (sample for _, sample in self.usable(limit, seed))

    def usable(self, limit: int | None = None, seed: int = 0) -> Iterator[tuple[int, Sample]]:
        """Yield the numbers of pictures in the annotations with their samples, as `samples` does."""
        left = len(self) if limit is None else limit
        for number, name in random.Random(seed).sample(self.pictures, len(self)):
            if left == 0:
                return
            try:
                sample = self.sample(number)
            except LeftOutError as error:
                self.skipped[error.kind] = self.skipped.get(error.kind, 0) + 1
                self.left_out.append((name, str(error)))
                continue
            left -= 1
            yield number, sample

    def sample(self, number: int) -> Sample:
        """Return the sample of a picture, by its number in the annotations.

        Raises:
            LeftOutError: if it cannot be used.
        """
        name = self.name(number)
        image, masks = self._image(name), self._masks(number)
        if any(mask.shape != (image.height, image.width) for mask in masks.values()):
            raise LeftOutError(
                f"it is of another size than its annotations ({image.height} × {image.width})", OTHER
            )
        return Sample(name, image, self.prompt, partial(self._judge, masks))

    def name(self, number: int) -> str:
        """Return the file name of a picture."""
        return str(self.coco.imgs[number]["file_name"])

    def content(self, number: int) -> str:
        """Return what tells a picture and what is known of it from others; "" if it cannot be read."""
        path = self._path(self.name(number))
        known = [self.coco.loadAnns(self.coco.getAnnIds(imgIds=[number])), self.coco.imgs[number], self.names]
        of_file = "" if path is None else file_content(path)
        return of_file and digest([of_file, known])

    def _image(self, name: str) -> Image.Image:
        path = self._path(name)
        if path is None:
            raise LeftOutError("there is no such picture in the folder", MISSING)
        try:
            return open_image(path)
        except ImageError as error:
            raise LeftOutError(str(error), MISSING) from error

    def _path(self, name: str) -> Path | None:
        """Return where the picture is; None if it is missing, or its name leads out of the folder."""
        split = self.file.stem.removeprefix("instances_")
        with suppress(OSError, ValueError):  # a name that nothing can have
            for folder in (self.folder, self.folder / "images", self.folder / split):
                path = folder / name
                if path.resolve().is_relative_to(self.folder.resolve()) and path.is_file():
                    return path
        return None

    def _masks(self, number: int) -> dict[str, NDArray[np.bool_]]:
        """Return where each category is, by its name."""
        masks: dict[str, NDArray[np.bool_]] = {}
        try:
            for one in self.coco.loadAnns(self.coco.getAnnIds(imgIds=[number])):
                mask = self.coco.annToMask(one).astype(bool)
                name = self.names[one["category_id"]]
                masks[name] = masks[name] | mask if name in masks else mask
        except (ValueError, KeyError, TypeError, IndexError, MemoryError) as error:
            raise LeftOutError("its outlines cannot be read", OUTLINES) from error
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
