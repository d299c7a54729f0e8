"""An answer about an image, with the attention of each of its tokens: a plain record that needs no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from records.crops import Crop, crop_of_json
from records.keep import ALL, HEAD_MEAN, Keep, heads_in, keep_of, layers_of, rows_kept
from records.shown import cell
from records.tokens import Span
from records.turns import Turn, kinds_of_turns
from records.visuals import OfVisuals, Visual, check_in_order, only_picture, patch_count

if TYPE_CHECKING:  # torch takes seconds to import: who lists what is kept does not wait for it
    from PIL.Image import Image
    from torch import Tensor

    from records.videos import Video


@dataclass(frozen=True, eq=False)
class Capture(OfVisuals):
    """Attention from each generated token to each visual token, with all that is needed to draw it again.

    Token i is explained by the attention row that predicted it, that of position `prompt_length + i - 1`; a
    token of the prompt, which nothing predicted, by the row in which it asks itself. The token that ended the
    answer (end of turn, end of text) is not part of it; no other is left out.

    What was kept of the heads (`keep`) shows in axis 2 of `attention` and `prompt_attention`, and nowhere
    else: with "all" it is every head; with "head-mean" there is one index, their mean; of pairs, index i is
    the i-th kept head of the layer, and where a layer has fewer than another, the rest is zeros and belongs
    to no head. `shares` and `text_attention` are of all heads, of each layer that was recorded.

    Of a conversation it is the last answer; each earlier one has a capture of its own. `history` says what
    was asked and said before, which is part of the prompt; `visuals` are those of the whole conversation.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]  # display text of each token; a piece of a split character says so: "⟨E4 BD⟩"
    text: str  # the answer, special tokens left out
    attention: Tensor  # (token, layer, head, patch): share of that head's attention, 0..1; see `keep`;
    # the patches of all visuals, in the order of the prompt
    layers: tuple[int, ...]  # decoder layer of each index of axis 1, ascending
    layer_count: int  # decoder layers of the model, recorded or not
    visuals: tuple[Visual, ...]  # the pictures of the prompt, in its order; those of earlier turns too
    shares: (
        Tensor  # (token, layer, head, 3): mass on all visuals, rest of the prompt, answer so far; sums to 1
    )
    logprobs: Tensor  # (token,): log-probability under the model itself, before penalties and draws
    token_spans: tuple[
        Span, ...
    ]  # where each token stands in `text`; tokens of one split character share its span

    prompt: str  # the person's text as the model read it; of a conversation, the last question
    prompt_token_ids: tuple[int, ...]
    prompt_tokens: tuple[str, ...]
    prompt_token_spans: tuple[Span, ...]
    prompt_attention: Tensor  # (prompt token, layer, head, patch)
    prompt_shares: Tensor  # (prompt token, layer, head, 3)
    prompt_length: int  # positions before the answer: template, visuals and prompt
    context_tokens: tuple[str, ...]  # display text of every position before the answer that is no visual's
    prompt_places: tuple[int, ...]  # which of them are the prompt's tokens
    text_attention: Tensor  # (token, layer, text): share on each context token, then on each token of the
    # answer (0 from the token itself on), mean over heads; sums to the share that is not the visuals'

    model_name: str
    settings: dict[str, Any] = field(default_factory=dict)  # how the answer was generated, JSON-ready
    stopped: bool = False  # True: the person ended it early
    history: tuple[Turn, ...] = ()  # the turns before the question
    # RGB, as they were given, while at hand
    pictures: tuple[Image | Video, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        check_in_order(self.visuals)
        if self.pictures and len(self.pictures) != len(self.visuals):
            raise ValueError(f"expected {len(self.visuals)} pictures; got {len(self.pictures)}")
        kinds = kinds_of_turns(self.history)
        if [visual.kind for visual in self.visuals[: len(kinds)]] != kinds:
            raise ValueError(f"expected the visuals of the earlier turns first, {kinds}")
        if (crop := self.crop) is not None:
            crop.check(self.visuals)
        if not self.layers or list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError(f"expected layers ascending, each once, from 0; got {self.layers}")
        if self.layers[-1] >= self.layer_count:
            raise ValueError(
                f"layer {self.layers[-1]} was recorded of a model with {self.layer_count} layers"
            )
        ids, spans = self.token_ids, self.token_spans
        _check_tokens("token", len(ids), self.tokens, spans, self.text)
        _check_tokens(
            "prompt token",
            len(self.prompt_token_ids),
            self.prompt_tokens,
            self.prompt_token_spans,
            self.prompt,
        )
        self._check_kept()
        self._check_rows("attention", self.attention, self.shares, len(ids))
        self._check_rows(
            "prompt_attention", self.prompt_attention, self.prompt_shares, len(self.prompt_token_ids)
        )
        if self.head_count != self.prompt_shares.shape[2]:
            raise ValueError(
                f"expected as many heads for the prompt as for the answer, {self.head_count}; "
                f"got {self.prompt_shares.shape[2]}"
            )
        self._check_text()
        if self.logprobs.shape != (len(ids),) or not bool((self.logprobs <= 1e-4).all()):
            raise ValueError(f"expected one logprob of at most 0 for each of {len(ids)} tokens")
        if self.prompt_length < self.patch_count + len(self.prompt_token_ids):
            raise ValueError(
                f"a prompt of {self.prompt_length} positions cannot hold {self.patch_count} visual tokens "
                f"and {len(self.prompt_token_ids)} prompt tokens"
            )

    @property
    def patch_count(self) -> int:
        """The visual tokens of the prompt, those of all its visuals."""
        return patch_count(self.visuals)

    @property
    def picture(self) -> Image | None:
        """The one picture, RGB, as it was given, while it is at hand; ValueError where there are several."""
        only_picture(self.visuals)
        return cast("Image", self.pictures[0]) if self.pictures else None

    @property
    def earlier(self) -> int:
        """How many of the visuals are those of earlier turns; they are the first."""
        return len(kinds_of_turns(self.history))

    @property
    def conversation(self) -> tuple[Turn, ...]:
        """The turns so far, this question and its answer the last; ValueError for an empty answer."""
        kinds = tuple(visual.kind for visual in self.visuals[self.earlier :])
        return (*self.history, Turn(self.prompt, kinds, self.token_ids, self.text))

    @property
    def hybrid(self) -> bool:
        """Whether some of the model's layers mix positions without attention."""
        return bool(self.settings.get("hybrid"))

    @property
    def gated(self) -> bool:
        """Whether a gate follows the attention of each of the model's heads."""
        return bool(self.settings.get("gated"))

    @property
    def thinking(self) -> bool:
        """Whether the template told the model to think aloud first."""
        return bool(self.settings.get("thinking"))

    @property
    def system(self) -> str | None:
        """The text of the system turn that was given; None where it was left to the template."""
        return self.settings.get("system")

    @property
    def parent(self) -> str | None:
        """The id of the kept answer that this one follows or asks again; None where there is none."""
        return self.settings.get("parent")

    @property
    def keep(self) -> Keep:
        """What was kept of the heads: "all", "head-mean", or pairs of a layer and a head."""
        return keep_of(self.settings.get("keep", ALL))

    @property
    def crop(self) -> Crop | None:
        """Which of the visuals is a part cut out of another, for a closer look; None where none is."""
        crop = self.settings.get("crop")
        return None if crop is None else crop_of_json(crop)

    @property
    def head_count(self) -> int:
        """Heads of each of the model's layers, kept or not."""
        return int(self.shares.shape[2])

    @property
    def bytes(self) -> int:
        """The bytes of all that was recorded, in memory or in a file."""
        parts = (
            self.attention,
            self.shares,
            self.logprobs,
            self.text_attention,
            self.prompt_attention,
            self.prompt_shares,
        )
        return sum(part.numel() * part.element_size() for part in parts)

    def _repr_html_(self) -> str | None:
        """Return the viewer for a cell of a notebook, with attention over all layers and heads."""
        return cell(self)

    def _check_kept(self) -> None:
        """Raise unless the pairs that were kept, if any, are of the recorded layers and the model's heads."""
        keep = self.keep
        if isinstance(keep, str):
            return
        if layers_of(keep) != self.layers:
            raise ValueError(f"expected layers {layers_of(keep)}, as the pairs say; got {self.layers}")
        if (highest := max(head for _, head in keep)) >= self.head_count:
            raise ValueError(f"head {highest} was kept of a model with {self.head_count} heads")

    def _check_rows(self, name: str, attention: Tensor, shares: Tensor, count: int) -> None:
        """Raise unless attention and shares belong to so many tokens, are finite and agree."""
        layers, patches = len(self.layers), self.patch_count
        if attention.ndim != 4 or (*attention.shape[:2], attention.shape[3]) != (count, layers, patches):
            grids = ", ".join(str(visual.grid) for visual in self.visuals)
            raise ValueError(
                f"expected {name} of shape (token, layer, head, patch)=({count}, {layers}, head, {patches}) "
                f"for grids (t, h, w)={grids}; got {tuple(attention.shape)}"
            )
        heads = attention.shape[2] if self.keep == ALL or shares.ndim != 4 else shares.shape[2]
        if shares.shape != (count, layers, heads, 3):
            raise ValueError(
                f"expected shares of shape {(count, layers, heads, 3)} beside {name}; "
                f"got {tuple(shares.shape)}"
            )
        if attention.shape[2] != (rows := rows_kept(self.keep, heads)):
            raise ValueError(f"expected {rows} rows of each layer in {name}; got {attention.shape[2]}")
        # A token at a time: no second copy of the whole. NaN and infinity show in the sums.
        for token, parts in zip(attention, shares, strict=True):
            far = max(_largest(token.float().sum(-1) - self._kept(parts)), _largest(parts.sum(-1) - 1))
            if not far < 5e-3 or float(token.min()) < 0 or float(parts.min()) < 0:
                raise ValueError(
                    f"expected {name} within 0..1 whose shares sum to 1 and whose image share is its sum; "
                    f"they differ by {far:.3g}"
                )

    def _kept(self, parts: Tensor) -> Tensor:
        """Return what the kept rows of a token sum to (layer, row), by its shares (layer, head, 3)."""
        on_image = parts[..., 0]  # (layer, head)
        if self.keep == ALL:
            return on_image
        if self.keep == HEAD_MEAN:
            return on_image.mean(1, keepdim=True)
        found = on_image.new_zeros(len(self.layers), rows_kept(self.keep, self.head_count))
        for index, layer in enumerate(self.layers):
            heads = heads_in(self.keep, layer)
            found[index, : len(heads)] = on_image[index, list(heads)]
        return found

    def _check_text(self) -> None:
        """Raise unless the attention to text agrees with the tokens and the shares."""
        context, places = len(self.context_tokens), self.prompt_places
        if context != self.prompt_length - self.patch_count:
            raise ValueError(
                f"expected context tokens for {self.prompt_length} positions less the visuals'; got {context}"
            )
        if len(places) != len(self.prompt_token_ids) or any(not 0 <= place < context for place in places):
            raise ValueError(f"expected the place of each prompt token in the context; got {places}")
        expected = (len(self.token_ids), len(self.layers), context + len(self.token_ids))
        if self.text_attention.shape != expected:
            raise ValueError(
                f"expected text_attention of shape (token, layer, text)={expected}; "
                f"got {tuple(self.text_attention.shape)}"
            )
        if self.token_ids:
            of_text = self.shares[..., 1:].float().sum(-1).mean(2)  # (token, layer)
            far = _largest(self.text_attention.sum(-1).to(of_text.device) - of_text)
            if not far < 5e-3 or float(self.text_attention.min()) < 0:
                raise ValueError(
                    f"expected text_attention to sum to the share on text; they differ by {far:.3g}"
                )


def _check_tokens(name: str, count: int, shown: Sequence[str], spans: Sequence[Span], text: str) -> None:
    """Raise unless there is a display text and a span inside the text for each of so many tokens."""
    if len(shown) != count or len(spans) != count:
        raise ValueError(f"{count} {name} ids, but {len(shown)} display texts and {len(spans)} spans")
    for start, end in spans:
        if not 0 <= start <= end <= len(text):
            raise ValueError(f"{name} span {start}..{end} is outside the text of {len(text)} characters")


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())
