"""Generate an answer about pictures, or read a given one, and record where each token's attention went.

Goes in: a model, its processor, pictures and a prompt. Comes out: a `Capture`, a plain record that needs no
model to be read or drawn. Knows nothing of maps, pictures or pages.

The attention is exact and costs next to nothing: the model keeps the kernel that it uses for its output
(sdpa, flash attention, …), and beside it only the rows that explain a token are computed: softmax(q·Kᵀ) of
one query each.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor
from transformers import GenerationConfig

import config
from internals.attention_rows import backend_wrapped, check_full_attention, rows_wanted
from internals.exclusive import alone, in_eval_mode, lent
from internals.generation import Draws, EachToken, RawLogits, generate, generation_config_set
from internals.hooks import hooked
from internals.memory import check_room, within_memory
from internals.recording import OnMap, Recording, Room, map_teller, places_of
from internals.teacher_forcing import head_logprobs, teacher_forced_inputs
from model import (
    Counts,
    Encoded,
    Pictures,
    Processor,
    Size,
    answer_ids,
    attention_layers,
    box_settings,
    decoder_layers,
    family_of,
    generation_config_of,
    model_device,
    model_layer_count,
    told,
)
from model.before import Before
from model.questions import written_prompt
from records.capture import Capture
from records.choices import chosen_indices
from records.conversation import History
from records.generation import GenerationSettings
from records.keep import ALL, Keep, as_json, keep_of, layers_of
from records.layers import attention_layer_numbers
from records.plan import Plan
from records.store import cache_folder
from records.tokens import Vocabulary, spelled, unfinished

__all__ = ["AttentionExtractor", "Capture", "OnMap", "OnPlan", "OnToken"]

OnToken = Callable[[str, int], None]
OnPlan = Callable[[Plan], None]

NO_MEMORY = (
    "there is not enough memory for this answer; fewer new tokens (MAX_NEW_TOKENS), a smaller picture "
    '(MAX_PIXELS), the mean over heads (KEEP = "head-mean") or fewer layers (SPECIFIC_LAYERS) need less'
)


class Said(NamedTuple):
    """The tokens of an answer, with the log-probability () of each under the model itself."""

    ids: list[int]
    logprobs: list[Tensor]
    stopped: bool


class AttentionExtractor:
    """Generates answers with one model, or reads given ones, and records their attention."""

    def __init__(
        self,
        model: Any,
        processor: Processor,
        layers: Sequence[int] | None = None,
        store_on_cpu: bool | None = None,
        float16: bool | None = None,
        keep: Keep | Sequence[tuple[int, int]] | None = None,
    ) -> None:
        """Choose what is recorded; what is None is read from `config`.

        `layers` are decoder layers, negative ones counted from the last; naming one twice counts once. In a
        hybrid, whose other layers mix positions without attention, None is those that have it. With
        `store_on_cpu` the record leaves the model's device while it grows; with `float16` it takes half the
        memory. `keep` is "all" heads, "head-mean" (the mean over the heads of each layer), or pairs of a
        layer and a head, which also say which layers are recorded: see `Capture`.

        Raises:
            ValueError: for a layer or head beyond the model, a layer without attention, pairs beside layers,
                and for attention whose rows do not run over all keys.
        """
        self.keep = keep_of(keep)
        if layers is not None and not isinstance(self.keep, str):
            raise ValueError("choose either layers, or pairs of a layer and a head to keep")
        if layers is None and (layers := layers_of(self.keep)) is None and not config.EXTRACT_ALL_LAYERS:
            layers = config.SPECIFIC_LAYERS
        self.model, self.processor = model, processor
        self._vocabulary = Vocabulary(processor.tokenizer)
        attended = attention_layers(model)
        self.layers = attention_layer_numbers(model_layer_count(model), attended, layers)
        self.store_on_cpu = config.STORE_ON_CPU if store_on_cpu is None else store_on_cpu
        self.float16 = config.USE_FLOAT16 if float16 is None else float16
        self._modules: list[Any] = [decoder_layers(model)[layer].self_attn for layer in self.layers]
        check_full_attention(self._modules)
        self._heads = int(self._modules[0].config.num_attention_heads)
        if not isinstance(self.keep, str):
            chosen_indices([head for _, head in self.keep], self._heads, "head")

    def generate(
        self,
        visuals: Pictures,
        prompt: str,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: int | None = None,
        on_token: OnToken | None = None,
        stop: threading.Event | None = None,
        known_hash: str | Sequence[str] | None = None,
        on_map: OnMap | None = None,
        *,
        on_plan: OnPlan | None = None,
        generation: str | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        thinking: bool | None = None,
        system: str | None = None,
        history: History = (),
    ) -> Capture:
        """Return an answer to the prompt about the visuals, with its attention; None is read from `config`.

        `visuals` is a picture, a `Video`, or a list of these: they stand before the prompt, or each where the
        prompt says `<image>` or `<video>`. `history` are the answers so far, each with its conversation, and
        `visuals` then what the question adds, [] for nothing. `system` is the text of a system turn; None
        takes the history's, or the template's own. `thinking` has a checkpoint whose template asks for it
        think aloud first; its thoughts are tokens of the answer.
        With `generation="checkpoint"` it is the answer of `torch.manual_seed(seed)` and
        `model.generate(**inputs, max_new_tokens=max_new_tokens)`: the checkpoint's own generation_config
        counts. "greedy" takes the likeliest token each time; "own" the four values given here, one of which
        means it. The capture's `settings` say what was used; its `logprobs` are the model's own, without it.

        `on_token(text so far, number of tokens)` hears of each token; before it, now and then and of one
        picture alone, `on_map(token, map (h, w))` where its attention went (mean over layers and kept heads).
        Setting `stop` ends the answer after the token at hand. `on_plan` hears what will be recorded at most
        before the model begins. `known_hash` is the `image_hash`, of several a list. The model is put back.

        Raises:
            ValueError: for a setting out of range or one that would not count, a checkpoint that asks for
                beams, an image or a prompt that cannot be used, or more to record than memory holds.
            MemoryError: if memory ran out on the way; what was recorded until then is freed.
            RuntimeError: if the model is at work for another capture or Grad-CAM.
        """
        settings = GenerationSettings.of(
            generation, max_new_tokens, temperature, top_p, top_k, repetition_penalty, seed, thinking
        )
        chosen = generation_config_of(self.model, settings)
        before = Before.of(self.model, self.processor, settings.thinking, system, history)
        asked = {name: getattr(settings, name) for name in ("generation", "max_new_tokens", "seed")}

        def answered() -> Capture:
            encoded = before.encode(visuals, prompt, known_hash)
            recording = self._recording(encoded, settings.max_new_tokens, on_plan)
            tell = self._teller(on_token, map_teller(recording, encoded.visuals, on_map))
            each, backend = self._run(encoded, recording, settings, chosen, tell, stop)
            facts = {**asked, **told(chosen), **before.facts, "attention_backend": backend}
            return self._capture(encoded, recording, Said(each.ids, each.logprobs, each.stopped), facts)

        return within_memory(answered, NO_MEMORY)

    def read(
        self,
        visuals: Pictures,
        prompt: str,
        answer: str | Sequence[int],
        known_hash: str | Sequence[str] | None = None,
        *,
        thinking: bool | None = None,
        system: str | None = None,
        history: History = (),
    ) -> Capture:
        """Return an answer that was written elsewhere, with the attention of its tokens.

        `answer` is its text, or its token ids as the server that wrote it returned them; ids that end an
        answer are left out at its end. Nothing is generated: the model reads prompt and answer in one forward
        pass (teacher forcing). `thinking` is as for `generate`: whether the server had the template ask for
        thoughts; so are `system` and `history`. Given the ids of an answer of `generate`, the capture is
        that of `generate`, but for its `settings`.

        Raises:
            ValueError: for an image, a prompt or an answer that cannot be used, or too long for memory.
            MemoryError: if memory ran out on the way; what was recorded until then is freed.
            RuntimeError: if the model is at work for another capture or Grad-CAM.
        """
        before = Before.of(self.model, self.processor, thinking, system, history)

        def answered() -> Capture:
            encoded = before.encode(visuals, prompt, known_hash)
            ids = answer_ids(self.model, self.processor, encoded.prompt_length, answer)
            recording = self._recording(encoded, len(ids))
            start = encoded.prompt_length - 1
            rows = torch.tensor([*recording.places.prompt_rows, *range(start, start + len(ids))])
            inputs = teacher_forced_inputs(encoded, ids[:-1], [encoded.pixels])
            with ExitStack() as held:
                held.enter_context(lent(self.model))
                held.enter_context(torch.no_grad())
                held.enter_context(rows_wanted(self._modules, rows))
                held.enter_context(hooked(self._modules, recording.hook))
                backend = held.enter_context(backend_wrapped(self.model, self._modules[0]))
                hidden = self.model.model(**inputs, use_cache=False).last_hidden_state[0, start:]
                recording.keep()
                logprobs = head_logprobs(self.model, hidden, ids)
            facts = {"generation": "given", **before.facts, "attention_backend": backend}
            return self._capture(encoded, recording, Said(list(ids), [*logprobs], False), facts)

        return within_memory(answered, NO_MEMORY)

    def plan(
        self,
        size_wh: Size | list[Size],
        prompt: str,
        max_new_tokens: int | None = None,
        *,
        answer: str | Sequence[int] | None = None,
        thinking: bool | None = None,
        system: str | None = None,
        history: History = (),
    ) -> Plan:
        """Return what `generate` would record at most of a picture of this `Image.size`; nothing is computed.

        Of several pictures `size_wh` is a list; of a clip it is the `Video` itself; of a follow-up it is of
        what that adds. With `answer` it is what `read` would record. What is None is read from `config`.

        Raises:
            ValueError: for what `generate` and `read` refuse before the model begins, above all more to
                record than memory holds; the line says what helps.
        """
        settings = GenerationSettings.of(max_new_tokens=max_new_tokens, thinking=thinking)
        before = Before.of(self.model, self.processor, settings.thinking, system, history)
        counts = before.count(size_wh, prompt)
        new = settings.max_new_tokens
        if answer is not None:
            new = len(answer_ids(self.model, self.processor, counts.length, answer))
        return self._planned(counts, new)

    def _planned(self, counts: Counts, new: int) -> Plan:
        """Return what so many new tokens would record at most; ValueError if there is no room for it."""
        text, itemsize = counts.length - counts.visual, self._room.dtype.itemsize
        plan = Plan(
            counts.visual, text, counts.prompt, new, len(self.layers), self._heads, itemsize, self.keep
        )
        device = self._room.device or model_device(self.model)
        plan = replace(plan, in_file=plan.bytes > config.MAX_CAPTURE_BYTES and device.type == "cpu")
        check_room(plan, device)
        return plan

    @property
    def _room(self) -> Room:
        """What is recorded, and where to."""
        return Room(self.keep, self.layers, torch.device("cpu") if self.store_on_cpu else None, self.float16)

    def _recording(self, encoded: Encoded, new: int, on_plan: OnPlan | None = None) -> Recording:
        """Return an empty record for so many new tokens; ValueError if there is no room for it."""
        plan = self._planned(encoded.counts, new)
        if on_plan is not None:
            on_plan(plan)
        room = replace(self._room, folder=cache_folder() if plan.in_file else None)
        return Recording(places_of(encoded), self._modules, room)

    def _run(
        self,
        encoded: Encoded,
        recording: Recording,
        settings: GenerationSettings,
        chosen: GenerationConfig,
        tell: Callable[[list[int]], None],
        stop: threading.Event | None,
    ) -> tuple[EachToken, str]:
        """Generate into the recording; return the tokens and the name of the attention backend."""
        rows = torch.tensor([*recording.places.prompt_rows, encoded.prompt_length - 1])
        logits = RawLogits()
        with ExitStack() as held:
            held.enter_context(alone(self._modules[0].config))
            held.enter_context(in_eval_mode(self.model))
            ends = held.enter_context(generation_config_set(self.model, chosen))
            held.enter_context(rows_wanted(self._modules, rows))
            held.enter_context(hooked(self._modules, recording.hook))
            held.enter_context(hooked([self.model.lm_head], logits.hook))
            backend = held.enter_context(backend_wrapped(self.model, self._modules[0]))
            draws = Draws(encoded.input_ids.device, settings.seed)
            each = EachToken(draws, recording.keep, logits, ends, tell, stop)
            generate(self.model, self.processor.tokenizer, encoded.inputs, settings.max_new_tokens, each)
        return each, backend

    def _kind(self) -> dict[str, bool]:
        """Return what of the model decides which methods its answers have (see `Capture.hybrid`, `gated`)."""
        hybrid = len(attention_layers(self.model)) < model_layer_count(self.model)
        kind = {"hybrid": hybrid, "gated": family_of(self.model).gated}
        return {name: True for name, holds in kind.items() if holds}

    def _kept(self) -> dict[str, Any]:
        """Return what was kept of the heads (see `Capture.keep`), where it is not all of them."""
        return {} if self.keep == ALL else {"keep": as_json(self.keep)}

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
        self, encoded: Encoded, recording: Recording, said: Said, settings: dict[str, Any]
    ) -> Capture:
        vocabulary, (asked, answer) = self._vocabulary, recording.whole()
        prompt_ids = encoded.input_ids[encoded.prompt_positions].tolist()
        outside = torch.ones(encoded.prompt_length, dtype=torch.bool)
        outside[encoded.image_positions] = False
        context = encoded.input_ids[: encoded.prompt_length][outside].tolist()
        text, spans = spelled([vocabulary.piece(token) for token in said.ids])
        prompt, prompt_spans = written_prompt(encoded, [vocabulary.written(token) for token in prompt_ids])
        return Capture(
            token_ids=tuple(said.ids),
            tokens=tuple(map(vocabulary.shown, said.ids)),
            text=text,
            attention=answer.attention,
            layers=self.layers,
            layer_count=model_layer_count(self.model),
            visuals=encoded.visuals,
            shares=answer.shares,
            logprobs=torch.stack(said.logprobs).cpu() if said.logprobs else torch.empty(0),
            token_spans=spans,
            prompt=prompt,
            prompt_token_ids=tuple(prompt_ids),
            prompt_tokens=tuple(map(vocabulary.shown, prompt_ids)),
            prompt_token_spans=prompt_spans,
            prompt_attention=asked.attention,
            prompt_shares=asked.shares,
            prompt_length=encoded.prompt_length,
            context_tokens=tuple(map(vocabulary.shown, context)),
            prompt_places=tuple((outside.cumsum(0) - 1)[encoded.prompt_positions].tolist()),
            text_attention=answer.text,
            model_name=str(self.model.name_or_path),
            settings={
                **settings,
                **self._kind(),
                **self._kept(),
                **box_settings(self.model, self.processor),
                "dtype": str(self.model.dtype).removeprefix("torch."),
            },
            stopped=said.stopped,
            history=encoded.history,
            pictures=encoded.pictures,
        )
