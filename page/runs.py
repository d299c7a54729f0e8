"""The one model in memory, and the answers kept for each visitor.

Goes in: a model's name, pictures and prompts. Comes out: answers as they are written, and `Run`s to draw
from. Knows nothing of Gradio and colours.
"""

import gc
import queue
import secrets
import threading
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

import config
import viewer
from attention_extractor import AttentionExtractor, OnToken
from attention_processor import AttentionProcessor
from evaluation.removal import MapCheck, check_map
from evaluation.without_picture import PictureCheck, without_image
from methods import TokenMaps, token_maps
from methods.grad_cam import smooth_grad_cam
from model import DEMO, Checkpoint, ModelError, checkpoint, load_model, model_layer_count
from records.capture import Capture
from records.grad_cam import GradCam
from records.layers import Layers
from records.targets import Target
from utils import OnProgress, Stopped
from visualization import fitted

TICK = (
    0.25  # seconds after which who waits looks again, and a caller hears something even if nothing happened
)
SIDE = (640, 1280)  # pixels of the shown picture's longer side: at least and at most

OnPlace = Callable[[int], None]  # people ahead in line
Item = TypeVar("Item")
Result = TypeVar("Result")


# --- The model ----------------------------------------------------------------------------------------------


def default_model() -> str:
    """Return config's model where there is CUDA, else the bundled one."""
    return config.MODEL_NAME if torch.cuda.is_available() else DEMO


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model that is ready, with what the page says of it."""

    name: str
    model: Any
    processor: Any
    layers: int
    heads: int
    place: str  # such as "CPU, float32"
    checkpoint: Checkpoint | None  # None: its answers cannot be told from another's, and are not used again


class Line:
    """People waiting for one thing, served as they came; at most `config.QUEUE_SIZE` wait."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._tickets: list[object] = []  # the first one has its turn

    def __len__(self) -> int:
        return len(self._tickets)

    @contextmanager
    def turn(self, on_place: OnPlace | None = None, stop: threading.Event | None = None) -> Iterator[None]:
        """Wait for one's turn and hold it; `on_place(people ahead)` is called whenever that number changes.

        Raises:
            Stopped: if `stop` was set before the turn came.
            FullError: if too many wait already.
        """
        ticket = object()
        with self._changed:
            if len(self._tickets) > config.QUEUE_SIZE:
                raise FullError
            self._tickets.append(ticket)
        try:
            self._wait(ticket, on_place, stop)
            yield
        finally:
            with self._changed:
                self._tickets.remove(ticket)
                self._changed.notify_all()

    def _wait(self, ticket: object, on_place: OnPlace | None, stop: threading.Event | None) -> None:
        told = None
        while True:
            with self._changed:
                ahead = self._tickets.index(ticket)
                if ahead and ahead == told:
                    self._changed.wait(TICK)
                    ahead = self._tickets.index(ticket)
            if stop is not None and stop.is_set():
                raise Stopped
            if not ahead:
                return
            if ahead != told and on_place is not None:
                on_place(ahead)
            told = ahead


class FullError(RuntimeError):
    """Too many people wait already."""

    def __str__(self) -> str:
        return "Too many people wait for the model. Try again in a minute."


class ModelRoom:
    """Holds at most one model. Whoever loads it or has it work waits in line for it; nothing else does."""

    def __init__(self) -> None:
        self._line = Line()
        self._loaded: Loaded | None = None

    @property
    def loaded(self) -> Loaded | None:
        """The model in memory, or None."""
        return self._loaded

    @property
    def busy(self) -> bool:
        """Whether something is being loaded or computed."""
        return len(self._line) > 0

    def load(self, name: str) -> Loaded:
        """Free the model in memory, load another in its place, and return it.

        Raises:
            ModelError: one line. The model from before is then in memory again, if it can be.
            FullError: if too many wait for the model already.
        """
        with self._line.turn():
            before = self._loaded.name if self._loaded else None
            self._free()
            try:
                self._loaded = _ready(name)
            except ModelError as error:
                self._restore(before)
                raise ModelError(str(error)) from None  # without the frames that hold half-loaded weights
            return self._loaded

    def answer(
        self,
        image: Image,
        prompt: str,
        settings: dict[str, Any],
        on_token: OnToken,
        stop: threading.Event,
        on_place: OnPlace | None = None,
        on_turn: Callable[[], None] = lambda: None,
    ) -> Capture:
        """Return the answer with its attention.

        `on_place` hears how many people are ahead meanwhile, `on_turn` when nobody is any more.

        Raises:
            Stopped: if it was stopped before it began.
            ModelError: if no model is loaded.
            ValueError: for a picture, prompt or setting that cannot be used.
            FullError: if too many wait for the model already.
        """
        with self._line.turn(on_place, stop):
            if self._loaded is None:
                raise ModelError("No model is loaded: press Load first.")
            on_turn()
            extractor = AttentionExtractor(self._loaded.model, self._loaded.processor)
            return extractor.generate(image, prompt, **settings, on_token=on_token, stop=stop)

    def grad_cam(
        self,
        run: "Run",
        layers: Layers,
        target: Target,
        settings: dict[str, Any],
        on_progress: OnProgress,
        stop: threading.Event,
        on_place: OnPlace | None = None,
    ) -> GradCam:
        """Return the Smooth Grad-CAM of an answer; `settings` as keywords: method, samples, σ and seed.

        Raises:
            Stopped: if `stop` was set.
            ModelError: if the model in memory is not the one that gave the answer.
            ValueError: for layers or a target that cannot be explained.
            FullError: if too many wait for the model already.
        """
        with self._line.turn(on_place, stop):
            loaded = self._of(run)
            return smooth_grad_cam(
                loaded.model,
                loaded.processor,
                run.original,
                run.capture.prompt,
                layers,
                target,
                **settings,
                answer=run.capture,
                on_progress=on_progress,
                stop=stop,
            )

    def token_maps(
        self,
        run: "Run",
        method: str,
        on_progress: OnProgress,
        stop: threading.Event,
        on_place: OnPlace | None = None,
    ) -> TokenMaps:
        """Return the maps of all tokens of an answer by a method, computed once and kept with the answer.

        Raises:
            Stopped: if `stop` was set.
            ModelError: if the model in memory is not the one that gave the answer.
            ValueError: if the method cannot explain this answer.
            FullError: if too many wait for the model already.
        """
        with self._line.turn(on_place, stop):
            if method not in run.maps:
                loaded = self._of(run)
                run.maps[method] = token_maps(
                    method,
                    run.capture,
                    model=loaded.model,
                    processor=loaded.processor,
                    image=run.original,
                    on_progress=on_progress,
                    stop=stop,
                )
            return run.maps[method]

    def check_map(
        self,
        run: "Run",
        tokens: Sequence[int],
        heat: NDArray[np.float32],
        on_progress: OnProgress,
        stop: threading.Event,
        on_place: OnPlace | None = None,
    ) -> MapCheck:
        """Return what removing a map's hottest patches does to a word; errors as for `token_maps`."""
        with self._line.turn(on_place, stop):
            loaded = self._of(run)
            return check_map(
                loaded.model,
                loaded.processor,
                run.original,
                run.capture,
                tokens,
                heat,
                on_progress=on_progress,
                stop=stop,
            )

    def check_picture(
        self, run: "Run", on_progress: OnProgress, stop: threading.Event, on_place: OnPlace | None = None
    ) -> PictureCheck:
        """Return the words' probabilities with and without the picture; errors as for `token_maps`."""
        with self._line.turn(on_place, stop):
            loaded = self._of(run)
            return without_image(
                loaded.model,
                loaded.processor,
                run.original,
                run.capture,
                on_progress=on_progress,
                stop=stop,
            )

    def _of(self, run: "Run") -> Loaded:
        """Return the model that gave an answer; ModelError if another one is loaded, or none."""
        loaded, capture = self._loaded, run.capture
        if loaded is None or str(loaded.model.name_or_path) != capture.model_name:
            now = f"{loaded.name} is loaded now" if loaded else "no model is loaded now"
            raise ModelError(
                f"This answer was given by {capture.model_name}, and {now}: press Generate again."
            )
        return loaded

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
    device = torch.device(model.device).type
    dtype = str(model.dtype).removeprefix("torch.")
    return Loaded(
        name=name,
        model=model,
        processor=processor,
        layers=model_layer_count(model),
        heads=int(model.config.get_text_config().num_attention_heads),
        place=f"{'CPU' if device == 'cpu' else device.upper()}, {dtype}",
        checkpoint=checkpoint(name),
    )


# --- Work in a thread, told as it goes on -------------------------------------------------------------------

PAUSE = 0.04  # seconds between two items at least: a page need not be told of every token of a fast model


def streamed(work: Callable[[Callable[[Item], None]], Result]) -> Generator[Item | None, None, Result]:
    """Run `work(put)` in a thread; yield the latest item that it put, or None after a tick without.

    Returns what `work` returns and raises what it raises. Closing the generator does not end the work:
    the caller does that, by an event that the work reads.
    """
    told: queue.SimpleQueue[Item] = queue.SimpleQueue()
    outcome: list[Result] = []
    errors: list[BaseException] = []
    finished = threading.Event()

    def run() -> None:
        try:
            outcome.append(work(told.put))
        except BaseException as error:
            errors.append(error)
        finally:
            finished.set()

    threading.Thread(target=run, daemon=True).start()
    while not finished.is_set():
        latest = None
        try:
            latest = told.get(timeout=TICK)
            while True:
                latest = told.get_nowait()
        except queue.Empty:
            pass
        if not finished.wait(PAUSE):
            yield latest
    if errors:
        raise errors.pop()
    return outcome.pop()


# --- The visitors' answers ----------------------------------------------------------------------------------

RunKey = tuple[str, str]  # visitor and run id


@dataclass(eq=False)
class Run:
    """An answer that can be drawn, and what was worked out about it since."""

    capture: Capture
    original: Image  # the picture as it was opened
    cam: GradCam | None = None  # the latest
    maps: dict[str, TokenMaps] = field(default_factory=dict)  # of the methods that were asked for
    kept: str | None = None  # its id in the store
    reused: bool = False  # answered from the store, not by the model

    @cached_property
    def picture(self) -> Image:
        """The picture at the size in which it is shown."""
        return fitted(self.original, *SIDE)

    @cached_property
    def picture_payload(self) -> dict[str, Any]:
        """The picture as the viewer takes it."""
        return viewer.picture_payload(self.original)

    @property
    def note(self) -> str:
        """What was left out of the picture."""
        return str(self.original.info.get("note", ""))

    @cached_property
    def processor(self) -> AttentionProcessor:
        """Maps and words of the capture."""
        return AttentionProcessor(self.capture)


class RunGoneError(KeyError):
    """The answer is not kept, or belongs to someone else; the two are not told apart."""

    def __str__(self) -> str:
        return "This answer is no longer kept: press Generate again."


class Visitors:
    """What belongs to each visitor: one answer, and the event that stops the one being written.

    At most `config.MAX_CAPTURES` answers are kept over all visitors; the one not looked at for longest goes
    first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[RunKey, Run] = OrderedDict()
        self._stops: dict[str, threading.Event] = {}

    def begin(self, visitor: str) -> threading.Event:
        """Return a new event that stops the answer which the visitor now asks for; stop an earlier one."""
        self.stop(visitor)
        with self._lock:
            self._stops[visitor] = threading.Event()
            return self._stops[visitor]

    def begun(self, visitor: str) -> threading.Event:
        """Return the event of the answer that the visitor waits for; a new one if there is none."""
        with self._lock:
            return self._stops.setdefault(visitor, threading.Event())

    def waits(self, visitor: str, stop: threading.Event) -> bool:
        """Return whether the visitor is still there and waits for the answer of this event."""
        with self._lock:
            return self._stops.get(visitor) is stop

    def end(self, visitor: str, stop: threading.Event) -> None:
        """Stop the answer, and forget its event."""
        stop.set()
        with self._lock:
            if self._stops.get(visitor) is stop:
                del self._stops[visitor]

    def stop(self, visitor: str) -> bool:
        """Stop the visitor's answer after the token at hand; return whether there was one."""
        with self._lock:
            event = self._stops.get(visitor)
        if event is not None:
            event.set()
        return event is not None

    def keep(self, visitor: str, run: Run) -> str:
        """Keep the visitor's answer in the place of an earlier one, and return its id."""
        run_id = secrets.token_urlsafe(16)
        with self._lock:
            self._drop(visitor)
            self._runs[visitor, run_id] = run
            while len(self._runs) > config.MAX_CAPTURES:
                self._runs.popitem(last=False)
        return run_id

    def run(self, visitor: str, run_id: str) -> Run:
        """Return the visitor's own answer of that id.

        Raises:
            RunGoneError: if it is not kept, or is another visitor's.
        """
        with self._lock:
            if (visitor, run_id) not in self._runs:
                raise RunGoneError
            self._runs.move_to_end((visitor, run_id))
            return self._runs[visitor, run_id]

    def leave(self, visitor: str) -> None:
        """Stop what is written for the visitor, and forget all that is theirs."""
        self.stop(visitor)
        with self._lock:
            self._stops.pop(visitor, None)
            self._drop(visitor)

    def forget_answer(self, visitor: str) -> None:
        """Free the visitor's answer."""
        with self._lock:
            self._drop(visitor)

    def __len__(self) -> int:
        return len(self._runs)

    def _drop(self, visitor: str) -> None:
        for key in [key for key in self._runs if key[0] == visitor]:
            del self._runs[key]
