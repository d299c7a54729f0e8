"""Which heads look at one place of the picture: localisation heads (Kang et al. 2025, arXiv 2503.06287)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from methods.attended import attention
from methods.question import Maps, Question
from records.capture import Capture
from records.choices import chosen_indices
from records.keep import heads_refusal
from records.visuals import planes_of


def local_attention(question: Question, count: int) -> Maps:
    """Return the mean attention of the answer's most local heads, so many of them."""
    return attention(question, pairs=top_heads(question.capture, count))


class HeadRank(NamedTuple):
    """How much one head looks at the picture, and in how many pieces."""

    layer: int  # decoder layer
    head: int
    share: float  # of its attention that is on the image, 0..1, the mean over tokens
    entropy: float  # in nats, the mean over tokens; 0: all above the map's mean is one piece
    on_image: bool  # its share is above the threshold


def rank_heads(capture: Capture, tokens: int | Sequence[int] | None = None) -> tuple[HeadRank, ...]:
    """Return all heads of the recorded layers, those first that look at the image and there at one place.

    Two criteria, as published: the share on the image must be above a threshold, the bend of the sorted
    shares (see `above_bend`); of these heads, the lowest spatial entropy comes first. The entropy is that of
    the sizes of the connected pieces (8 neighbours) of the map's cells above its mean: Σ -p log p, p a
    piece's part of all such cells. The heads below the threshold follow, in the order of their shares.
    Deviation: published ranks are counted over many pictures; here they are of one answer, all its tokens or
    those given, whose shares and entropies are averaged.

    Raises:
        ValueError: for an empty answer, a token that is not there, and if not all heads were kept.
    """
    if reason := heads_refusal(capture):
        raise ValueError(reason)
    count = len(capture.token_ids)
    chosen = list(range(count)) if tokens is None else chosen_indices(tokens, count, "token")
    if not chosen:
        raise ValueError("the model gave an empty answer: there is nothing to rank heads by")
    shares = capture.shares[chosen][..., 0].float().mean(dim=0).cpu().numpy()  # (layer, head)
    entropies = np.zeros(shares.shape)
    for token in chosen:
        rows = capture.attention[token].float().cpu().numpy()  # (layer, head, patch)
        planes = planes_of(capture.visuals)
        parts = [rows[..., patches].reshape(*shares.shape, *grid) for patches, grid in planes]
        entropies += spatial_entropy(*parts) / len(chosen)
    on_image = above_bend(shares)
    ranks = [
        HeadRank(layer, head, float(share), float(entropies[index, head]), bool(on_image[index, head]))
        for index, layer in enumerate(capture.layers)
        for head, share in enumerate(shares[index])
    ]
    return tuple(
        sorted(ranks, key=lambda rank: (not rank.on_image, rank.entropy if rank.on_image else 0, -rank.share))
    )


def top_heads(
    capture: Capture, count: int, tokens: int | Sequence[int] | None = None
) -> tuple[tuple[int, int], ...]:
    """Return the first so many (layer, head) of `rank_heads`, as `token_maps` takes them for pairs."""
    ranks = rank_heads(capture, tokens)
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= len(ranks):
        raise ValueError(f"the number of heads must be 1 to {len(ranks)}; got {count!r}")
    return tuple((rank.layer, rank.head) for rank in ranks[:count])


def above_bend(values: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Return which values are above the bend of the sorted values; all, if they have none.

    The bend is the value furthest below the straight line from the largest to the smallest.
    """
    falling = np.sort(values, axis=None)[::-1].astype(np.float64)
    below = np.linspace(falling[0], falling[-1], len(falling)) - falling
    if below.max() <= 1e-9:
        return np.ones(values.shape, dtype=bool)
    return values > falling[np.argmax(below)]


def spatial_entropy(*maps: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the entropy (…,) of the piece sizes of each map's cells above its mean, for maps (…, h, w).

    A map over several pictures, or a clip's steps, is the part (…, h, w) on each of them: one mean, and no
    piece in two of them.
    """
    count = sum(part.shape[-2] * part.shape[-1] for part in maps)
    mean = sum(part.sum(axis=(-2, -1), keepdims=True) for part in maps) / count
    found = np.zeros(maps[0].shape[:-2])
    for index in np.ndindex(found.shape):
        sizes = np.concatenate([_pieces(part[index] > mean[index]) for part in maps])
        parts = sizes / max(1, sizes.sum())
        found[index] = abs((parts * np.log(parts)).sum())
    return found


def _pieces(above: NDArray[np.bool_]) -> NDArray[np.intp]:
    """Return the sizes (piece,) of the connected pieces of cells (h, w), with 8 neighbours."""
    _, pieces = cv2.connectedComponents(above.view(np.uint8), connectivity=8)
    return np.bincount(pieces.ravel())[1:]  # without what belongs to no piece
