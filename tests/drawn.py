"""Pictures and maps to draw, and the pixels of what was drawn."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def picture(height: int, width: int, seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(noise)


def bumpy(h: int = 5, w: int = 7) -> NDArray[np.float32]:
    return (np.random.default_rng(1).random((h, w)) / 50).astype(np.float32)


def pixels(image: Image.Image) -> NDArray[np.int64]:
    return np.asarray(image).astype(np.int64)


def boxed(image: Image.Image, name: str = "picture_box") -> NDArray[np.int64]:
    return pixels(image.crop(image.info[name]))
