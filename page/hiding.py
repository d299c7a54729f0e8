"""A picture without what a map points at: blurred, to be asked about again.

Goes in: a picture and a map. Comes out: the picture with the outline of half of the map, grown by one cell,
blurred. Knows nothing of models and of Gradio.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from drawing.outline import half_cells
from visualization import as_rgb

BLUR = 1.0  # σ, in cells
LONGEST = 40  # characters of a word in a name


def without_half(image: Image.Image, values: NDArray[np.floating]) -> Image.Image:
    """Return the picture, blurred where half of the map (h, w) lies and one cell around it.

    Raises:
        ValueError: for a flat map, which points at nothing.
    """
    cells = half_cells(values.astype(np.float64))
    if not cells.any():
        raise ValueError("This map is flat: it points at nothing that could be hidden.")
    grown = cv2.dilate(cells.astype(np.uint8), np.ones((3, 3), np.uint8))
    picture = np.asarray(as_rgb(image))
    height, width = picture.shape[:2]
    sigma = BLUR * max(height / values.shape[0], width / values.shape[1])
    hidden = cv2.resize(grown, (width, height), interpolation=cv2.INTER_NEAREST_EXACT).astype(bool)
    return Image.fromarray(np.where(hidden[..., None], cv2.GaussianBlur(picture, (0, 0), sigma), picture))


def hidden_name(word: str) -> str:
    """Return what a picture is called in which what a word came from is hidden."""
    short = word if len(word) <= LONGEST else f"{word[:LONGEST]}…"
    return f"the picture with “{short}” hidden"
