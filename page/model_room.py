"""The one model in memory: loaded, replaced, and put to work by one person after the other.

Goes in: a model's name, and what is to be done with the model. Comes out: what came of it. Knows nothing of
what is computed, and nothing of Gradio.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from model import (
    Checkpoint,
    ModelError,
    Thinking,
    attention_layers,
    checkpoint,
    load_model,
    loading_notes,
    model_device,
    model_layer_count,
    own_generation,
    thinking_of,
)
from page.jobs import Job
from page.queue import Queue
from records.capture import Capture

Result = TypeVar("Result")


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that is ready, with what the page says of it."""

    name: str
    model: Any
    processor: Any
    layers: int
    attended: int  # of the layers, those with attention
    heads: int
    place: str  # such as "CPU, float32"
    checkpoint: Checkpoint | None  # None: its answers cannot be told from another's, and are not used again
    generation: str  # how the checkpoint itself would answer
    thinking: Thinking  # whether it thinks aloud first
    notes: tuple[str, ...] = ()  # what was mended of its files, or is special

    @property
    def line(self) -> str:
        """What is loaded, in one line."""
        layers = f"{self.layers} layers"
        if self.attended < self.layers:
            layers = f"{self.attended} of {layers} with attention"
        ready = f"{self.name} is ready: {layers} × {self.heads} heads, {self.place}"
        return ". ".join([ready, *(f"{note[:1].upper()}{note[1:]}" for note in self.notes)])


class ModelRoom:
    """Holds at most one model. Whoever loads it or has it work waits in its queue; nothing else does."""

    def __init__(self) -> None:
        self.queue = Queue()
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded | None:
        """The model in memory, or None."""
        return self._loaded

    @property
    def busy(self) -> bool:
        """Whether something is being loaded or computed."""
        return len(self.queue) > 0

    def work(self, task: Callable[[Loaded], Result], job: Job, about: Capture | None = None) -> Result:
        """Wait for one's turn, and return what the task makes of the model in memory.

        The job hears how many people are ahead meanwhile, and when nobody is any more. `about` is the answer
        that the task reads again: only the model that gave it will do.

        Raises:
            Stopped: if the job was stopped before its turn came.
            ModelError: if no model is loaded, or another one than the answer's.
            FullError: if too many wait for the model already.
        """

        def waits(ahead: int) -> None:
            job.waits(ahead, self.queue.wait_for(ahead))

        with self.queue.turn(waits, job.stop, job.person):
            loaded = self._one_for(about)
            job.begins()
            return task(loaded)

    def load(self, name: str, person: str = "") -> Loaded:
        """Free the model in memory, load another in its place, and return it.

        Raises:
            ModelError: one line. The model from before is then in memory again, if it can be.
            FullError: if too many wait for the model already.
        """
        with self.queue.turn(person=person):
            before = self._loaded.name if self._loaded else None
            self._free()
            try:
                self._loaded = _ready(name)
            except ModelError as error:
                self._restore(before)
                raise ModelError(str(error)) from None  # without the frames that hold half-loaded weights
            return self._loaded

    def _one_for(self, about: Capture | None) -> Loaded:
        """Return the model in memory, if there is one and it gave the answer that is asked about."""
        loaded = self._loaded
        if about is None:
            if loaded is None:
                raise ModelError("No model is loaded: press Load first.")
            return loaded
        if loaded is not None and str(loaded.model.name_or_path) == about.model_name:
            return loaded
        now = f"{loaded.name} is loaded now" if loaded else "no model is loaded now"
        raise ModelError(f"This answer was given by {about.model_name}, and {now}: ask again.")

    def _free(self) -> None:
        self._loaded = None
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _restore(self, name: str | None) -> None:
        if name is not None:
            gc.collect()
            try:
                self._loaded = _ready(name)
            except ModelError:
                self._loaded = None


def _ready(name: str) -> Loaded:
    model, processor = load_model(name)
    device = model_device(model).type
    dtype = str(model.dtype).removeprefix("torch.")
    return Loaded(
        name=name,
        model=model,
        processor=processor,
        layers=model_layer_count(model),
        attended=len(attention_layers(model)),
        heads=int(model.config.get_text_config().num_attention_heads),
        place=f"{'CPU' if device == 'cpu' else device.upper()}, {dtype}",
        checkpoint=checkpoint(name),
        generation=own_generation(model),
        thinking=thinking_of(processor),
        notes=loading_notes(model),
    )
