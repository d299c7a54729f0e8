"""Opening a picture safely, and what makes two pictures the same.

Goes in: a file that a person handed over, or a Pillow picture of any kind. Comes out: the picture in RGB with
8 bits a channel, upright, of a size that is allowed, and a note for the person where that is not all of it;
a hash of its pixels. Knows nothing of models.

A screen and a model take 256 shades. Values of more than 8 bits (16 or 32 bits, floats, a TIFF's 16-bit
palette) that do not reach from black to white in their own type are spread, from the lowest to the highest
that is seen, over all shades: a 12-bit X-ray in a 16-bit PNG would be all but black otherwise. The three
colours have one lowest and one highest value together.
"""

import ctypes
import hashlib
import logging
import math
import os
import re
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import cv2
import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image, ImageOps

import config

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000")
ANIMATED_NOTE = "This picture is animated: only its first frame is used."
SCALED_NOTE = "It is large, {} x {} pixels, and scaled down to {} x {}."
RANGE_NOTE = "Its values run from {} to {}: they are spread over all shades from black to white."
SAME_NOTE = "All its values are {}: it is shown as one grey."
GAPS_NOTE = "Places without a finite value are black or white."
TURN_NOTE = "Its EXIF data are damaged: it is shown as it is stored, not turned."
DAMAGED = "The picture file is damaged or incomplete."
NO_FILE = "There is no such picture file."
NO_PICTURE = "The file is not a picture in a format that is read"
TOO_MUCH_BESIDE = "The picture file carries too much beside its picture; save it without its metadata."
MID_GREY = 128
ROWS_AT_ONCE = 64  # rows scaled at a time, so that a 40-megapixel picture needs little memory

# Tags of a TIFF, and their values that change what its numbers mean.
PHOTOMETRIC, COLOUR_MAP, SAMPLE_FORMAT = 262, 320, 339
WHITE_IS_ZERO, UNSIGNED, SIGNED = 0, 1, 2

# Pillow would warn of a picture with more pixels and refuse one with twice as many; open_image checks the
# size itself, and a large JPEG is decoded at a part of it. OpenCV would print what a decoder has to say.
Image.MAX_IMAGE_PIXELS = 500_000_000
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
# Of files that are odd: a person is told in our own words, and the terminal shows no path of a library.
warnings.filterwarnings("ignore", category=UserWarning, module=r"(PIL|pillow_heif)\.")
logging.getLogger("PIL").setLevel(logging.CRITICAL)
with suppress(AttributeError, OSError):  # libtiff prints each error by itself, where it is a file of its own
    ctypes.CDLL(Image.core.__file__).TIFFSetErrorHandler(None)
pillow_heif.register_heif_opener()
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

Levels = NDArray[Any]  # (row, col), or (row, col, rgb): values as a file has them


class ImageError(ValueError):
    """A picture cannot be used; the message is one line and names no path."""


def open_image(source: str | os.PathLike[str] | BinaryIO) -> Image.Image:
    """Return the picture in RGB, upright, its first frame only.

    Its size is checked before any pixel is decoded; one of more than `config.MAX_IMAGE_PIXELS` is scaled down
    to them. EXIF rotation is applied once, transparent parts are laid
    on white, values of more than 8 bits are spread over the shades there are (see the module). The result
    carries no metadata but `info["note"]`, sentences for the person where something was left out or spread.

    Raises:
        ImageError: one line, without a path.
    """
    try:
        if isinstance(source, (str, os.PathLike)):
            with _opened(Path(source)) as file:
                return _decoded(file)
        return _decoded(source)
    except ImageError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ImageError(_too_many()) from None
    except PermissionError:
        raise ImageError("The picture file may not be read.") from None
    except MemoryError:
        raise ImageError("There is not enough memory to open the picture.") from None
    except Exception as error:  # Pillow's decoders raise a dozen kinds, with paths and offsets in their texts
        raise ImageError(_reason(str(error))) from error


def _opened(path: Path) -> BinaryIO:
    """Return the file, open; ImageError where there is none, as for a folder, a pipe, or too long a name."""
    try:
        if path.is_file():
            return path.open("rb")
    except PermissionError:
        raise
    except OSError:
        pass
    raise ImageError(NO_FILE)


def _reason(said: str) -> str:
    """Return why a picture cannot be decoded, from what a decoder says."""
    if "Security limit exceeded" in said:  # libheif's, of the size that the file claims
        return _too_many()
    if "PngImagePlugin.MAX_TEXT_CHUNK" in said or "MAX_TEXT_MEMORY" in said:
        return TOO_MUCH_BESIDE
    return DAMAGED


def _too_many() -> str:
    return f"The picture has more than {config.MAX_DECODED_PIXELS:,} pixels."


def _unread(file: BinaryIO) -> str:
    """Return why a file is not read: it begins as a picture, and is damaged or too large; or it is none."""
    file.seek(0)
    start = file.read(4096)
    for name in IMAGE_FORMATS:
        _, accepts = Image.OPEN[name]
        if accepts is not None and accepts(start[:16]) is True:
            # An AVIF's size, of which Pillow says nothing where it is too large.
            size = re.search(rb"ispe.{4}(.{4})(.{4})", start, re.DOTALL)
            width, height = (int.from_bytes(side) for side in size.groups()) if size else (0, 0)
            return _too_many() if width * height > config.MAX_DECODED_PIXELS else DAMAGED
    return f"{NO_PICTURE}: {', '.join(IMAGE_FORMATS)}."


def _decoded(file: BinaryIO) -> Image.Image:
    try:
        image = Image.open(file, formats=IMAGE_FORMATS)
    except Image.UnidentifiedImageError:
        raise ImageError(_unread(file)) from None
    with image:
        given = image.size
        _check_shape(given)
        _decode_small(image)
        is_16_bits = any(";16" in str(tile.args) for tile in image.tile)
        is_deep = is_16_bits or image.mode.startswith(("I", "F"))  # more than 8 bits: not scaled
        _check_pixels(image.size, config.MAX_IMAGE_PIXELS if is_deep else config.MAX_DECODED_PIXELS)
        notes = [ANIMATED_NOTE] if image.format != "MPO" and getattr(image, "is_animated", False) else []
        halved = is_16_bits and image.mode in ("RGB", "RGBA")
        _correct_byte_order(image)
        image.load()
        upright = _upright(image)
        if upright is None:
            upright = image
            notes.append(TURN_NOTE)
        if upright.size != image.size:
            given = given[::-1]
        tags = getattr(image, "tag_v2", {})
        levels = _sixteen_bit_colours(file, upright) if halved else _levels(upright, tags)
        if levels is None:
            result = rgb(upright)
        else:
            grey = levels.ndim == 2 and image.mode != "L"  # Pillow turns 8-bit values round by itself
            result = _shown(
                levels, _opacity(upright, levels), grey and tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
            )
            notes += [result.info["note"]] if "note" in result.info else []
    smaller = _within_bounds(result)
    if max(smaller.size) < max(given):
        notes.append(SCALED_NOTE.format(*given, *smaller.size))
    result = smaller
    result.info = {"note": " ".join(notes)} if notes else {}
    return result


def _upright(image: Image.Image) -> Image.Image | None:
    """Return the picture turned as its EXIF data say; None where they cannot be read."""
    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # Pillow's reader raises half a dozen kinds
        return None


def _correct_byte_order(image: Any) -> None:
    """Have a packed TIFF's numbers read as libtiff hands them out: in this machine's order of bytes.

    Pillow 12.3 does so for unsigned 16 bits; others it takes in the file's order, which makes noise of them.
    """
    for place, tile in enumerate(image.tile):
        if tile.codec_name == "libtiff":
            kind, *others = tile.args
            image.tile[place] = tile._replace(args=(re.sub(";(16|32)B", r";\1N", kind), *others))


def _decode_small(image: Any) -> None:
    """Have a large JPEG decoded at a half, a quarter or an eighth of its sides, as large as is allowed.

    Not a progressive one, of which all of the file is in memory at once, whatever is made of it.
    """
    if image.format not in ("JPEG", "MPO") or image.info.get("progressive"):
        return
    for scale in (1, 2, 4, 8):
        width, height = (-(-side // scale) for side in image.size)
        if width * height <= config.MAX_DECODED_PIXELS:
            if scale > 1:
                image.draft(None, (image.width // scale, image.height // scale))
            return


def _within_bounds(image: Image.Image) -> Image.Image:
    """Return the picture with at most `config.MAX_IMAGE_PIXELS`."""
    size_wh = size_within(image.size, config.MAX_IMAGE_PIXELS)
    return image if size_wh == image.size else image.resize(size_wh, Image.Resampling.LANCZOS)


def size_within(size_wh: tuple[int, int], most: int) -> tuple[int, int]:
    """Return the largest (width, height) of the same shape, as far as can be, with at most so many pixels."""
    width, height = size_wh
    scale = math.sqrt(most / (width * height))
    if scale >= 1:
        return size_wh
    short = math.ceil(min(size_wh) * scale)  # rounded so that it becomes no narrower
    long = min(int(max(size_wh) * scale), most // short)
    return (long, short) if width > height else (short, long)


def check_image_size(size_wh: tuple[int, int], called: str = "picture") -> None:
    """Return if a picture of this (width, height) is within the bounds of `config`; else raise ImageError."""
    _check_pixels(size_wh, config.MAX_IMAGE_PIXELS, called)
    _check_shape(size_wh, called)


def _check_pixels(size_wh: tuple[int, int], most: int, called: str = "picture") -> None:
    width, height = size_wh
    if width * height > most:
        raise ImageError(
            f"The {called} has {width * height:,} pixels ({width} x {height}); at most {most:,} are allowed."
        )


def _check_shape(size_wh: tuple[int, int], called: str = "picture") -> None:
    width, height = size_wh
    if min(width, height) < config.MIN_IMAGE_SIDE:
        raise ImageError(
            f"The {called} is too small ({width} x {height}); "
            f"each side needs at least {config.MIN_IMAGE_SIDE} pixels."
        )
    if max(width, height) > config.MAX_ASPECT_RATIO * min(width, height):
        raise ImageError(
            f"The {called} is too narrow ({width} x {height}); "
            f"the longer side may be at most {config.MAX_ASPECT_RATIO:g} times the shorter."
        )


def rgb(image: Image.Image) -> Image.Image:
    """Return the picture in RGB: transparent parts on white, greys of more than 8 bits spread (see above).

    Raises:
        ImageError: for a picture without any finite value.
    """
    if image.mode == "RGB" and "transparency" not in image.info:
        return image
    levels = _levels(image, {})
    if levels is not None:
        return _shown(levels, _opacity(image, levels))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        return _on_white(image.convert("RGBA"))
    return image.convert("RGB")


def image_hash(image: Image.Image) -> str:
    """Return a hex digest of the picture's size and RGB values: equal pictures have equal hashes."""
    pixels = rgb(image)
    digest = hashlib.sha256(f"{pixels.width}x{pixels.height}:".encode())
    digest.update(pixels.tobytes())
    return digest.hexdigest()


def hashes_of(images: Sequence[Any], known: str | Sequence[str] | None = None) -> list[str]:
    """Return each picture's `image_hash`, a clip's own hash; or what is `known`: of one, or of all."""
    if known is None:
        return [image_hash(one) if isinstance(one, Image.Image) else one.hash for one in images]
    return [known] if isinstance(known, str) else list(known)


def _on_white(image: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


# --- Values of more than 8 bits -----------------------------------------------------------------------------


def _levels(image: Image.Image, tags: Any) -> Levels | None:
    """Return the values of a picture that are no 8-bit shades; None if they are. `tags` are a TIFF's."""
    signs = set(tags.get(SAMPLE_FORMAT, ()))
    if image.mode.startswith("I;16") or image.mode == "F":
        return np.asarray(image)
    if image.mode == "I":
        values = np.asarray(image)
        return values.view(np.uint32) if signs == {UNSIGNED} or (tags and not signs) else values
    if image.mode == "L" and signs == {SIGNED}:  # Pillow takes -1 for 255
        return np.asarray(image).view(np.int8)
    if image.mode == "P" and COLOUR_MAP in tags:
        colours, numbers = np.array(tags[COLOUR_MAP], np.uint16).reshape(3, -1).T, np.asarray(image)
        used = colours[np.unique(numbers)]
        eight_bits = any(not (used % step).any() for step in (256, 257))  # two ways to write them in 16
        return None if eight_bits or _reaches_both_ends(used >> 8) else colours[numbers]
    return None


def _sixteen_bit_colours(file: BinaryIO, image: Image.Image) -> Levels | None:
    """Return 16-bit colours, of which Pillow keeps the high byte; None if that byte is all that is needed.

    Raises:
        ImageError: if they cannot be read, as where they were multiplied by their opacity.
    """
    high = np.asarray(image)
    seen = high[..., :3] if image.mode == "RGB" else high[high[..., 3] > 0][:, :3]
    if "transparency" not in image.info and (not seen.size or _reaches_both_ends(seen)):
        return None
    file.seek(0)
    data = np.frombuffer(file.read(), np.uint8)
    found = cv2.imdecode(data, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)  # upright, BGR, without opacity
    if (
        found is None
        or found.dtype != np.uint16
        or not np.array_equal(found[..., ::-1] // 256, high[..., :3])
    ):
        raise ImageError("The picture's 16-bit colours cannot be read; save it with 8 bits a colour.")
    return found[..., ::-1]


def _reaches_both_ends(shades: NDArray[Any]) -> bool:
    return bool(shades.min() == 0 and shades.max() == 255)


def _opacity(image: Image.Image, levels: Levels) -> NDArray[np.uint8] | None:
    """Return how opaque each pixel is (row, col), 0..255; None if all are."""
    if image.mode == "RGBA":
        return np.asarray(image)[..., 3]
    hidden = image.info.get("transparency")
    if hidden is None:
        return None
    same = levels == np.asarray(hidden)
    return np.where(same.all(-1) if same.ndim == 3 else same, 0, 255).astype(np.uint8)


def _shown(levels: Levels, opacity: NDArray[np.uint8] | None, inverted: bool = False) -> Image.Image:
    """Return the values as shades, RGB, on white where transparent; `info["note"]` where they are spread."""
    finite = np.isfinite(levels)
    counted = (
        finite
        if opacity is None
        else finite & (opacity > 0).reshape(*opacity.shape, *[1] * (levels.ndim - 2))
    )
    if not counted.any():
        raise ImageError("The picture has no finite value.")
    seen = levels[counted]
    low, high = seen.min().item(), seen.max().item()
    low, high, note = _range(low, high, levels.dtype)
    picture = Image.fromarray(_shades(levels, low, high, inverted)).convert("RGB")
    if opacity is not None:
        picture.putalpha(Image.fromarray(opacity))
        picture = _on_white(picture)
    notes = [note] if note else []
    notes += [] if finite.all() else [GAPS_NOTE]
    picture.info = {"note": " ".join(notes)} if notes else {}
    return picture


def _range(low: float, high: float, dtype: np.dtype[Any]) -> tuple[float, float, str]:
    """Return the values of black and of white, and what is told of that."""
    if dtype.kind == "u":
        most = int(np.iinfo(dtype).max)
        if low == high or [round(end * 255 / most) for end in (low, high)] == [0, 255]:
            return 0, most, ""
    ends = [f"{end:,}" if dtype.kind in "iu" else f"{end:.4g}" for end in (low, high)]
    return low, high, SAME_NOTE.format(ends[0]) if low == high else RANGE_NOTE.format(*ends)


def _shades(levels: Levels, low: float, high: float, inverted: bool) -> NDArray[np.uint8]:
    """Return the values scaled to 0 (low) .. 255 (high), rounded; what is no number is 0."""
    shades = np.full(levels.shape, MID_GREY, np.uint8)
    for start in range(0, len(levels) if high > low else 0, ROWS_AT_ONCE):
        rows = slice(start, start + ROWS_AT_ONCE)
        values = levels[rows].astype(np.float64)
        share = (high - values if inverted else values - low) * 255 / (high - low)
        shades[rows] = np.rint(np.clip(np.nan_to_num(share, nan=0.0), 0, 255))
    return shades
