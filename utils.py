"""Small things that every room needs: opening a picture safely, writing files whole, hashing, one-line texts.

Goes in: paths and files that a person handed over. Comes out: pictures that are safe to use, files that are
complete. Knows nothing of models.
"""

import hashlib
import json
import os
import re
import secrets
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

import config

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
ANIMATED_NOTE = "This picture is animated: only its first frame is used."

# Pillow would print its own warning for a large picture; open_image checks the size itself, against a lower
# bound.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class ImageError(ValueError):
    """A picture cannot be used; the message is one line and names no path."""


def open_image(source: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Return the picture in RGB, upright, its first frame only.

    Its size is checked before any pixel is decoded. EXIF rotation is applied once, transparent parts are laid
    on white, 16-bit greys are scaled to 8 bits. The result carries no metadata but `info["note"]`, a sentence
    for the person where something was left out.

    Raises:
        ImageError: one line, without a path.
    """
    try:
        if isinstance(source, (str, os.PathLike)):
            if not Path(source).is_file():
                raise ImageError("There is no such picture file.")
            with Path(source).open("rb") as file:
                return _decoded(file)
        return _decoded(source)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(f"The picture has more than {config.MAX_IMAGE_PIXELS:,} pixels.") from None
    except PermissionError:
        raise ImageError("The picture file may not be read.") from None
    except MemoryError:
        raise ImageError("There is not enough memory to open the picture.") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds, with paths and offsets in their texts
        raise ImageError("The picture file is damaged or incomplete.") from error


def _decoded(file: BinaryIO) -> Image.Image:
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError(
            f"The file is not a picture in a format that is read: {', '.join(IMAGE_FORMATS)}."
        ) from None
    with image:
        check_image_size(image.size)
        notes = [ANIMATED_NOTE] if image.format != "MPO" and getattr(image, "is_animated", False) else []
        image.load()
        result = rgb(ImageOps.exif_transpose(image))
    result.info = {"note": " ".join(notes)} if notes else {}
    return result


def check_image_size(size_wh: tuple[int, int]) -> None:
    """Return if a picture of this (width, height) is within the bounds of `config`; else raise ImageError."""
    width, height = size_wh
    if width * height > config.MAX_IMAGE_PIXELS:
        raise ImageError(
            f"The picture has {width * height:,} pixels ({width} x {height}); "
            f"at most {config.MAX_IMAGE_PIXELS:,} are allowed."
        )
    if min(width, height) < config.MIN_IMAGE_SIDE:
        raise ImageError(
            f"The picture is too small ({width} x {height}); "
            f"each side needs at least {config.MIN_IMAGE_SIDE} pixels."
        )
    if max(width, height) > config.MAX_ASPECT_RATIO * min(width, height):
        raise ImageError(
            f"The picture is too narrow ({width} x {height}); "
            f"the longer side may be at most {config.MAX_ASPECT_RATIO:g} times the shorter."
        )


def rgb(image: Image.Image) -> Image.Image:
    """Return the picture in RGB: transparent parts on white, 16-bit greys scaled from 0..65535 to 0..255.

    Raises:
        ImageError: for pixels without a known range (32-bit integers or floats).
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    if image.mode.startswith("I;16"):
        levels = np.asarray(image, dtype=np.uint32)  # (row, col)
        return Image.fromarray(((levels * 255 + 32767) // 65535).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ImageError(
            "The picture has 32-bit grey levels, whose range is not known; save it with 8 or 16 bits."
        )
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, coloured).convert("RGB")
    return image.convert("RGB")


def image_hash(image: Image.Image) -> str:
    """Return a hex digest of the picture's size and RGB values: equal pictures have equal hashes."""
    pixels = rgb(image)
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height}:".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yield a path beside `path`, with the same ending; it becomes `path` when the block ends well.

    After an error nothing is left behind and an earlier file at `path` is as it was. Missing folders are
    made.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    try:
        yield unfinished
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


NamedArrays = Mapping[str, tuple[NDArray[Any], str]]  # name: values, and their axes, such as "layer,h,w"


def described_arrays(
    arrays: NamedArrays, facts: Mapping[str, Any], settings: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """Return arrays and facts as one NPZ holds them; `axes` and `settings` are JSON."""
    texts = {
        "axes": json.dumps({name: axes.split(",") for name, (_, axes) in arrays.items()}),
        "settings": json.dumps(settings),
    }
    return {name: values for name, (values, _) in arrays.items()} | {
        name: np.array(fact) for name, fact in {**facts, **texts}.items()
    }


def save_arrays(path: str | os.PathLike[str], arrays: dict[str, NDArray[Any]]) -> None:
    """Write a compressed NPZ that can be read without pickle, whole or not at all."""
    with atomic_write(path) as unfinished, unfinished.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


OnProgress = Callable[[int, int], None]  # steps done, steps in all


class Stopped(Exception):  # noqa: N818 - not an error: the person wanted it
    """The person stopped the work; there is no result."""


@dataclass(frozen=True)
class Watch:
    """Whom to tell how far long work is, and who may stop it."""

    on_progress: OnProgress | None = None
    stop: threading.Event | None = None

    def tell(self, done: int, count: int) -> None:
        """Report; raise Stopped if the person wants no more and there is more to do."""
        if self.on_progress is not None:
            self.on_progress(done, count)
        if done < count:
            self.check()

    def check(self) -> None:
        """Raise Stopped if the person wants no more."""
        if self.stop is not None and self.stop.is_set():
            raise Stopped


def one_line(text: object, limit: int = 300) -> str:
    """Return the text (or an error's text) with all white space folded into single spaces, cut at `limit`."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1].rstrip() + "…"


# --- Numbers as people type them ----------------------------------------------------------------------------

Range = tuple[int, int]  # first and last, both included; negative ones count from the end


def as_ranges(numbers: Sequence[int], dash: str = "-", comma: str = ",") -> str:
    """Return ascending numbers in short, by default as they can be typed: [0, 1, 2, 5] is "0-2,5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    return comma.join(f"{run[0]}{dash}{run[-1]}" if len(run) > 1 else f"{run[0]}" for run in runs)


def ranges_of(text: str) -> tuple[Range, ...]:
    """Return "0-3,-1" as ((0, 3), (-1, -1)), before it is known how many numbers there are.

    Raises:
        ValueError: one line, for anything else.
    """
    found = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(-?\d{1,9})(?:\s*-\s*(-?\d{1,9}))?\s*", part)
        if match is None:
            raise ValueError(f"{text!r} is no list of numbers and ranges such as 3 or 0-3,7")
        found.append((int(match[1]), int(match[2] or match[1])))
    return tuple(found)


def numbers_in(ranges: Sequence[Range], count: int, name: str, owner: str = "") -> tuple[int, ...]:
    """Return the numbers in the ranges, ascending, each once; negative ones are counted from the last.

    `name` says what is numbered ("layer"), `owner` whose these are ("the model").

    Raises:
        ValueError: one line, for a number that is not there, or a range that runs backwards.
    """
    found: set[int] = set()
    for ends in ranges:
        for number in ends:
            if not -count <= number < count:
                there = f"{owner} has {count} {name}s" if owner else f"there are {count}"
                raise ValueError(f"There is no {name} {number}: {there}, 0 to {count - 1}.")
        first, last = (number % count for number in ends)
        if first > last:
            raise ValueError(f"The range of {name}s {ends[0]}-{ends[1]} runs backwards.")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


def numbers_of(text: str, count: int, name: str) -> tuple[int, ...]:
    """Return "all", "3", "0-3,-1" as ascending numbers below `count`, as `numbers_in` does.

    Raises:
        ValueError: one line, for anything else.
    """
    if text.strip() == "all":
        return tuple(range(count))
    try:
        ranges = ranges_of(text)
    except ValueError:
        raise ValueError(f'The {name}s must be "all", or numbers such as 3 or 0-2,5.') from None
    return numbers_in(ranges, count, name)
