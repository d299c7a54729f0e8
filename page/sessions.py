"""Each visitor's answers, and what was worked out about them since.

Goes in: an answer with its picture. Comes out: the same, to the visitor whose it is and to nobody else. Knows
nothing of models and of Gradio.
"""

import secrets
import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from PIL.Image import Image

import config
import viewer
from attention_processor import AttentionProcessor
from methods import TokenMaps
from records.capture import Capture
from records.grad_cam import GradCam
from visualization import fitted

SIDE = (640, 1280)  # pixels of the shown picture's longer side: at least and at most

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


class Sessions:
    """One answer for each visitor.

    At most `config.MAX_CAPTURES` answers are kept over all visitors; the one not looked at for longest goes
    first.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: OrderedDict[RunKey, Run] = OrderedDict()

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

    def forget(self, visitor: str) -> None:
        """Free the visitor's answer."""
        with self._lock:
            self._drop(visitor)

    def __len__(self) -> int:
        return len(self._runs)

    def _drop(self, visitor: str) -> None:
        for key in [key for key in self._runs if key[0] == visitor]:
            del self._runs[key]
