"""The Grad-CAM of one score at some decoder layers: a plain record that needs no model."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from methods.catalog import LAYERED, METHODS
from records.layers import WHY_NOT_LAST
from records.pictures import image_hash
from records.visuals import (
    OfVisuals,
    Visual,
    by_visual,
    part_of_map,
    picture_visual,
    plane_at,
    planes_of,
    shape_of_map,
)

if TYPE_CHECKING:
    from PIL.Image import Image

LABELS = {name: METHODS[name].scale_label for name in LAYERED}  # as people write them in a line of text


@dataclass(frozen=True, eq=False)
class GradCam(OfVisuals):
    """Smooth Grad-CAM of one score, at some decoder layers, with all that is needed to draw it again."""

    maps: NDArray[np.float32]  # (layer, h, w): mean over the samples of raw maps, 0 or above, not normalised;
    # of several pictures (layer, patch)
    layers: tuple[int, ...]  # decoder layer of each index of axis 0, ascending
    layer_count: int  # decoder layers of the model
    visuals: tuple[Visual, ...]  # the pictures of the prompt, in its order
    scores: NDArray[np.float32]  # (sample,): a sum of raw logits, or their difference
    target: str  # what is explained, for people: "token 3 “red”"
    target_tokens: tuple[int, ...]  # the tokens of the answer that the score speaks of

    token_ids: tuple[int, ...]  # the answer that was explained: the model's, or the person's
    tokens: tuple[str, ...]  # display text of each
    text: str

    prompt: str
    model_name: str
    settings: dict[str, Any] = field(default_factory=dict)  # samples, noise, …; JSON-ready
    notes: tuple[str, ...] = ()  # what a person should know, in sentences
    whole: GradCam | None = field(default=None, repr=False)  # what this is a part of, on one picture

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        expected = (len(self.layers), *shape_of_map(self.visuals))
        if self.maps.shape != expected or self.maps.size == 0:
            raise ValueError(
                f"expected maps of shape (layer, h, w)={expected}, at least one cell; got {self.maps.shape}"
            )
        if list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError(f"expected layers ascending, each once, from 0; got {self.layers}")
        if self.layers[-1] >= self.layer_count - 1:
            raise ValueError(f"layer {self.layers[-1]} of {self.layer_count} has no Grad-CAM: {WHY_NOT_LAST}")
        if not (np.isfinite(self.maps).all() and np.isfinite(self.scores).all()):
            raise ValueError("the maps or scores have NaN or infinite values; bfloat16 or float32 may help")
        if float(self.maps.min()) < 0:
            raise ValueError(f"expected maps of 0 or above; got {self.maps.min():g}")
        if self.scores.ndim != 1 or len(self.scores) == 0:
            raise ValueError(f"expected a score for each sample; got shape {self.scores.shape}")
        if len(self.tokens) != len(self.token_ids):
            raise ValueError(f"{len(self.token_ids)} token ids, but {len(self.tokens)} display texts")
        if not self.target_tokens or not 0 <= min(self.target_tokens) <= max(self.target_tokens) < len(
            self.token_ids
        ):
            raise ValueError(f"target tokens {self.target_tokens} of an answer of {len(self.token_ids)}")

    def layer_map(self, layer: int, visual: int = 0, frame: int | None = None) -> NDArray[np.float32]:
        """Return the map (h, w) of one decoder layer, negative ones counted from the last; raw.

        `visual` is the number of a picture or clip among several, `frame` that of a clip's step.
        """
        number = layer + self.layer_count if layer < 0 else layer
        if number not in self.layers:
            raise ValueError(f"layer {layer} is not among those computed: {', '.join(map(str, self.layers))}")
        return part_of_map(self.maps[self.layers.index(number)].reshape(-1), self.visuals, visual, frame)

    @property
    def hottest(self) -> tuple[int, int]:
        """Which picture, and which step of a clip, most of the maps lies on, by the layers' mean shares."""
        return plane_at(self.visuals, int(np.argmax(self._shares)))

    def hottest_step(self, visual: int) -> int:
        """Return the step of one clip that most of the maps lies on; 0 of a picture."""
        return int(np.argmax(by_visual(self._shares, self.visuals)[visual]))

    @property
    def _shares(self) -> NDArray[np.float64]:
        """The share of the maps that lies on each plane (plane,): the mean over the layers."""
        maps = self.maps.reshape(len(self.layers), -1).astype(np.float64)
        sums = maps.sum(1, keepdims=True)
        shares = np.divide(maps, sums, out=np.zeros_like(maps), where=sums > 0).mean(0)
        return np.array([shares[plane.patches].sum() for plane in planes_of(self.visuals)])

    def on(self, picture: Image, visual: int, frame: int | None = None, place: str = "") -> GradCam:
        """Return what of it lies on one picture, or one step of a clip, as that of one picture alone.

        `picture` is that one; `place` is what it is called, which is said beside the target.

        Raises:
            ValueError: for a picture or a step that is not there.
        """
        maps = np.stack([self.layer_map(layer, visual, frame) for layer in self.layers])
        grid, size = (maps.shape[1], maps.shape[2]), (picture.height, picture.width)
        target = f"{self.target} on {place}" if place else self.target
        one = picture_visual(grid, size, image_hash(picture))
        return replace(self, maps=maps, visuals=(one,), target=target, whole=self)
