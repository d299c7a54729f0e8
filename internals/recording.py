"""The attention rows of one generation, collected while it runs.

Goes in: queries and keys, layer by layer, as hooks hand them over. Comes out: attention to the image,
shares, and attention to text, of the prompt's tokens and of the answer's. Knows nothing of how tokens are
chosen.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from internals.attention_rows import attention_rows
from internals.growing import Growing, InFile, InMemory
from model import Encoded
from records.keep import ALL, HEAD_MEAN, Keep, heads_in, rows_kept
from records.visuals import Visual

Heads = str | tuple[int, ...]  # of a layer: all, their mean, or the named ones

OnMap = Callable[[int, NDArray[np.float32]], None]
MAP_EVERY = 0.25  # seconds between two maps of an unfinished answer at least: each takes a row of every layer
BLOCK = 64  # tokens whose rows are computed together: full rows of one layer are what has to fit


@dataclass(frozen=True, eq=False)
class Places:
    """Where in the sequence the visuals and the prompt stand."""

    image: slice | Tensor  # of the visual tokens: one run, or the position of each (patch,)
    prompt_rows: tuple[int, ...]
    prompt_length: int

    @cached_property
    def patches(self) -> int:
        """The visual tokens."""
        return self.image.stop - self.image.start if isinstance(self.image, slice) else len(self.image)

    @cached_property
    def _outside(self) -> Tensor:
        """The positions before the answer that are no visual's (position,)."""
        outside = torch.ones(self.prompt_length, dtype=torch.bool)
        outside[self.image] = False
        return outside.nonzero()[:, 0]

    def of_visuals(self, rows: Tensor) -> Tensor:
        """Return the columns (…, patch) of rows (…, key)."""
        return rows[..., self.image if isinstance(self.image, slice) else self.image.to(rows.device)]

    def of_text(self, rows: Tensor) -> Tensor:
        """Return the mean over heads of the other columns (token, text) of rows (head, token, key)."""
        if isinstance(self.image, slice):  # no copy of all heads
            parts = [rows[..., : self.image.start], rows[..., self.image.stop :]]
        else:
            parts = [rows[..., self._outside.to(rows.device)], rows[..., self.prompt_length :]]
        return torch.cat([part.mean(0) for part in parts], dim=-1)

    def shares(self, rows: Tensor) -> Tensor:
        """Return the mass (…, 3) on the visuals, rest of the prompt and answer so far of rows (…, key)."""
        if isinstance(self.image, slice):
            before, after = rows[..., : self.image.start], rows[..., self.image.stop : self.prompt_length]
            rest = before.sum(-1) + after.sum(-1)
        else:
            rest = rows[..., self._outside.to(rows.device)].sum(-1)
        parts = (self.of_visuals(rows).sum(-1), rest, rows[..., self.prompt_length :].sum(-1))
        return torch.stack(parts, dim=-1)


def places_of(encoded: Encoded) -> Places:
    """Return where things stand."""
    positions = encoded.image_positions.cpu()
    first, last = int(positions[0]), int(positions[-1])
    is_run = last - first + 1 == len(positions)
    image = slice(first, last + 1) if is_run else positions
    return Places(image, tuple(encoded.prompt_positions.tolist()), encoded.prompt_length)


class Rows(NamedTuple):
    """What is kept of some tokens.

    Attention (token, layer, head, patch), with the kept heads alone or their mean; shares (token, layer,
    head, 3) of all heads; and their mean attention to positions outside the image (token, layer, text).
    """

    attention: Tensor
    shares: Tensor
    text: Tensor

    def file(self, first: int, layer: int, rows: Tensor, places: Places, heads: Heads) -> None:
        """Keep what is wanted of the rows (head, token, key) of one layer, from token `first` on."""
        tokens = slice(first, first + rows.shape[1])
        image = kept_rows(places.of_visuals(rows), heads).transpose(0, 1)  # (token, kept head, patch)
        self.attention[tokens, layer, : image.shape[1]] = image.to(self.attention.dtype)
        self.shares[tokens, layer] = places.shares(rows).transpose(0, 1).to(self.shares.device)
        if self.text.shape[-1]:
            text = places.of_text(rows)[
                :, : self.text.shape[-1]
            ]  # an answer read at once has keys that no token here sees
            self.text[tokens, layer, : text.shape[-1]] = text.to(self.text.device)


def kept_rows(rows: Tensor, heads: Heads) -> Tensor:
    """Return what is kept of rows (head, …): all of them, their mean (1, …), or the named ones."""
    if heads == ALL:
        return rows
    return rows.mean(0, keepdim=True) if heads == HEAD_MEAN else rows[list(heads)]


@dataclass(frozen=True)
class Room:
    """What is recorded of an answer, and where to."""

    keep: Keep
    layers: tuple[int, ...]
    device: torch.device | None  # None: where the first layer's queries are
    float16: bool
    folder: Path | None = None  # of a temporary file that takes the place of memory

    @property
    def dtype(self) -> torch.dtype:
        """Of attention; shares and the attention to text are float32."""
        return torch.float16 if self.float16 else torch.float32

    def heads(self, layer: int) -> Heads:
        """Return what is kept of the heads of the layer of this index."""
        return self.keep if isinstance(self.keep, str) else heads_in(self.keep, self.layers[layer])

    def growing(self, dtype: torch.dtype, device: torch.device) -> Growing:
        """Return an empty tensor that grows."""
        return InMemory(dtype, device) if self.folder is None else InFile(dtype, self.folder)


class Side:
    """The rows of the prompt's tokens, or of the answer's, as they grow."""

    def __init__(self, room: Room, device: torch.device, heads: int, patches: int) -> None:
        self.count = 0
        self._layers, self._heads, self._patches = len(room.layers), heads, patches
        self._kept = rows_kept(room.keep, heads)
        self._attention, self._text = room.growing(room.dtype, device), room.growing(torch.float32, device)
        self._shares = InMemory(torch.float32, device)  # next to nothing beside the others

    def room(self, tokens: int, text: int) -> Rows:
        """Return room for the next tokens, with the attention to so many positions outside the image."""
        self.count += tokens
        return Rows(
            self._attention.room((tokens, self._layers, self._kept, self._patches)),
            self._shares.room((tokens, self._layers, self._heads, 3)),
            self._text.room((tokens, self._layers, text)),
        )

    def whole(self) -> Rows:
        """Return the rows of all tokens; once, at the end."""
        return Rows(self._attention.whole(), self._shares.whole(), self._text.whole())


class Recording:
    """The rows of one generation: hooks hand in queries and keys, `keep` says that a token was chosen.

    Between two blocks it holds the queries of at most so many tokens, and a reference to the keys, which the
    model's cache holds anyway; while a block is filed, the full rows of one layer. All else is image columns
    of the heads that are kept, and shares.
    """

    def __init__(self, places: Places, modules: Sequence[Any], room: Room) -> None:
        self.places, self.room = places, room
        self.scaling = [float(module.scaling) for module in modules]
        self.heads = int(modules[0].config.num_attention_heads)
        self.patches = places.patches
        # Of the last forward, for each layer: the queries of the answer's rows in it (1, head, row, dim), one
        # where an answer is being written, and the keys (1, kv head, key, dim).
        self.latest: list[Tensor | None] = [None] * len(modules)
        self.keys: list[Tensor | None] = [None] * len(modules)
        self.waiting: list[list[Tensor]] = []  # for each token since the last block, the query of each layer
        self.last: list[Tensor] = []  # those of the token kept last, filed or not

    def hook(self, index: int, module: nn.Module, args: Any, output: tuple[Tensor, Any]) -> None:
        """Take the queries and keys that one attention module returned."""
        if not isinstance(output[1], tuple):
            raise RuntimeError("the attention backend was switched while an answer was recorded")
        query, key = output[1]
        if query.shape[2] > 1:
            asked = len(self.places.prompt_rows)
            self._file_prompt(index, query[:, :, :asked], key)
            query = query[:, :, asked:]
        self.latest[index], self.keys[index] = query, key

    def _file_prompt(self, index: int, query: Tensor, key: Tensor) -> None:
        """Compute and keep the rows of the prompt's tokens in one layer."""
        if index == 0:
            device = self.room.device or query.device
            sides = (Side(self.room, device, self.heads, self.patches) for _ in range(2))
            self.prompt, self.answer = sides
            self.prompt_rows = self.prompt.room(len(self.places.prompt_rows), text=0)
        positions = torch.tensor(self.places.prompt_rows)
        for first in range(0, len(positions), BLOCK):
            some = slice(first, first + BLOCK)
            rows = attention_rows(query[:, :, some], key, self.scaling[index], positions[some])
            self.prompt_rows.file(first, index, rows, self.places, self.room.heads(index))

    def keep(self) -> None:
        """Keep the rows of the last forward: each predicted a token of the answer."""
        queries = [query for query in self.latest if query is not None]
        if len(queries) != len(self.latest):
            raise RuntimeError("a decoder layer did not run; its attention is missing")
        for row in range(queries[0].shape[2]):
            self.last = [query[:, :, row : row + 1] for query in queries]
            self.waiting.append(self.last)
            if len(self.waiting) == BLOCK:
                self._file_block()
        self.latest = [None] * len(queries)

    def latest_map(self) -> Tensor:
        """Return where the attention of the token kept last went (patch,), the mean of what is kept of it.

        The rows are computed for this alone, and once more with their block; the record is as without.
        """
        before = self.answer.count + len(self.waiting) - 1
        position = torch.tensor([self.places.prompt_length - 1 + before])
        maps = []
        for layer, query in enumerate(self.last):
            key = self.keys[layer]
            assert key is not None
            rows = attention_rows(query, key, self.scaling[layer], position)[:, 0]
            maps.append(kept_rows(self.places.of_visuals(rows), self.room.heads(layer)).float().cpu())
        return torch.cat(maps).mean(dim=0)

    def _file_block(self) -> None:
        """Compute and keep the rows of the tokens that wait."""
        before = self.answer.count
        start = self.places.prompt_length - 1 + before
        positions = torch.arange(start, start + len(self.waiting))
        # Positions outside the image, the block's own tokens among them.
        text = self.places.prompt_length - self.patches + before + len(positions)
        block = self.answer.room(len(positions), text)
        for layer, queries in enumerate(zip(*self.waiting, strict=True)):
            key = self.keys[layer]
            if key is not None:
                rows = attention_rows(torch.cat(queries, dim=2), key, self.scaling[layer], positions)
                block.file(0, layer, rows, self.places, self.room.heads(layer))
        self.waiting = []

    def whole(self) -> tuple[Rows, Rows]:
        """Return the rows of the prompt's tokens and of the answer's; once, at the end."""
        if self.waiting or not self.answer.count:
            self._file_block()
        return self.prompt.whole(), self.answer.whole()


def map_teller(
    recording: Recording, visuals: Sequence[Visual], on_map: OnMap | None
) -> Callable[[int], None]:
    """Return a function of a token's number that calls `on_map` with its map, though not all too often."""
    told, is_one = 0.0, len(visuals) == 1 and visuals[0].kind == "image"

    def tell(token: int) -> None:
        nonlocal told
        if on_map is not None and is_one and time.monotonic() - told >= MAP_EVERY:
            on_map(token, recording.latest_map().reshape(visuals[0].grid[1:]).numpy())
            told = time.monotonic()

    return tell
