"""From a `Capture` to maps: choose tokens, layers and heads, and fold them into one array (h, w).

Goes in: a `Capture`. Comes out: numpy arrays, un-normalised, and the answer's words with the tokens that
spell them. Knows nothing of models, pictures or pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from records.capture import Capture
from records.choices import Aggregation, Positions, chosen_indices, fold_of
from records.keep import Row, heads_in, rows_of
from records.visuals import Plane, Visual, part_of_map, planes_of
from records.words import Word, grouped_words

if TYPE_CHECKING:
    from torch import Tensor


class AttentionProcessor:
    """Maps, shares and words of one capture. Every array is float32 and a new one."""

    def __init__(self, capture: Capture) -> None:
        self.capture = capture

    def get_attention_heatmap_for_token(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        aggregation: Aggregation = "mean",
        *,
        visual: int = 0,
        frame: int | None = None,
    ) -> np.ndarray:
        """Return the attention map (h, w) of a generated token: shares of attention, 0..1, un-normalised.

        The aggregation folds all chosen layers and heads at once; None chooses all that were recorded, of
        heads those that were kept (`Capture.keep`). For several tokens (a word, the whole answer) it is the
        mean of their maps. Layers are decoder layer numbers. Negative tokens, layers and heads count from the
        last. `visual` is the number of a picture or clip among several, in the order of the prompt; a head's
        shares over all of them sum to what it gave them together. Of a clip it is the map of its step
        `frame`, or without one (t, h, w) of all its steps, whose times `Visual.times` says.

        Raises:
            ValueError: for a token, picture or frame beyond the capture, a layer or head beyond the model or
                not recorded, no choice at all, an unknown aggregation, or "max" or "min" where the mean over
                heads was kept.
        """
        found = self._folded(
            self.capture.attention, "token", token_position, layer_indices, head_indices, aggregation
        )
        return part_of_map(found, self.capture.visuals, visual, frame)

    def get_attention_heatmap_for_prompt_token(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        aggregation: Aggregation = "mean",
        *,
        visual: int = 0,
        frame: int | None = None,
    ) -> np.ndarray:
        """Return the attention map (h, w) of a token of the prompt; otherwise as for a generated token."""
        found = self._folded(
            self.capture.prompt_attention,
            "prompt token",
            token_position,
            layer_indices,
            head_indices,
            aggregation,
        )
        return part_of_map(found, self.capture.visuals, visual, frame)

    def visual_shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        *,
        of_prompt: bool = False,
    ) -> np.ndarray:
        """Return how much of a token's attention each picture got (visual,), in the order of the prompt.

        The mean over tokens, layers and heads, those that a map is made of; they sum to its maps' sums.
        """
        visuals = self.capture.visuals
        return self._shares_on(visuals, token_position, layer_indices, head_indices, of_prompt)

    def plane_shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        *,
        of_prompt: bool = False,
    ) -> np.ndarray:
        """Return the same of each picture and of each step of a clip (plane,), in the order of the prompt."""
        planes = planes_of(self.capture.visuals)
        return self._shares_on(planes, token_position, layer_indices, head_indices, of_prompt)

    def _shares_on(
        self,
        parts: Iterable[Visual | Plane],
        tokens: Positions,
        layers: Sequence[int] | None,
        heads: Sequence[int] | None,
        of_prompt: bool,
    ) -> np.ndarray:
        """Return how much of the mean over tokens, layers and heads is on each part (part,)."""
        capture = self.capture
        attention, name = (
            (capture.prompt_attention, "prompt token") if of_prompt else (capture.attention, "token")
        )
        found = self._folded(attention, name, tokens, layers, heads, "mean")
        return np.array([found[one.patches].sum() for one in parts], dtype=np.float32)

    def shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return where a generated token's attention went (3,): image, rest of the prompt, answer so far.

        The mean over tokens, layers and heads; sums to 1. They are there for every head of a recorded layer;
        None chooses the heads that a map of None is made of.
        """
        tokens = chosen_indices(token_position, len(self.capture.token_ids), "token")
        return self._mean_shares(self.capture.shares, tokens, layer_indices, head_indices)

    def prompt_shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return where a prompt token's attention went (3,): image, rest of the prompt, answer (0)."""
        tokens = chosen_indices(token_position, len(self.capture.prompt_token_ids), "prompt token")
        return self._mean_shares(self.capture.prompt_shares, tokens, layer_indices, head_indices)

    def layer_shares(
        self, token_position: Positions, head_indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return where a token's attention went in each recorded layer (layer, 3); otherwise as `shares`."""
        tokens = chosen_indices(token_position, len(self.capture.token_ids), "token")
        return self.all_layer_shares(head_indices)[tokens].mean(axis=0)

    def all_layer_shares(
        self, head_indices: Sequence[int] | None = None, *, of_prompt: bool = False
    ) -> np.ndarray:
        """Return where every token's attention went in each recorded layer (token, layer, 3)."""
        capture = self.capture
        shares = (capture.prompt_shares if of_prompt else capture.shares).cpu().numpy()
        if head_indices is not None or isinstance(capture.keep, str):
            return shares[:, :, self.heads(head_indices)].mean(axis=2)
        kept = [list(heads_in(capture.keep, layer)) for layer in capture.layers]
        return np.stack([shares[:, layer, heads].mean(axis=1) for layer, heads in enumerate(kept)], axis=1)

    def text_attention(
        self, token_position: Positions, layer_indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return how much a token leaned on each token of text (text,): context first, then the answer's.

        The mean over tokens, layers and all heads, kept or not; with their share on the image it sums to 1.
        """
        tokens = chosen_indices(token_position, len(self.capture.token_ids), "token")
        chosen = np.ix_(tokens, self.recorded(layer_indices))
        return self.capture.text_attention.cpu().numpy()[chosen].mean(axis=(0, 1))

    def words(self) -> list[Word]:
        """Return the words of the answer, in order."""
        return grouped_words(self.capture.text, self.capture.token_spans, self.capture.tokens)

    def prompt_words(self) -> list[Word]:
        """Return the words of the prompt, in order."""
        return grouped_words(self.capture.prompt, self.capture.prompt_token_spans, self.capture.prompt_tokens)

    def _folded(
        self,
        attention: Tensor,
        name: str,
        token_position: Positions,
        layer_indices: Sequence[int] | None,
        head_indices: Sequence[int] | None,
        aggregation: Aggregation,
    ) -> np.ndarray:
        """Return the map of all visuals (patch,)."""
        fold = fold_of(aggregation)
        tokens = chosen_indices(token_position, len(attention), name)
        rows = self.rows(layer_indices, head_indices, aggregation)
        layers, places = [row.layer for row in rows], [row.place for row in rows]
        total = np.zeros(attention.shape[-1], dtype=np.float32)  # (patch,)
        for token in tokens:
            total += fold(attention[token, layers, places].float().cpu().numpy(), axis=0)  # of (row, patch)
        return total / len(tokens)

    def _mean_shares(
        self,
        shares: Tensor,
        tokens: list[int],
        layer_indices: Sequence[int] | None,
        head_indices: Sequence[int] | None,
    ) -> np.ndarray:
        layers = self.recorded(layer_indices)
        if head_indices is not None or isinstance(self.capture.keep, str):
            heads = self.heads(head_indices)
            return shares.cpu().numpy()[np.ix_(tokens, layers, heads)].mean(axis=(0, 1, 2))
        rows = self.rows(layer_indices)
        heads = [head for row in rows if (head := row.head) is not None]  # of pairs each row has one
        of_rows = shares.cpu().numpy()[tokens][:, [row.layer for row in rows], heads]
        return of_rows.mean(axis=(0, 1))  # of (token, row, 3)

    def rows(
        self,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        aggregation: Aggregation = "mean",
    ) -> list[Row]:
        """Return where the chosen attention rows stand in the capture; None chooses all that were kept.

        Raises:
            ValueError: for a layer or head beyond the model, one that was not recorded or kept, and for an
                aggregation that needs each head where their mean was kept.
        """
        heads = None if head_indices is None else self.heads(head_indices)
        return rows_of(self.capture, self.recorded(layer_indices), heads, is_mean=aggregation == "mean")

    def recorded(self, layer_indices: Sequence[int] | None) -> list[int]:
        """Return the index in the capture of each decoder layer asked for; None asks for all.

        Raises:
            ValueError: for a layer beyond the model, or one that was not recorded.
        """
        recorded, count = self.capture.layers, self.capture.layer_count
        if layer_indices is None:
            return list(range(len(recorded)))
        numbers = chosen_indices(layer_indices, count, "layer")
        missing = [number for number in numbers if number not in recorded]
        if missing:
            raise ValueError(
                f"layer {missing[0]} was not recorded; recorded are {', '.join(map(str, recorded))}"
            )
        return [recorded.index(number) for number in numbers]

    def heads(self, head_indices: Sequence[int] | None) -> list[int]:
        """Return the heads of the model asked for, none of them negative; None asks for all."""
        count = self.capture.head_count
        return list(range(count)) if head_indices is None else chosen_indices(head_indices, count, "head")
