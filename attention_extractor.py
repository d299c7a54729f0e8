"""Generate an answer about an image and record, while it happens, where each token's attention went.

Goes in: a model, its processor, an image and a prompt. Comes out: a `Capture`, a plain record that needs no
model to be read or drawn. Knows nothing of maps, pictures or pages.

The attention is exact and costs next to nothing: the model keeps the kernel that it uses for its output
(sdpa, flash attention, …), and beside it only the rows that explain a token are computed: softmax(q·Kᵀ) of
one query each.
"""

import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from types import MappingProxyType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from model import Encoded, decoder_layers, encode, model_layer_count

import torch
from PIL.Image import Image
from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, GenerationConfig
from transformers.generation import (
    LogitsProcessor,
    LogitsProcessorList,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopPLogitsWarper,
)
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import eager_attention_forward
from transformers.processing_utils import ProcessorMixin

import config

Span = tuple[int, int]  # first character and the one after the last
OnToken = Callable[[str, int], None]


# --- The record --------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Capture:
    """Attention from each generated token to each visual token, with all that is needed to draw it again.

    Token i is explained by the attention row that predicted it, that of position `prompt_length + i - 1`; a
    token of the prompt, which nothing predicted, by the row in which it asks itself. The token that ended the
    answer (end of turn, end of text) is not part of it; no other is left out.
    """

    token_ids: tuple[int, ...]
    tokens: tuple[str, ...]  # display text of each token; a piece of a split character says so: "⟨E4 BD⟩"
    text: str  # the answer, special tokens left out
    attention: Tensor  # (token, layer, head, patch): share of that head's attention, 0..1
    layers: tuple[int, ...]  # decoder layer of each index of axis 1, ascending
    layer_count: int  # decoder layers of the model, recorded or not
    grid: tuple[int, int]  # (h, w) in merged patches; patch = row * w + col
    shares: Tensor  # (token, layer, head, 3): mass on image, rest of the prompt, answer so far; sums to 1
    logprobs: Tensor  # (token,): log-probability under the model itself, before temperature and top_p
    token_spans: tuple[
        Span, ...
    ]  # where each token stands in `text`; tokens of one split character share its span

    prompt: str  # the person's text as the model read it
    prompt_token_ids: tuple[int, ...]
    prompt_tokens: tuple[str, ...]
    prompt_token_spans: tuple[Span, ...]
    prompt_attention: Tensor  # (prompt token, layer, head, patch)
    prompt_shares: Tensor  # (prompt token, layer, head, 3)
    prompt_length: int  # positions before the answer: template, image and prompt
    context_tokens: tuple[
        str, ...
    ]  # display text of every position before the answer that is not the image's
    prompt_places: tuple[int, ...]  # which of them are the prompt's tokens
    text_attention: Tensor  # (token, layer, text): share on each context token, then on each token of the
    # answer (0 from the token itself on), mean over heads; sums to the share that is not the image's

    image_size: tuple[int, int]  # (h, w) of the picture given, in its own pixels
    image_hash: str
    model_name: str
    settings: dict[str, Any] = field(default_factory=dict)  # how the answer was generated, JSON-ready
    stopped: bool = False  # True: the person ended it early

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        h, w = self.grid
        if h < 1 or w < 1:
            raise ValueError(f"expected a grid (h, w) of at least 1 x 1; got {self.grid}")
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
        _check_rows("attention", self.attention, self.shares, len(ids), len(self.layers), self.grid)
        _check_rows(
            "prompt_attention",
            self.prompt_attention,
            self.prompt_shares,
            len(self.prompt_token_ids),
            len(self.layers),
            self.grid,
        )
        if self.attention.shape[2] != self.prompt_attention.shape[2]:
            raise ValueError(
                f"expected as many heads for the prompt as for the answer, {self.attention.shape[2]}; "
                f"got {self.prompt_attention.shape[2]}"
            )
        self._check_text()
        if self.logprobs.shape != (len(ids),) or not bool((self.logprobs <= 1e-4).all()):
            raise ValueError(f"expected one logprob of at most 0 for each of {len(ids)} tokens")
        if self.prompt_length < h * w + len(self.prompt_token_ids):
            raise ValueError(
                f"a prompt of {self.prompt_length} positions cannot hold {h * w} visual tokens "
                f"and {len(self.prompt_token_ids)} prompt tokens"
            )

    def _check_text(self) -> None:
        """Raise unless the attention to text agrees with the tokens and the shares."""
        context, places = len(self.context_tokens), self.prompt_places
        if context != self.prompt_length - self.grid[0] * self.grid[1]:
            raise ValueError(
                f"expected context tokens for {self.prompt_length} positions less the image's; got {context}"
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


def _check_rows(
    name: str, attention: Tensor, shares: Tensor, count: int, layers: int, grid: tuple[int, int]
) -> None:
    """Raise unless attention and shares belong to so many tokens and layers, are finite and agree."""
    h, w = grid
    if attention.ndim != 4 or (attention.shape[0], attention.shape[1], attention.shape[3]) != (
        count,
        layers,
        h * w,
    ):
        raise ValueError(
            f"expected {name} of shape (token, layer, head, patch)=({count}, {layers}, head, {h * w}) "
            f"for grid (h, w)={grid}; got {tuple(attention.shape)}"
        )
    if shares.shape != (*attention.shape[:3], 3):
        raise ValueError(
            f"expected shares of shape {(*attention.shape[:3], 3)} beside {name}; got {tuple(shares.shape)}"
        )
    # A few tokens at a time: no second copy of the whole. NaN and infinity show in the sums.
    for rows, parts in zip(attention.split(8), shares.split(8), strict=True):
        if not count:
            return
        on_image = rows.sum(-1, dtype=torch.float32)  # (token, layer, head)
        far = max(_largest(on_image - parts[..., 0]), _largest(parts.sum(-1) - 1))
        if not far < 5e-3 or float(rows.min()) < 0 or float(parts.min()) < 0:
            raise ValueError(
                f"expected {name} within 0..1 whose shares sum to 1 and whose image share is its sum; "
                f"they differ by {far:.3g}"
            )


def _largest(difference: Tensor) -> float:
    return float(difference.abs().max())


# --- Hooks -------------------------------------------------------------------------------------------------


@contextmanager
def hooked(modules: Sequence[nn.Module], hook: Callable[..., Any]) -> Iterator[None]:
    """Call hook(index, module, args, output) on each forward; unhook on exit, also after half a start."""
    with ExitStack() as handles:
        for index, module in enumerate(modules):
            handles.callback(module.register_forward_hook(partial(hook, index)).remove)
        yield


# --- Attention rows beside the model's own kernel ----------------------------------------------------------

# For each attention module of a running capture, the prompt positions whose rows are wanted (last position
# included). Modules that are not here pay nothing, whatever model they belong to.
_wanted_rows: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()


class Mixing(NamedTuple):
    """What one layer's attention is made of, positions applied."""

    query: Tensor  # (batch, head, token, dim)
    key: Tensor  # (batch, kv head, token, dim)
    value: Tensor  # (batch, kv head, token, dim)
    output: Tensor  # (batch, token, head, dim): softmax(q·Kᵀ·scaling)·V, before the heads are joined
    scaling: float


# For each watched attention module, who sees what it mixes.
_watchers: WeakKeyDictionary[nn.Module, Callable[[Mixing], None]] = WeakKeyDictionary()

_PREFIX = "captured_"


def attention_rows(query: Tensor, key: Tensor, scaling: float, positions: Tensor) -> Tensor:
    """Return softmax(q·Kᵀ·scaling) of some query rows, computed in float32: (head, row, key).

    `query` is (1, head, row, dim), `key` (1, kv head, key, dim). `positions` (row,) are the rows' positions
    in the sequence; each row sees the keys up to its own position and gives the later ones 0.
    """
    _, heads, rows, dim = query.shape
    _, kv_heads, keys, _ = key.shape
    # Heads that share a key head are consecutive: taken as further rows of it, they need no copy of the keys.
    grouped = query[0].float().reshape(kv_heads, -1, dim) * scaling
    scores = torch.bmm(grouped, key[0].float().transpose(1, 2)).view(heads, rows, keys)
    first = int(positions.min()) + 1  # every row sees the keys before this one
    later = torch.arange(first, keys, device=positions.device) > positions[:, None]  # (row, key)
    scores[..., first:].masked_fill_(later.to(scores.device), -torch.inf)
    return torch.softmax(scores, dim=-1)


def _captured_attention(
    backend: Callable[..., Any],
    name: str,
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    **settings: Any,
) -> tuple[Tensor, tuple[Tensor, Tensor] | None]:
    """Return the backend's output and, in the place of the attention weights, what wanted rows are made of.

    That is the queries of these rows and all keys so far. The rows themselves are computed for many tokens at
    once: one product of some hundred rows costs far less than some hundred products of one row.
    """
    seen_as = module if name in ("sdpa", "eager") else _seen_with_backend(module, name)
    output, _ = backend(seen_as, query, key, value, attention_mask, **settings)
    watch = _watchers.get(module)
    if watch is not None:
        watch(Mixing(query, key, value, output, module.scaling))
    rows = _wanted_rows.get(module)
    if rows is None:
        return output, None
    if query.shape[2] > 1:
        query = query.index_select(2, rows.to(query.device))
    return output, (query, key)


class _Seen:
    """Something as it is, but for a few attributes."""

    def __init__(self, target: Any, **changed: Any) -> None:
        self.__dict__.update(changed, _target=target)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._target, name)


def _seen_with_backend(module: Any, name: str) -> Any:
    """Return the module as the backend would meet it without us: flash attention goes by that name."""
    return _Seen(module, config=_Seen(module.config, _attn_implementation=name))


def _registered(backend: str) -> str:
    """Register our attention function over a backend, with that backend's mask, and return its name.

    The backend's name is part of it: transformers takes any name with "flash" in it for flash attention.
    """
    name = _PREFIX + backend.replace("/", "_")
    function = ALL_ATTENTION_FUNCTIONS.get_interface(backend, eager_attention_forward)
    AttentionInterface.register(name, partial(_captured_attention, function, backend))
    if backend in ALL_MASK_ATTENTION_FUNCTIONS:
        AttentionMaskInterface.register(name, ALL_MASK_ATTENTION_FUNCTIONS[backend])
    return name


@contextmanager
def _rows_wanted(modules: Sequence[nn.Module], rows: Tensor) -> Iterator[None]:
    """Have these attention modules return rows."""
    try:
        for module in modules:
            _wanted_rows[module] = rows
        yield
    finally:
        for module in modules:
            _wanted_rows.pop(module, None)


@contextmanager
def attention_watched(
    model: Any, layers: Sequence[int], watch: Callable[[int, Mixing], None]
) -> Iterator[None]:
    """Call watch(layer, mixing) inside the attention of these decoder layers, at each forward.

    The model must be had alone. sdpa takes the place of eager attention, which would keep a (head, token,
    token) matrix of every layer for the gradients.

    Raises:
        ValueError: for sliding-window attention, whose rows do not run over all keys.
    """
    of_layer: Sequence[Any] = list(decoder_layers(model))
    modules = {layer: of_layer[layer].self_attn for layer in layers}
    _check_full_attention(modules.values())
    try:
        for layer, module in modules.items():
            _watchers[module] = partial(watch, layer)
        with _backend_wrapped(model, of_layer[0].self_attn, {"eager": "sdpa"}):
            yield
    finally:
        for module in modules.values():
            _watchers.pop(module, None)


def _check_full_attention(modules: Iterable[Any]) -> None:
    if any(getattr(module, "sliding_window", None) for module in modules):
        raise ValueError("this model uses sliding-window attention, which cannot be recorded exactly")


@contextmanager
def _backend_wrapped(
    model: Any, module: Any, instead: Mapping[str, str] = MappingProxyType({})
) -> Iterator[str]:
    """Switch the decoder to our attention function, and back on exit; yield the name of the one in use.

    Our function computes with that one, or with what is to be used `instead` of it.
    """
    backend = module.config._attn_implementation
    name = _registered(instead.get(backend, backend))
    try:
        model.set_attn_implementation({"text_config": name})
        if module.config._attn_implementation != name:
            raise RuntimeError(
                "the decoder's attention backend could not be switched; its weights cannot be read"
            )
        yield backend
    finally:
        model.set_attn_implementation({"text_config": backend})


# --- The model, kept as it was -----------------------------------------------------------------------------

_busy: set[int] = set()
_busy_lock = threading.Lock()


@contextmanager
def alone(text_config: object) -> Iterator[None]:
    """Refuse a second capture or map on a decoder while one is being computed."""
    key = id(text_config)
    with _busy_lock:
        if key in _busy:
            raise RuntimeError(
                "this model is already at work for another answer or map; "
                "wait for it, or load the model again"
            )
        _busy.add(key)
    try:
        yield
    finally:
        with _busy_lock:
            _busy.discard(key)


@contextmanager
def in_eval_mode(model: nn.Module) -> Iterator[None]:
    """Switch every module to eval mode; put back those that were not."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def _plain_generation(model: Any) -> Iterator[set[int]]:
    """Drop the checkpoint's own generation settings but its special tokens; yield the ids that end an answer.

    Published checkpoints come with a repetition penalty, a temperature and sampling switched on. Here an
    answer is what the arguments of `generate` say and nothing else.
    """
    before, position_offset = model.generation_config, model.model.rope_deltas
    eos = before.eos_token_id
    ends = {int(token) for token in (eos if isinstance(eos, (list, tuple)) else [eos]) if token is not None}
    pad = before.pad_token_id if before.pad_token_id is not None else min(ends, default=None)
    try:
        model.generation_config = GenerationConfig(
            bos_token_id=before.bos_token_id, eos_token_id=sorted(ends) or None, pad_token_id=pad
        )
        yield ends
    finally:
        model.generation_config, model.model.rope_deltas = before, position_offset


# --- Collecting --------------------------------------------------------------------------------------------

_BLOCK = 64  # tokens whose rows are computed together: full rows of one layer are what has to fit


@dataclass(frozen=True)
class _Places:
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


def _places(encoded: Encoded) -> _Places:
    positions = encoded.image_positions.tolist()
    image = slice(positions[0], positions[-1] + 1)
    if image.stop - image.start != len(positions):
        raise ValueError("expected the image's tokens in one run; several images cannot be captured")
    return _Places(image, tuple(encoded.prompt_positions.tolist()), encoded.prompt_length)


class _Rows:
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

    def file(self, first: int, layer: int, rows: Tensor, places: _Places) -> None:
        """Keep what is wanted of the rows (head, token, key) of one layer, from token `first` on."""
        rows = rows.transpose(0, 1)  # (token, head, key)
        tokens = slice(first, first + len(rows))
        self.attention[tokens, layer] = rows[..., places.image].to(self.attention.dtype)
        self.shares[tokens, layer] = places.shares(rows).to(self.shares.device)
        if self.text.shape[-1]:
            parts = rows[..., : places.image.start], rows[..., places.image.stop :]
            text = torch.cat([part.mean(1) for part in parts], dim=-1)  # (token, text)
            self.text[tokens, layer, : text.shape[-1]] = text.to(self.text.device)


class _Recording:
    """The rows of one generation: hooks hand in queries and keys, `keep` says that a token was chosen.

    Between two blocks it holds the queries of at most so many tokens, and a reference to the keys, which the
    model's cache holds anyway; while a block is filed, the full rows of one layer. All else is image columns
    and shares.
    """

    def __init__(
        self, places: _Places, modules: Sequence[Any], device: torch.device | None, float16: bool
    ) -> None:
        self.places = places
        self.scaling = [float(module.scaling) for module in modules]
        self.heads = int(modules[0].config.num_attention_heads)
        self.device = device  # None: where the first layer's queries are
        self.dtype = torch.float16 if float16 else torch.float32
        # Of the last forward: the query (1, head, 1, dim) and the keys (1, kv head, key, dim) of each layer.
        self.latest: list[Tensor | None] = [None] * len(modules)
        self.keys: list[Tensor | None] = [None] * len(modules)
        self.waiting: list[list[Tensor]] = []  # for each token since the last block, the query of each layer
        self.blocks: list[_Rows] = []

    def hook(self, index: int, module: nn.Module, args: Any, output: tuple[Tensor, Any]) -> None:
        """Take the queries and keys that one attention module returned."""
        if not isinstance(output[1], tuple):
            raise RuntimeError("the attention backend was switched while an answer was recorded")
        query, key = output[1]
        if query.shape[2] > 1:
            self._file_prompt(index, query[:, :, :-1], key)
            query = query[:, :, -1:]
        self.latest[index], self.keys[index] = query, key

    def _file_prompt(self, index: int, query: Tensor, key: Tensor) -> None:
        """Compute and keep the rows of the prompt's tokens in one layer."""
        if index == 0:
            self.device = self.device or query.device
            self.prompt = self._room(len(self.places.prompt_rows), text=0)
        positions = torch.tensor(self.places.prompt_rows)
        for first in range(0, len(positions), _BLOCK):
            some = slice(first, first + _BLOCK)
            rows = attention_rows(query[:, :, some], key, self.scaling[index], positions[some])
            self.prompt.file(first, index, rows, self.places)

    def _room(self, tokens: int, text: int) -> _Rows:
        patches = self.places.image.stop - self.places.image.start
        device = self.device or torch.device("cpu")
        return _Rows((tokens, len(self.scaling), self.heads, patches), text, self.dtype, device)

    def keep(self) -> None:
        """Keep the rows of the last forward: they predicted a token of the answer."""
        queries = [query for query in self.latest if query is not None]
        if len(queries) != len(self.latest):
            raise RuntimeError("a decoder layer did not run; its attention is missing")
        self.waiting.append(queries)
        self.latest = [None] * len(queries)
        if len(self.waiting) == _BLOCK:
            self._file_block()

    def _file_block(self) -> None:
        """Compute and keep the rows of the tokens that wait."""
        before = sum(len(block.shares) for block in self.blocks)
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

    def whole(self) -> _Rows:
        """Return the rows of all tokens; each block is freed as soon as it is copied."""
        if self.waiting:
            self._file_block()
        if len(self.blocks) == 1:
            return self.blocks.pop()
        count = sum(len(block.shares) for block in self.blocks)
        whole, start = self._room(count, self._text(count)), 0
        while self.blocks:
            block = self.blocks.pop(0)
            end = start + len(block.shares)
            whole.attention[start:end], whole.shares[start:end] = block.attention, block.shares
            whole.text[start:end, :, : block.text.shape[-1]] = block.text
            start = end
        return whole


# --- Generating --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """How an answer is generated."""

    max_new_tokens: int
    temperature: float
    top_p: float
    seed: int

    def __post_init__(self) -> None:
        if isinstance(self.max_new_tokens, bool) or not isinstance(self.max_new_tokens, int):
            raise ValueError(f"max_new_tokens must be a whole number; got {self.max_new_tokens!r}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1; got {self.max_new_tokens}")
        if not 0 <= self.temperature < float("inf"):
            raise ValueError(f"temperature must be 0 (greedy) or above; got {self.temperature}")
        if not 0 < self.top_p <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1; got {self.top_p}")


class _Choose(LogitsProcessor):
    """Keep the model's logits, and draw the token where it is to be drawn.

    Same steps and same random numbers as `torch.manual_seed(seed)` and `generate(do_sample=True)`, but from a
    generator of our own: the process's random state is neither read nor changed.
    """

    def __init__(self, settings: _Settings) -> None:
        self.settings = settings
        self.logits: Tensor | None = None  # (1, vocabulary), of the last forward
        self.generator: torch.Generator | None = None
        self.warpers = LogitsProcessorList()
        if settings.temperature not in (0, 1):
            self.warpers.append(TemperatureLogitsWarper(float(settings.temperature)))
        if settings.top_p < 1:
            self.warpers.append(TopPLogitsWarper(float(settings.top_p)))

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self.logits = scores
        if self.settings.temperature == 0:
            return scores
        if self.generator is None:
            self.generator = torch.Generator(scores.device).manual_seed(self.settings.seed)
        probabilities = torch.softmax(self.warpers(input_ids, scores), dim=-1)
        token = torch.multinomial(probabilities, 1, generator=self.generator)
        return torch.full_like(scores, -torch.inf).scatter_(1, token, 0.0)

    def logprob(self, token: int) -> Tensor:
        """Return the log-probability () of the token under the model itself."""
        if self.logits is None:
            raise RuntimeError("no token was predicted yet")
        return torch.log_softmax(self.logits[0], dim=0)[token].clone()  # a view would keep all of them


class _EachToken(StoppingCriteria):
    """File each token as it is chosen, tell the caller, and end the answer where it is to end."""

    def __init__(
        self,
        recording: _Recording,
        choose: _Choose,
        ends: Collection[int],
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> None:
        self.recording, self.choose, self.ends, self.tell, self.stop = recording, choose, ends, tell, stop
        self.ids: list[int] = []
        self.logprobs: list[Tensor] = []
        self.stopped = False

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        token = int(input_ids[0, -1])
        ended = token in self.ends
        if not ended:
            self.recording.keep()
            self.ids.append(token)
            self.logprobs.append(self.choose.logprob(token))
            self.tell(self.ids)
            self.stopped = self.stop is not None and self.stop.is_set()
        return torch.full((1,), ended or self.stopped, dtype=torch.bool, device=input_ids.device)


class AttentionExtractor:
    """Generates answers with one model and records their attention."""

    def __init__(
        self,
        model: Any,
        processor: ProcessorMixin,
        layers: Sequence[int] | None = None,
        store_on_cpu: bool | None = None,
        float16: bool | None = None,
    ) -> None:
        """Choose what is recorded; what is None is read from `config`.

        `layers` are decoder layers, negative ones counted from the last; naming one twice counts once. With
        `store_on_cpu` the record leaves the model's device while it grows; with `float16` it takes half the
        memory.

        Raises:
            ValueError: for a layer beyond the model, and for sliding-window attention, whose rows do not run
                over all keys.
        """
        if layers is None and not config.EXTRACT_ALL_LAYERS:
            layers = config.SPECIFIC_LAYERS
        self.model, self.processor = model, processor
        self._vocabulary = Vocabulary(processor.tokenizer)
        self.layers = decoder_layer_numbers(model_layer_count(model), layers)
        self.store_on_cpu = config.STORE_ON_CPU if store_on_cpu is None else store_on_cpu
        self.float16 = config.USE_FLOAT16 if float16 is None else float16
        self._modules: list[Any] = [decoder_layers(model)[layer].self_attn for layer in self.layers]
        _check_full_attention(self._modules)

    def generate(
        self,
        image: Image,
        prompt: str,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        on_token: OnToken | None = None,
        stop: threading.Event | None = None,
    ) -> Capture:
        """Return an answer to the prompt about the image, with its attention; None is read from `config`.

        Temperature 0 takes the likeliest token, above 0 draws from the `top_p` nucleus with `seed`. The
        checkpoint's own generation settings (repetition penalty, top-k, …) are not applied: the answer is
        that of `model.generate` with a neutral `GenerationConfig` and these arguments. `on_token(text so far,
        number of tokens)` is called after each token; setting `stop` ends the answer after the token at hand.
        The model is put back as it was, also after an error.

        Raises:
            ValueError: for a setting out of range, an image or a prompt that cannot be used.
            RuntimeError: if the model is at work for another capture or Grad-CAM.
        """
        settings = _Settings(
            max_new_tokens=config.MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens,
            temperature=config.TEMPERATURE if temperature is None else temperature,
            top_p=config.TOP_P if top_p is None else top_p,
            seed=config.SEED if seed is None else seed,
        )
        encoded = encode(self.model, self.processor, image, prompt)
        places = _places(encoded)
        store = torch.device("cpu") if self.store_on_cpu else None
        recording = _Recording(places, self._modules, store, self.float16)
        each, backend = self._run(encoded, recording, settings, self._teller(on_token), stop)
        return self._capture(encoded, recording, each, {**vars(settings), "attention_backend": backend})

    def _run(
        self,
        encoded: Encoded,
        recording: _Recording,
        settings: _Settings,
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> tuple[_EachToken, str]:
        """Generate into the recording; return the tokens and the name of the attention backend."""
        rows = torch.tensor([*recording.places.prompt_rows, encoded.prompt_length - 1])
        choose = _Choose(settings)
        with ExitStack() as held:
            held.enter_context(alone(self._modules[0].config))
            held.enter_context(in_eval_mode(self.model))
            ends = held.enter_context(_plain_generation(self.model))
            held.enter_context(_rows_wanted(self._modules, rows))
            held.enter_context(hooked(self._modules, recording.hook))
            backend = held.enter_context(_backend_wrapped(self.model, self._modules[0]))
            each = _EachToken(recording, choose, ends, tell, stop)
            self.model.generate(
                **encoded.inputs,
                max_new_tokens=settings.max_new_tokens,
                do_sample=False,  # _Choose draws
                use_cache=True,
                logits_processor=LogitsProcessorList([choose]),
                stopping_criteria=StoppingCriteriaList([each]),
            )
        return each, backend

    def _teller(self, on_token: OnToken | None) -> Callable[[list[int]], None]:
        """Return a function of the token ids so far that calls `on_token` with the answer so far."""
        text, rest = "", b""  # rest: the beginning of a character whose other bytes are to come

        def tell(ids: list[int]) -> None:
            nonlocal text, rest
            if on_token is None:
                return
            rest += self._vocabulary.piece(ids[-1])
            complete = len(rest) - _unfinished(rest)
            text, rest = text + spelled([rest[:complete]])[0], rest[complete:]
            on_token(text, len(ids))

        return tell

    def _capture(
        self, encoded: Encoded, recording: _Recording, each: _EachToken, settings: dict[str, Any]
    ) -> Capture:
        vocabulary, answer = self._vocabulary, recording.whole()
        prompt_ids = encoded.input_ids[encoded.prompt_positions].tolist()
        outside = torch.ones(encoded.prompt_length, dtype=torch.bool)
        outside[encoded.image_positions] = False
        context = encoded.input_ids[: encoded.prompt_length][outside].tolist()
        text, spans = spelled([vocabulary.piece(token) for token in each.ids])
        prompt, prompt_spans = spelled([vocabulary.piece(token) for token in prompt_ids])
        return Capture(
            token_ids=tuple(each.ids),
            tokens=tuple(map(vocabulary.shown, each.ids)),
            text=text,
            attention=answer.attention,
            layers=self.layers,
            layer_count=model_layer_count(self.model),
            grid=encoded.grid,
            shares=answer.shares,
            logprobs=torch.stack(each.logprobs).cpu() if each.logprobs else torch.empty(0),
            token_spans=spans,
            prompt=prompt,
            prompt_token_ids=tuple(prompt_ids),
            prompt_tokens=tuple(map(vocabulary.shown, prompt_ids)),
            prompt_token_spans=prompt_spans,
            prompt_attention=recording.prompt.attention,
            prompt_shares=recording.prompt.shares,
            prompt_length=encoded.prompt_length,
            context_tokens=tuple(map(vocabulary.shown, context)),
            prompt_places=tuple((outside.cumsum(0) - 1)[encoded.prompt_positions].tolist()),
            text_attention=answer.text,
            image_size=encoded.image_size,
            image_hash=encoded.image_hash,
            model_name=str(self.model.name_or_path),
            settings={**settings, "dtype": str(self.model.dtype).removeprefix("torch.")},
            stopped=each.stopped,
        )


def decoder_layer_numbers(count: int, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Return the decoder layers asked for, ascending and each once; None is all of them.

    Raises:
        ValueError: for no layer at all, or one beyond the model; the message names the model's layer count.
    """
    if layers is None:
        return tuple(range(count))
    if len(layers) == 0:
        raise ValueError(f"choose at least one of the model's {count} layers")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int):
            raise ValueError(f"a layer must be a whole number; got {layer!r}")
        if not -count <= layer < count:
            raise ValueError(
                f"there is no layer {layer}: the model has {count} layers, 0 to {count - 1} "
                f"(or -{count} to -1, counted from the last)"
            )
    return tuple(sorted({layer % count for layer in layers}))


# --- Tokens as text ----------------------------------------------------------------------------------------


class Vocabulary:
    """What each token of a byte-level BPE tokenizer adds to a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = dict(tokenizer.added_tokens_decoder)
        self._special = set(tokenizer.all_special_ids)
        self._bytes = _byte_values()

    def piece(self, token: int) -> bytes:
        """Return the bytes that the token adds to the text; a special token, or an id without one, adds none.

        Raises:
            ValueError: if the vocabulary is not byte-level BPE.
        """
        spelling = self._tokenizer.convert_ids_to_tokens(token)
        if token in self._special or spelling is None:
            return b""
        if token in self._added:
            added = self._added[token]
            return b"" if added.special else str(added.content).encode()
        if not all(letter in self._bytes for letter in spelling):
            raise ValueError(f"token {token} ({spelling!r}) is not of a byte-level vocabulary")
        return bytes(self._bytes[letter] for letter in spelling)

    def shown(self, token: int) -> str:
        """Return the display text: the token's text, "⟨E4 BD⟩" for bytes of a split character, its name."""
        if piece := self.piece(token):
            return spelled([piece])[0]
        return self._tokenizer.convert_ids_to_tokens(token) or f"⟨token {token}⟩"


def spelled(pieces: Sequence[bytes]) -> tuple[str, tuple[Span, ...]]:
    """Return the text that the pieces of UTF-8 make together, and each piece's span of characters in it.

    A piece that holds part of a character has that whole character in its span. Bytes that are no character
    are written as "⟨E4 BD⟩" and are one unit, brackets included. An empty piece has an empty span.
    """
    joined = b"".join(pieces)
    text, starts, ends = "", [0] * len(joined), [0] * len(joined)  # of the unit that each byte belongs to
    at = 0
    for size, unit in _units(joined):
        starts[at : at + size], ends[at : at + size] = [len(text)] * size, [len(text) + len(unit)] * size
        text, at = text + unit, at + size
    spans, at = [], 0
    for piece in pieces:
        if piece:
            spans.append((starts[at], ends[at + len(piece) - 1]))
        else:
            spans.append((spans[-1][1],) * 2 if spans else (0, 0))
        at += len(piece)
    return text, tuple(spans)


def _units(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield (number of bytes, display text) for each character, and for each run of bytes that are none."""
    decoded = data.decode(
        "utf-8", errors="surrogateescape"
    )  # a byte that is no character becomes U+DC80..U+DCFF
    for broken, run in groupby(decoded, key=lambda character: "\udc80" <= character <= "\udcff"):
        if broken:
            values = [ord(character) - 0xDC00 for character in run]
            yield len(values), "⟨" + " ".join(f"{value:02X}" for value in values) + "⟩"
        else:
            yield from ((len(character.encode()), character) for character in run)


def _unfinished(data: bytes) -> int:
    """Return the number of bytes at the end that begin a character and do not complete it."""
    for size in range(1, min(3, len(data)) + 1):
        try:
            data[-size:].decode()
        except UnicodeDecodeError as error:
            if error.start == 0 and error.reason == "unexpected end of data":
                return size
        else:
            return 0
    return 0


def _byte_values() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for.

    Bytes that print are written as themselves, the others as the letters from U+0100 on, in order (as in
    GPT-2).
    """
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    letters = {chr(byte): byte for byte in printing}
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(others)}
