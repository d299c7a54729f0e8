"""Token activation maps (Li et al. 2025, arXiv 2506.23270): what each patch's own features suggest."""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from internals.exclusive import lent
from internals.memory import within_memory
from internals.teacher_forcing import TeacherForced
from methods.question import Maps, Question
from records.visuals import planes_of

SIDE = 3  # of the window of the rank-Gaussian filter


def token_activation(question: Question) -> Maps:
    """Return the token activation map of each token, from one forward pass.

    A_t = (F·w_t)⁺, F the final-norm features at the visual tokens, w_t the row of lm_head of token t; less
    s·E, E the mean of the maps A_j of earlier, different tokens j of prompt and answer, weighted by how much
    they suggest t themselves, (f_j·w_t)⁺, and s the least-squares scale. As published, f_j are the features
    at a token of the prompt itself, and for a token of the answer those that predicted it. What is below 0
    after that is 0; then the rank-Gaussian filter. Of lm_head only the rows of tokens that occur are used.
    """
    forced, found = question.forced, []
    question.watch.tell(0, 1)
    places, ids = _earlier(forced)
    with lent(forced.model), torch.no_grad():
        visual, text, weights = within_memory(partial(_features, forced, places, ids))
    question.watch.tell(1, 1)
    before = len(forced.encoded.prompt_positions)
    for token in question.tokens:
        here = before + token
        earlier = [place for place in range(here) if ids[place] != ids[here]]
        activation = _clipped(visual @ weights[here])  # (patch,)
        pulls = _clipped(text[earlier] @ weights[here])
        found.append(_without(activation, _clipped(visual @ weights[earlier].T), pulls))
    maps = np.stack(found)  # (token, patch)
    for patches, grid in planes_of(forced.encoded.visuals):
        maps[:, patches] = [rank_gaussian(one[patches].reshape(grid)).reshape(-1) for one in maps]
    return Maps(maps.astype(np.float32), forward=1)


def _earlier(forced: TeacherForced) -> tuple[list[int], list[int]]:
    """Return f_j's position and j's id, for the prompt's text and then for the answer, up to the last one."""
    encoded, said = forced.encoded, forced.ids[: forced.tokens[-1] + 1]
    of_prompt = encoded.prompt_positions
    places = of_prompt.tolist() + [encoded.prompt_length + index - 1 for index in range(len(said))]
    return places, encoded.input_ids[of_prompt].tolist() + list(said)


def _features(
    forced: TeacherForced, places: list[int], ids: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return features of the patches, of the tokens of text, and their rows of lm_head: (…, channel)."""
    head = forced.model.get_output_embeddings().weight
    if head.device.type == "meta":
        raise ValueError("the model's lm_head is not in memory; TAM needs a model that fits into memory")
    features = forced.model.model(**forced.inputs(), use_cache=False).last_hidden_state[0]
    weights = head[torch.tensor(ids, device=head.device)]
    of_text = features[torch.tensor(places, device=features.device)]
    of_patches = features[forced.patches.to(features.device)]
    visual, text, rows = (part.double().cpu().numpy() for part in (of_patches, of_text, weights))
    return visual, text, rows


def _clipped(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.maximum(values, 0)


def _without(
    activation: NDArray[np.float64], others: NDArray[np.float64], pulls: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return (A - s·E)⁺ of (patch,), E the mean of the others (patch, token) weighted by their pulls."""
    if not pulls.sum() > 0:
        return activation
    interference = others @ pulls / pulls.sum()
    size = interference @ interference
    return _clipped(activation - activation @ interference / size * interference) if size > 0 else activation


def rank_gaussian(heat: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the map (h, w) with each cell the mean of its 3 × 3 window, weighted by a Gaussian over ranks.

    The Gaussian is centred on the median and its σ is the window's coefficient of variation: the less even a
    window, the more ranks count. Values are 0 or above; borders are mirrored. In a flat window the median
    stands alone.
    """
    reach = SIDE // 2
    padded = np.pad(heat, reach, mode="symmetric" if min(heat.shape) == 1 else "reflect")
    windows = np.sort(sliding_window_view(padded, (SIDE, SIDE)).reshape(*heat.shape, -1), axis=-1)
    mean = windows.mean(axis=-1)
    spread = windows.std(axis=-1) / np.where(mean > 0, mean, 1)  # coefficient of variation
    ranks = np.arange(SIDE * SIDE) - SIDE * SIDE // 2
    # Below this σ the neighbours' weights are 0 in any case: the bound only keeps the division whole.
    weights = np.exp(-(ranks**2) / (2 * np.maximum(spread, 0.01)[..., None] ** 2))
    return (windows * weights).sum(axis=-1) / weights.sum(axis=-1)
