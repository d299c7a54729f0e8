"""Scenes as tensors for training: patches as the image processor makes them, labels, and packed turns.

In: seeds. Out: batches in which every picture has the same grid, so that nothing is padded but text.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm
from transformers import Qwen2TokenizerFast
from transformers.image_utils import OPENAI_CLIP_MEAN, OPENAI_CLIP_STD

from demo.scenes import CAPTION_PROMPT, CELL, COLORS, PLACES, THINGS, Question, make_scene

IGNORED = -100  # a token on the edge of an object has no label
OBJECT_SHARE, BACKGROUND_SHARE = 0.25, 0.04
Grid = tuple[int, int]  # (h, w) in visual tokens


@dataclass(frozen=True)
class Drawn:
    """One scene, drawn: what training needs of it."""

    pixels: np.ndarray  # uint8 (H, W, 3)
    labels: np.ndarray  # int16 (3, h, w): thing, colour (0 is background) and place of each visual token
    n_objects: int
    turns: tuple[Question, ...]  # the caption first, then the questions


def draw(seed: int, n_objects: int | None = None) -> Drawn:
    """The scene of a seed as arrays. A token's label is the object that covers at least a quarter of it."""
    scene = make_scene(seed, n_objects)
    pixels = np.asarray(scene.image)
    h, w = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    labels = np.zeros((3, h, w), np.int16)
    labels[2] = (3 * np.arange(h) // h)[:, None] * 3 + (3 * np.arange(w) // w)
    for thing in scene.objects:
        share = thing.mask.reshape(h, CELL, w, CELL).mean((1, 3))
        labels[:, (share > BACKGROUND_SHARE) & (share < OBJECT_SHARE)] = IGNORED
        values = (
            1 + list(THINGS).index(thing.name),
            1 + list(COLORS).index(thing.color),
            PLACES.index(thing.place),
        )
        labels[:, share >= OBJECT_SHARE] = np.array(values)[:, None]
    turns = (Question(CAPTION_PROMPT, scene.caption), *scene.questions)
    return Drawn(pixels, labels, len(scene.objects), turns)


def draw_all(
    seeds: Iterable[int], n_objects: int | None = None, processes: int = 2
) -> dict[Grid, list[Drawn]]:
    """All scenes of the seeds by grid, drawn in parallel processes."""
    seeds = list(seeds)
    by_grid: dict[Grid, list[Drawn]] = {}
    with ProcessPoolExecutor(processes) as pool:
        drawn = pool.map(partial(draw, n_objects=n_objects), seeds, chunksize=64)
        for scene in tqdm(drawn, total=len(seeds), desc="drawing scenes"):
            h, w = scene.labels.shape[1:]
            by_grid.setdefault((h, w), []).append(scene)
    return by_grid


def patches(pixels: np.ndarray) -> Tensor:
    """Normalised patches (image · patch, channel · 2 · 14 · 14) of uint8 pictures (image, H, W, 3).

    The layout is the image processor's: 2 × 2 blocks of patches in row-major order, each patch twice in time.
    """
    n, height, width, _ = pixels.shape
    side = CELL // 2
    normalised = (torch.from_numpy(pixels).float() / 255 - torch.tensor(OPENAI_CLIP_MEAN)) / torch.tensor(
        OPENAI_CLIP_STD
    )
    blocks = normalised.reshape(n, height // CELL, 2, side, width // CELL, 2, side, 3)
    ordered = blocks.permute(
        0, 1, 4, 2, 5, 7, 3, 6
    )  # (image, row, col, row in block, col in block, channel, y, x)
    twice = ordered.unsqueeze(6).expand(-1, -1, -1, -1, -1, -1, 2, -1, -1)
    return twice.reshape(-1, 3 * 2 * side * side)


@dataclass(frozen=True)
class Packed:
    """Several turns about each picture of a batch, side by side; they do not see each other."""

    input_ids: Tensor  # (image, S)
    position_ids: Tensor  # (3, image, S)
    mask: Tensor  # bool (image, 1, S, S): what each position may look at
    targets: Tensor  # (image, S): the next token at the positions that predict an answer, else IGNORED
    image_start: int  # the visual tokens are at image_start … image_start + h·w
    last_words: Tensor  # (turn, 2): picture and position of the last word of each question


def subjects(turns: Sequence[Question]) -> dict[str, tuple[int, int, int]]:
    """For each question about one thing, its thing, colour and place as numbers; the last is "absent"."""
    nowhere = (len(THINGS), len(COLORS), len(PLACES))
    by_name: dict[str, tuple[int, int, int]] = {}
    by_place: dict[str, tuple[int, int, int]] = {}
    for question, answer in turns:
        if question.startswith("What is "):
            color, name = answer.rstrip(".").split()[-2:]
            place = question.rstrip("?").split(" the ")[1]
            labels = (list(THINGS).index(name), list(COLORS).index(color), PLACES.index(place))
            by_name[name] = by_place[place] = labels
    found = {}
    for question, _ in turns:
        if question.startswith("What is "):
            found[question] = by_place[question.rstrip("?").split(" the ")[1]]
        elif question.startswith(("What color", "Where", "Is there")):
            found[question] = by_name.get(question.rstrip("?").split()[-1], nowhere)
    return found


class Packer:
    """Lays out pictures and turns as the chat template does; every turn is as if it were the only one."""

    def __init__(self, tokenizer: Qwen2TokenizerFast) -> None:
        self._encode = partial(tokenizer.encode, add_special_tokens=False)
        self._known: dict[str, list[int]] = {}
        rendered = tokenizer.apply_chat_template(
            [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "@"}]}],
            tokenize=False,
            add_generation_prompt=True,
        )
        before, after = rendered.split("<|image_pad|>")
        vision_end, rest = after.split("@")
        self.image_token = tokenizer.convert_tokens_to_ids("<|image_pad|>")
        self.end = tokenizer.convert_tokens_to_ids("<|im_end|>")
        self.before, self.vision_end, self.rest = (self.ids(text) for text in (before, vision_end, rest))

    def ids(self, text: str) -> list[int]:
        """Token ids of a text, remembered."""
        if text not in self._known:
            self._known[text] = self._encode(text)
        return self._known[text]

    def pack(self, turns: Sequence[Sequence[Question]], grid: Grid) -> Packed:
        """One row for each picture, with its turns after it, padded on the right to one length."""
        h, w = grid
        start = len(self.before)
        prefix = self.before + [self.image_token] * (h * w) + self.vision_end
        after = start + max(h, w)  # Qwen2.5-VL counts on from the longer side
        rows = [self._row(picture, len(prefix), after + len(self.vision_end)) for picture in turns]
        longest = max(len(ids) for ids, *_ in rows)
        n, length = len(turns), len(prefix) + longest
        input_ids = torch.zeros(n, length, dtype=torch.long)
        targets = torch.full((n, length), IGNORED)
        position_ids = torch.zeros(3, n, length, dtype=torch.long)
        owner = torch.full((n, length), -1)  # 0 is the prefix, then one number for each turn; -1 is padding

        input_ids[:, : len(prefix)] = torch.tensor(prefix)
        owner[:, : len(prefix)] = 0
        position_ids[:, :, :start] = torch.arange(start)
        cells = torch.arange(h * w)
        position_ids[0, :, start : start + h * w] = start
        position_ids[1, :, start : start + h * w] = start + cells // w
        position_ids[2, :, start : start + h * w] = start + cells % w
        position_ids[:, :, start + h * w : len(prefix)] = after + torch.arange(len(self.vision_end))
        last_words = []
        for i, (ids, aims, positions, owners) in enumerate(rows):
            part = slice(len(prefix), len(prefix) + len(ids))
            input_ids[i, part], targets[i, part] = torch.tensor(ids), torch.tensor(aims)
            position_ids[:, i, part], owner[i, part] = torch.tensor(positions), torch.tensor(owners)
            for number, turn in enumerate(turns[i], 1):
                last = len(prefix) + owners.index(number) + len(self.ids(turn.question)) - 2  # before the "?"
                last_words.append((i, last))

        causal = torch.ones(length, length, dtype=torch.bool).tril()
        seen = (owner[:, None, :] == 0) | (owner[:, None, :] == owner[:, :, None])
        mask = (causal & seen) | torch.eye(length, dtype=torch.bool)
        return Packed(input_ids, position_ids, mask[:, None], targets, start, torch.tensor(last_words))

    def _row(
        self, turns: Sequence[Question], prefix: int, first: int
    ) -> tuple[list[int], list[int], list[int], list[int]]:
        ids: list[int] = []
        targets: list[int] = []
        positions: list[int] = []
        owners: list[int] = []
        for number, turn in enumerate(turns, 1):
            asked, answer = self.ids(turn.question) + self.rest, [*self.ids(turn.answer), self.end]
            ids += asked + answer
            targets += [IGNORED] * (len(asked) - 1) + answer + [IGNORED]
            positions += range(first, first + len(asked) + len(answer))
            owners += [number] * (len(asked) + len(answer))
        return ids, targets, positions, owners
