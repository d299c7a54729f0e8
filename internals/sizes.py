"""How wide the parts of a model are, as its configuration says: what memory estimates are made of.

Goes in: a model. Comes out: channels, and bytes that one token takes in a layer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model import attention_layers, decoder_layers, family_of

_CHUNK = 64  # positions that a layer without attention mixes at once, in the reference code


@dataclass(frozen=True)
class Sizes:
    """Channels of the decoder and of the vision tower, and what autograd keeps of a token in a layer."""

    item: int  # bytes of a number
    wide: int  # channels of the residual stream
    query: int  # of all heads' queries together
    inner: int  # of the feed-forward part that one token goes through, all its experts together
    heads: int
    attention: (
        int  # bytes that are kept of a token in a layer with attention, but for (token, token) matrices
    )
    linear: int  # in one without, 0 where all have it; the positions are filled up to whole chunks
    tower: int  # bytes of a visual token in a layer of the vision tower
    attended: tuple[int, ...]  # the layers with attention
    count: int  # all layers

    @classmethod
    def of(cls, model: Any) -> Sizes:
        """Return the sizes of a model. Bytes were measured against what autograd keeps."""
        text, item, attended = model.config.get_text_config(), model.dtype.itemsize, attention_layers(model)
        wide, heads = text.hidden_size, text.num_attention_heads
        dim = getattr(text, "head_dim", None) or wide // heads
        query, keys = dim * heads, dim * text.num_key_value_heads
        inner, experts = _feed_forward(text)
        rest = 8 * wide + item * (3 * inner + experts * wide)
        layers: Any = decoder_layers(model)
        each = 12 if hasattr(layers[attended[0]].self_attn, "q_norm") else 8
        gate = 12 * query if family_of(model).gated else 0
        count = len(layers)
        return cls(
            item=item,
            wide=wide,
            query=query,
            inner=inner,
            heads=heads,
            attention=rest + each * (query + keys) + gate,
            linear=rest + _linear(text) if len(attended) < count else 0,
            tower=_tower(model.config.vision_config, item),
            attended=attended,
            count=count,
        )

    def kept(self, layer: int, tokens: int, eager: bool) -> int:
        """Return about how many bytes autograd keeps of so many tokens inside one layer."""
        if layer not in self.attended:
            return (tokens + _CHUNK) * self.linear
        weights = tokens * tokens * self.heads * (self.item + 4) if eager else 0
        return tokens * self.attention + weights


def _feed_forward(text: Any) -> tuple[int, int]:
    """Return the channels of the feed-forward part that a token goes through, and how many experts it has.

    Where some layers have experts and others none, the larger of the two.
    """
    dense = getattr(text, "intermediate_size", None) or 0
    experts = getattr(text, "num_experts_per_tok", None) or 0
    if not experts:
        return dense, 0
    mixed = getattr(text, "mlp_only_layers", None) or getattr(text, "decoder_sparse_step", 1) > 1
    shared = getattr(text, "shared_expert_intermediate_size", None) or 0
    inner = experts * text.moe_intermediate_size + shared
    return max(inner, dense if mixed else 0), experts


def _linear(text: Any) -> int:
    """Return the bytes that are kept of a token where a layer mixes without attention, in float32."""
    key, value, heads = text.linear_key_head_dim, text.linear_value_head_dim, text.linear_num_value_heads
    of_head = 44 * key + 36 * value + 20 * _CHUNK + 4 * key * value // _CHUNK
    return int(heads * of_head + 24 * key * text.linear_num_key_heads)


def _tower(vision: Any, item: int) -> int:
    """Return the bytes that a visual token takes in a layer of the vision tower, whose patches it joins."""
    wide = (
        getattr(vision, "embed_dim", None) or vision.hidden_size
    )  # in Qwen2-VL `hidden_size` is the decoder's
    inner = getattr(vision, "intermediate_size", None) or wide * vision.mlp_ratio
    return int(vision.spatial_merge_size**2 * item * (8 * wide + 3 * inner))
