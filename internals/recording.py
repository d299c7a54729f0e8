"""The attention rows of one generation, collected while it runs.

Goes in: queries and keys, layer by layer, as hooks hand them over. Comes out: attention to the image,
shares, and attention to text, of the prompt's tokens and of the answer's. Knows nothing of how tokens are
chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from internals.attention_rows import attention_rows
from model import Encoded

BLOCK = 64  # tokens whose rows are computed together: full rows of one layer are what has to fit


@dataclass(frozen=True)
class Places:
    """Where in the sequence the image and the prompt stand."""

    image: slice
    prompt_rows: tuple[int, ...]
    prompt_length: int

    def shares(self, rows: Tensor) -> Tensor:
        """Return the mass (…, 3) on image, rest of the prompt and answer so far of rows (…, key)."""
        before, after = rows[..., : self.image.start], rows[..., self.image.stop : self.prompt_length]
        parts = (
            rows[..., self.image].sum(-1),
            before.sum(-1) + after.sum(-1),
            rows[..., self.prompt_length :].sum(-1),
        )
        return torch.stack(parts, dim=-1)


def places_of(encoded: Encoded) -> Places:
    """Return where things stand; ValueError unless the image's tokens are one run."""
    positions = encoded.image_positions.tolist()
    image = slice(positions[0], positions[-1] + 1)
    if image.stop - image.start != len(positions):
        raise ValueError("expected the image's tokens in one run; several images cannot be captured")
    return Places(image, tuple(encoded.prompt_positions.tolist()), encoded.prompt_length)


class Rows:
    """What is kept of some tokens.

    Attention (token, layer, head, patch), shares (token, layer, head, 3), and the mean over heads of the
    attention to positions outside the image (token, layer, text).
    """

    def __init__(
        self, shape: tuple[int, int, int, int], text: int, dtype: torch.dtype, device: torch.device
    ) -> None:
        self.attention = torch.empty(shape, dtype=dtype, device=device)
        self.shares = torch.empty((*shape[:3], 3), device=device)
        self.text = torch.zeros((*shape[:2], text), device=device)

    def file(self, first: int, layer: int, rows: Tensor, places: Places) -> None:
        """Keep what is wanted of the rows (head, token, key) of one layer, from token `first` on."""
        rows = rows.transpose(0, 1)  # (token, head, key)
        tokens = slice(first, first + len(rows))
        self.attention[tokens, layer] = rows[..., places.image].to(self.attention.dtype)
        self.shares[tokens, layer] = places.shares(rows).to(self.shares.device)
        if self.text.shape[-1]:
            parts = rows[..., : places.image.start], rows[..., places.image.stop :]
            text = torch.cat([part.mean(1) for part in parts], dim=-1)  # (token, text)
            text = text[:, : self.text.shape[-1]]  # an answer read at once has keys that no token here sees
            self.text[tokens, layer, : text.shape[-1]] = text.to(self.text.device)


class Recording:
    """The rows of one generation: hooks hand in queries and keys, `keep` says that a token was chosen.

    Between two blocks it holds the queries of at most so many tokens, and a reference to the keys, which the
    model's cache holds anyway; while a block is filed, the full rows of one layer. All else is image columns
    and shares.
    """

    def __init__(
        self, places: Places, modules: Sequence[Any], device: torch.device | None, float16: bool
    ) -> None:
        self.places = places
        self.scaling = [float(module.scaling) for module in modules]
        self.heads = int(modules[0].config.num_attention_heads)
        self.device = device  # None: where the first layer's queries are
        self.dtype = torch.float16 if float16 else torch.float32
        # Of the last forward, for each layer: the queries of the answer's rows in it (1, head, row, dim), one
        # where an answer is being written, and the keys (1, kv head, key, dim).
        self.latest: list[Tensor | None] = [None] * len(modules)
        self.keys: list[Tensor | None] = [None] * len(modules)
        self.waiting: list[list[Tensor]] = []  # for each token since the last block, the query of each layer
        self.blocks: list[Rows] = []

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
            self.device = self.device or query.device
            self.prompt = self._room(len(self.places.prompt_rows), text=0)
        positions = torch.tensor(self.places.prompt_rows)
        for first in range(0, len(positions), BLOCK):
            some = slice(first, first + BLOCK)
            rows = attention_rows(query[:, :, some], key, self.scaling[index], positions[some])
            self.prompt.file(first, index, rows, self.places)

    def _room(self, tokens: int, text: int) -> Rows:
        patches = self.places.image.stop - self.places.image.start
        device = self.device or torch.device("cpu")
        return Rows((tokens, len(self.scaling), self.heads, patches), text, self.dtype, device)

    def keep(self) -> None:
        """Keep the rows of the last forward: each predicted a token of the answer."""
        queries = [query for query in self.latest if query is not None]
        if len(queries) != len(self.latest):
            raise RuntimeError("a decoder layer did not run; its attention is missing")
        for row in range(queries[0].shape[2]):
            self.waiting.append([query[:, :, row : row + 1] for query in queries])
            if len(self.waiting) == BLOCK:
                self._file_block()
        self.latest = [None] * len(queries)

    def latest_map(self) -> Tensor:
        """Return where the attention of the token kept last went (patch,), the mean over layers and heads.

        The rows are computed for this alone, and once more with their block; the record is as without.
        """
        if not self.waiting:
            return self.blocks[-1].attention[-1].float().mean(dim=(0, 1)).cpu()
        position = torch.tensor([self.places.prompt_length - 2 + self._filed() + len(self.waiting)])
        maps = []
        for layer, query in enumerate(self.waiting[-1]):
            key = self.keys[layer]
            assert key is not None
            rows = attention_rows(query, key, self.scaling[layer], position)  # (head, 1, key)
            maps.append(rows[:, 0, self.places.image].float().mean(dim=0).cpu())
        return torch.stack(maps).mean(dim=0)

    def _filed(self) -> int:
        """The number of tokens whose rows are kept already."""
        return sum(len(block.shares) for block in self.blocks)

    def _file_block(self) -> None:
        """Compute and keep the rows of the tokens that wait."""
        before = self._filed()
        start = self.places.prompt_length - 1 + before
        positions = torch.arange(start, start + len(self.waiting))
        block = self._room(len(positions), self._text(before + len(positions)))
        for layer, queries in enumerate(zip(*self.waiting, strict=True)):
            key = self.keys[layer]
            if key is not None:
                rows = attention_rows(torch.cat(queries, dim=2), key, self.scaling[layer], positions)
                block.file(0, layer, rows, self.places)
        self.blocks.append(block)
        self.waiting = []

    def _text(self, tokens: int) -> int:
        """The number of positions outside the image, with so many tokens of the answer."""
        return self.places.prompt_length - (self.places.image.stop - self.places.image.start) + tokens

    def whole(self) -> Rows:
        """Return the rows of all tokens; each block is freed as soon as it is copied."""
        if self.waiting:
            self._file_block()
        if len(self.blocks) == 1:
            return self.blocks.pop()
        count = self._filed()
        whole, start = self._room(count, self._text(count)), 0
        while self.blocks:
            block = self.blocks.pop(0)
            end = start + len(block.shares)
            whole.attention[start:end], whole.shares[start:end] = block.attention, block.shares
            whole.text[start:end, :, : block.text.shape[-1]] = block.text
            start = end
        return whole
