"""Generate an answer about an image and record, while it happens, where each token's attention went.

Goes in: a model, its processor, an image and a prompt. Comes out: a `Capture`, a plain record that needs no
model to be read or drawn. Knows nothing of maps, pictures or pages.

The attention is exact and costs next to nothing: the model keeps the kernel that it uses for its output
(sdpa, flash attention, …), and beside it only the rows that explain a token are computed: softmax(q·Kᵀ) of
one query each.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

import config
from internals.attention_rows import backend_wrapped, check_full_attention, rows_wanted
from internals.exclusive import alone, in_eval_mode
from internals.generation import Choose, EachToken, Settings, generate, plain_generation
from internals.hooks import hooked
from internals.recording import Recording, places_of
from model import Encoded, Processor, decoder_layers, encode, model_layer_count
from records.capture import Capture
from records.layers import decoder_layer_numbers
from records.tokens import Vocabulary, spelled, unfinished

__all__ = ["AttentionExtractor", "Capture", "OnMap", "OnToken"]

OnToken = Callable[[str, int], None]
OnMap = Callable[[int, NDArray[np.float32]], None]
MAP_EVERY = 0.25  # seconds between two maps of an unfinished answer at least: each takes a row of every layer


class AttentionExtractor:
    """Generates answers with one model and records their attention."""

    def __init__(
        self,
        model: Any,
        processor: Processor,
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
        check_full_attention(self._modules)

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
        known_hash: str | None = None,
        on_map: OnMap | None = None,
    ) -> Capture:
        """Return an answer to the prompt about the image, with its attention; None is read from `config`.

        Temperature 0 takes the likeliest token, above 0 draws from the `top_p` nucleus with `seed`. The
        checkpoint's own generation settings (repetition penalty, top-k, …) are not applied: the answer is
        that of `model.generate` with a neutral `GenerationConfig` and these arguments.

        `on_token(text so far, number of tokens)` is called after each token. Now and then, and before
        `on_token` tells of it, `on_map(token, map (h, w))` is called with where the attention of the latest
        token went, the mean over layers and heads. Setting `stop` ends the answer after the token at hand.
        `known_hash` is the picture's `image_hash`, for who has worked it out already. The model is put back
        as it was, also after an error.

        Raises:
            ValueError: for a setting out of range, an image or a prompt that cannot be used.
            RuntimeError: if the model is at work for another capture or Grad-CAM.
        """
        settings = Settings(
            max_new_tokens=config.MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens,
            temperature=config.TEMPERATURE if temperature is None else temperature,
            top_p=config.TOP_P if top_p is None else top_p,
            seed=config.SEED if seed is None else seed,
        )
        encoded = encode(self.model, self.processor, image, prompt, known_hash)
        places = places_of(encoded)
        store = torch.device("cpu") if self.store_on_cpu else None
        recording = Recording(places, self._modules, store, self.float16)
        tell = self._teller(on_token, map_teller(recording, encoded.grid, on_map))
        each, backend = self._run(encoded, recording, settings, tell, stop)
        facts = {**vars(settings), "attention_backend": backend}
        return self._capture(encoded, recording, each, facts)

    def _run(
        self,
        encoded: Encoded,
        recording: Recording,
        settings: Settings,
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> tuple[EachToken, str]:
        """Generate into the recording; return the tokens and the name of the attention backend."""
        rows = torch.tensor([*recording.places.prompt_rows, encoded.prompt_length - 1])
        choose = Choose(settings)
        with ExitStack() as held:
            held.enter_context(alone(self._modules[0].config))
            held.enter_context(in_eval_mode(self.model))
            ends = held.enter_context(plain_generation(self.model))
            held.enter_context(rows_wanted(self._modules, rows))
            held.enter_context(hooked(self._modules, recording.hook))
            backend = held.enter_context(backend_wrapped(self.model, self._modules[0]))
            each = EachToken(recording.keep, choose, ends, tell, stop)
            generate(self.model, encoded.inputs, settings, choose, each)
        return each, backend

    def _teller(
        self, on_token: OnToken | None, tell_map: Callable[[int], None]
    ) -> Callable[[list[int]], None]:
        """Return a function of the token ids so far that calls `on_token` with the answer so far."""
        text, rest = "", b""  # rest: the beginning of a character whose other bytes are to come

        def tell(ids: list[int]) -> None:
            nonlocal text, rest
            tell_map(len(ids) - 1)
            if on_token is None:
                return
            rest += self._vocabulary.piece(ids[-1])
            complete = len(rest) - unfinished(rest)
            text, rest = text + spelled([rest[:complete]])[0], rest[complete:]
            on_token(text, len(ids))

        return tell

    def _capture(
        self, encoded: Encoded, recording: Recording, each: EachToken, settings: dict[str, Any]
    ) -> Capture:
        vocabulary, answer = self._vocabulary, recording.whole()
        prompt_ids = encoded.input_ids[encoded.prompt_positions].tolist()
        outside = torch.ones(encoded.prompt_length, dtype=torch.bool)
        outside[encoded.image_positions] = False
        context = encoded.input_ids[: encoded.prompt_length][outside].tolist()
        text, spans = spelled([vocabulary.piece(token) for token in each.ids])
        prompt, prompt_spans = spelled([vocabulary.written(token) for token in prompt_ids])
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
            picture=encoded.picture,
        )


def map_teller(recording: Recording, grid: tuple[int, int], on_map: OnMap | None) -> Callable[[int], None]:
    """Return a function of a token's number that calls `on_map` with its map, though not all too often."""
    told = 0.0

    def tell(token: int) -> None:
        nonlocal told
        if on_map is not None and time.monotonic() - told >= MAP_EVERY:
            on_map(token, recording.latest_map().reshape(grid).numpy())
            told = time.monotonic()

    return tell
