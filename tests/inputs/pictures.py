"""Whole pictures of every kind, each with what is to be seen of it.

Comes out: `Picture`s, made here from arrays. What they show is worked out beside, in numpy, never by what is
tested.
"""

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from records.pictures import IMAGE_FORMATS

HEIGHT, WIDTH = 24, 40  # never square; large enough for half-size colours
LOSSY = 6.0  # levels that a picture of these may be off, on average
READ = (*IMAGE_FORMATS, "MPO")
LOSSLESS: dict[str, dict[str, Any]] = {"WEBP": {"lossless": True, "exact": True}, "JPEG2000": {}}
FINE: dict[str, dict[str, Any]] = {"JPEG": {"quality": 95}, "AVIF": {"quality": 95}, "HEIF": {"quality": 95}}
WITH_EXIF = ("JPEG", "PNG", "TIFF", "WEBP", "AVIF", "HEIF")
WITH_FRAMES = ("GIF", "PNG", "WEBP", "TIFF", "AVIF", "HEIF", "MPO")
TURNS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}

Pixels = NDArray[np.uint8]  # (row, col, rgb)


@dataclass(frozen=True, eq=False)
class Picture:
    """A file, and what is to be seen of it; None: it is to be refused."""

    kind: str
    name: str
    data: bytes
    shows: Pixels | None
    within: float = 0.0  # levels, on average

    def check(self, found: Image.Image) -> None:
        """Return if this is the picture; else fail with its name."""
        assert self.shows is not None, f"{self.name}: it is not refused"
        assert found.mode == "RGB", self.name
        pixels = np.asarray(found).astype(int)
        assert pixels.shape == self.shows.shape, f"{self.name}: {pixels.shape}"
        off = np.abs(pixels - self.shows)
        assert off.mean() <= self.within, f"{self.name}: {off.mean():.2f} levels off"


def scene() -> Pixels:
    """Return a smooth picture whose red grows with x and green with y, so that every turn is another one."""
    rows, cols = np.mgrid[:HEIGHT, :WIDTH]
    channels = [cols * 255 // (WIDTH - 1), rows * 255 // (HEIGHT - 1), (rows + cols) * 2]
    return np.stack(channels, axis=-1).astype(np.uint8)


def saved(image: Image.Image, image_format: str, **options: Any) -> bytes:
    """Return the picture as a file of this format."""
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of writing, which is not what is tried
        image.save(file, image_format, **options)
    return file.getvalue()


# --- Every format and every mode ----------------------------------------------------------------------------


def grey() -> NDArray[np.float64]:
    """Return the scene's brightness (row, col), 0..255."""
    return scene().astype(float) @ (0.299, 0.587, 0.114)


def spread(values: NDArray[Any]) -> Pixels:
    """Return values as greys from the lowest, black, to the highest, white."""
    low, high = float(values.min()), float(values.max())
    return as_rgb((values.astype(float) - low) * 255 / (high - low))


def as_rgb(shades: NDArray[Any]) -> Pixels:
    """Return shades (row, col) as pixels."""
    return np.repeat(np.rint(shades).astype(np.uint8)[..., None], 3, axis=-1)


def on_white(colours: NDArray[Any], opacity: NDArray[Any]) -> Pixels:
    """Return colours laid on white, as opaque (row, col) as 0..255 says."""
    share = opacity[..., None] / 255
    return np.rint(colours * share + 255 * (1 - share)).astype(np.uint8)


def from_lab(lab: NDArray[Any]) -> Pixels:
    """Return L*a*b* (row, col, lab; a and b from -128) of the white D50 as sRGB."""
    light, a, b = (lab[..., 0] * 100 / 255), lab[..., 1], lab[..., 2]
    y = (light + 16) / 116
    parts = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    xyz = np.where(parts > 6 / 29, parts**3, 3 * (6 / 29) ** 2 * (parts - 4 / 29)) * (0.9642, 1, 0.8251)
    to_rgb = [[3.1338561, -1.6168667, -0.4906146], [-0.9787684, 1.9161415, 0.033454]]
    linear = np.clip(xyz @ np.array([*to_rgb, [0.0719453, -0.2289914, 1.4052427]]).T, 0, 1)
    shown = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * shown).astype(np.uint8)


@lru_cache
def modes() -> dict[str, tuple[Image.Image, Pixels, float]]:
    """Return a picture of each mode of Pillow, what is seen of it, and how much it may be off."""
    colours, opacity = scene(), np.tile(np.linspace(0, 255, WIDTH).astype(np.uint8), (HEIGHT, 1))
    shades = np.rint(grey()).astype(np.uint8)
    few = Image.fromarray(colours).quantize(64)
    table = np.array(few.getpalette("RGB")).reshape(-1, 3)
    deep = (shades.astype(np.uint16) << 4) + 7  # 12 bits
    ink = 255 - colours
    cmyk = np.dstack([ink, np.zeros_like(shades)])
    lab = np.dstack([shades, np.full_like(shades, 20), np.full_like(shades, 236)])  # a = 20, b = -20
    rgba = np.dstack([colours, opacity])
    made: dict[str, tuple[Image.Image, Any, float]] = {
        "1": (Image.fromarray(shades > 127), np.where(shades > 127, 255, 0), 0),
        "L": (Image.fromarray(shades), shades, 0),
        "P": (few, table[np.asarray(few)], 0),
        "RGB": (Image.fromarray(colours), colours, 0),
        "RGBA": (Image.fromarray(rgba), on_white(colours, opacity), 1),
        "LA": (Image.merge("LA", [*map(Image.fromarray, (shades, opacity))]), None, 1),
        "CMYK": (Image.fromarray(cmyk, "CMYK"), colours, 1),
        "YCbCr": (Image.fromarray(colours).convert("YCbCr"), colours, 2),
        "LAB": (Image.frombytes("LAB", (WIDTH, HEIGHT), lab.tobytes()), None, 3),
        "I;16": (Image.fromarray(deep), spread(deep), 0.5),
        "I": (Image.fromarray(deep.astype(np.int32)), spread(deep), 0.5),
        "F": (Image.fromarray(deep.astype(np.float32) / 7), spread(deep), 0.5),
    }
    made["LA"] = (made["LA"][0], on_white(as_rgb(shades), opacity), 1)
    made["LAB"] = (made["LAB"][0], from_lab(lab.astype(int) - (0, 0, 256) * (lab > 127)), 3)
    return {
        mode: (image, (as_rgb(seen) if seen.ndim == 2 else seen).astype(np.uint8), off)
        for mode, (image, seen, off) in made.items()
    }


@lru_cache
def every_format() -> tuple[Picture, ...]:
    """Return a picture of each mode in each format that Pillow writes."""
    return tuple(_every_format())


def _every_format() -> Iterator[Picture]:
    Image.init()
    for image_format in sorted({*Image.SAVE} | {"MPO"}):
        for mode, (image, seen, off) in modes().items():
            options = {**LOSSLESS, **FINE}.get(image_format, {})
            try:
                data = saved(image, image_format, **options)
            except (OSError, ValueError, KeyError, SystemError, TypeError, RuntimeError):
                continue  # the format has no such mode
            name = f"{mode} as {image_format}"
            if image_format not in READ:
                yield Picture("a format that is not read", name, data, None)
            elif name != "YCbCr as TIFF":  # which Pillow writes without the tag that says how
                within = off + LOSSY * (image_format in (*FINE, "MPO"))
                yield Picture("every format and mode", name, data, seen_in(data, mode, seen), within)


def seen_in(data: bytes, mode: str, seen: Pixels) -> Pixels:
    """Return what is seen of a file: of a format that has no such mode, what Pillow made of it."""
    with Image.open(io.BytesIO(data)) as kept:
        if kept.mode == mode or (mode == "I" and kept.mode == "I;16"):
            return seen
        colours = np.asarray(kept.convert("RGBA"))
        return on_white(colours[..., :3], colours[..., 3])


# --- What else a file can be --------------------------------------------------------------------------------


def rotated() -> Iterator[Picture]:
    """Yield pictures that a camera held some way wrote."""
    for image_format in WITH_EXIF:
        for orientation, turn in TURNS.items():
            upright = Image.fromarray(scene())
            stored = upright if turn is None else upright.transpose(turn)
            exif = Image.Exif()
            exif[0x0112] = orientation
            options = {**LOSSLESS, **FINE}.get(image_format, {})
            data = saved(stored, image_format, exif=exif.tobytes(), **options)
            within = LOSSY if image_format in FINE else 0
            yield Picture("turned by EXIF", f"{image_format} {orientation}", data, scene(), within)


def animated() -> Iterator[Picture]:
    """Yield pictures of several frames or pages: the first is seen."""
    for image_format in WITH_FRAMES:
        for count in (2, 3, 7):
            frames = [Image.fromarray(np.roll(scene(), 5 * number, axis=1)) for number in range(count)]
            options = {**LOSSLESS, **FINE}.get(image_format, {})
            data = saved(frames[0], image_format, save_all=True, append_images=frames[1:], **options)
            within = LOSSY if image_format in (*FINE, "MPO", "GIF") else 0
            yield Picture("several frames or pages", f"{image_format} of {count}", data, scene(), within)


def packed() -> Iterator[Picture]:
    """Yield TIFFs packed in every way, JPEGs of every kind, interlaced and padded files."""
    image = Image.fromarray(scene())
    kind = "packed in every way"
    for way in ("raw", "packbits", "tiff_lzw", "tiff_adobe_deflate", "tiff_deflate", "jpeg", "zstd", "lzma"):
        for big in (False, True):
            data = saved(image, "TIFF", compression=None if way == "raw" else way, big_tiff=big)
            yield Picture(kind, f"TIFF {way} {big}", data, scene(), LOSSY if way == "jpeg" else 0)
    two = modes()["1"]
    for way in ("group3", "group4", "tiff_ccitt"):
        yield Picture(kind, f"TIFF {way}", saved(two[0], "TIFF", compression=way), two[1])
    for subsampling in ("4:4:4", "4:2:2", "4:2:0"):
        for progressive in (False, True):
            options: dict[str, Any] = {"quality": 95, "subsampling": subsampling, "progressive": progressive}
            data = saved(image, "JPEG", **options)
            yield Picture(kind, f"JPEG {subsampling} {progressive}", data, scene(), LOSSY)
    for options in ({"optimize": True}, {"compress_level": 0}, {"dpi": (300, 300)}, {"bits": 8}):
        yield Picture(kind, f"PNG {options}", saved(image, "PNG", **options), scene())
    few = modes()["P"]
    for interlace in (0, 1):
        yield Picture(kind, f"GIF {interlace}", saved(few[0], "GIF", interlace=interlace), few[1])
    for image_format in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"):
        whole = next(one for one in every_format() if one.name == f"RGB as {image_format}")
        data = whole.data + b"\0what a program wrote after the end" * 9
        yield Picture("something behind its end", image_format, data, whole.shows, whole.within)


def sizes() -> Iterator[Picture]:
    """Yield pictures of every narrow size; those below 8 pixels, or of more than 30 to 1, are refused."""
    lengths = (1, 2, 7, 8, 9, 30, 240, 241, 500)
    for image_format in ("PNG", "BMP", "GIF", "TIFF", "WEBP"):
        for height in lengths:
            for width in lengths:
                shows = np.full((height, width, 3), (10, 20, 30), np.uint8)
                options = LOSSLESS.get(image_format, {})
                data = saved(Image.fromarray(shows), image_format, **options)
                fits = min(height, width) >= 8 and max(height, width) <= 30 * min(height, width)
                name = f"{image_format} {width} x {height}"
                yield Picture("1 × N and other sizes", name, data, shows if fits else None)


def whole_pictures() -> Iterator[Picture]:
    """Yield every picture of this file."""
    for some in (every_format(), rotated(), animated(), packed(), sizes()):
        yield from some
