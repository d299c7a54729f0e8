"""From a `Capture` to maps: choose tokens, layers and heads, and fold them into one array (h, w).

Goes in: a `Capture`. Comes out: numpy arrays, un-normalised, and the answer's words with the tokens that
spell them. Knows nothing of models, pictures or pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from records.capture import Capture
from records.choices import Aggregation, Positions, chosen_indices, fold_of
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
    ) -> np.ndarray:
        """Return the attention map (h, w) of a generated token: shares of attention, 0..1, un-normalised.

        The aggregation folds all chosen layers and heads at once; None chooses all that were recorded. For
        several tokens (a word, the whole answer) it is the mean of their maps. Layers are decoder layer
        numbers. Negative tokens, layers and heads count from the last.

        Raises:
            ValueError: for a token or head beyond the capture, a layer beyond the model or not recorded, no
            choice
                at all, or an unknown aggregation.
        """
        return self._map(
            self.capture.attention, "token", token_position, layer_indices, head_indices, aggregation
        )

    def get_attention_heatmap_for_prompt_token(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
        aggregation: Aggregation = "mean",
    ) -> np.ndarray:
        """Return the attention map (h, w) of a token of the prompt; otherwise as for a generated token."""
        return self._map(
            self.capture.prompt_attention,
            "prompt token",
            token_position,
            layer_indices,
            head_indices,
            aggregation,
        )

    def shares(
        self,
        token_position: Positions,
        layer_indices: Sequence[int] | None = None,
        head_indices: Sequence[int] | None = None,
    ) -> np.ndarray:
        """Return where a generated token's attention went (3,): image, rest of the prompt, answer so far.

        The mean over tokens, layers and heads; sums to 1.
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
        return np.stack(
            [
                self._mean_shares(self.capture.shares, tokens, [layer], head_indices)
                for layer in self.capture.layers
            ]
        )

    def text_attention(
        self, token_position: Positions, layer_indices: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return how much a token leaned on each token of text (text,): context first, then the answer's.

        The mean over tokens, layers and all heads; with the share on the image it sums to 1.
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

    def _map(
        self,
        attention: Tensor,
        name: str,
        token_position: Positions,
        layer_indices: Sequence[int] | None,
        head_indices: Sequence[int] | None,
        aggregation: Aggregation,
    ) -> np.ndarray:
        fold = fold_of(aggregation)
        tokens = chosen_indices(token_position, len(attention), name)
        layers, heads = self.recorded(layer_indices), self.heads(head_indices)
        total = np.zeros(attention.shape[-1], dtype=np.float32)  # (patch,)
        for token in tokens:
            rows = attention[token].float().cpu().numpy()[np.ix_(layers, heads)]  # (layer, head, patch)
            total += fold(rows, axis=(0, 1))
        return (total / len(tokens)).reshape(self.capture.grid)

    def _mean_shares(
        self,
        shares: Tensor,
        tokens: list[int],
        layer_indices: Sequence[int] | None,
        head_indices: Sequence[int] | None,
    ) -> np.ndarray:
        chosen = np.ix_(tokens, self.recorded(layer_indices), self.heads(head_indices))
        return shares.cpu().numpy()[chosen].mean(axis=(0, 1, 2))

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
        """Return the heads asked for, none of them negative; None asks for all."""
        count = self.capture.prompt_attention.shape[2]
        return list(range(count)) if head_indices is None else chosen_indices(head_indices, count, "head")
