"""Each visitor's answers, and what was worked out about them since.

Goes in: an answer with its picture. Comes out: the same, to the visitor whose it is and to nobody else. Knows
nothing of models and of Gradio.
"""

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

import config
import viewer
from attention_processor import AttentionProcessor
from methods import TokenMaps
from page.people import People
from records.capture import Capture
from records.entries import Kept
from records.grad_cam import GradCam
from records.map_check import MapCheck
from records.opening import note_of
from records.shares import Held, leaving
from records.thoughts import said
from records.videos import Video, moment
from records.visuals import only_picture
from utils import as_ranges
from visualization import fitted

SIDE = (640, 1280)  # pixels of the shown picture's longer side: at least and at most

RunKey = tuple[str, str]  # visitor and run id
CheckKey = tuple[str, str]  # which map (`TokenMaps.key`), and its tokens such as "3-5"


@dataclass(eq=False)
class Run:
    """An answer that can be drawn, and what was worked out about it since."""

    capture: Capture
    originals: tuple[Image | Video, ...]  # the pictures and clips as they were opened
    cam: GradCam | None = None  # the latest
    maps: dict[str, TokenMaps] = field(default_factory=dict)  # of the methods that were asked for; those
    # of some tokens only are there while the rest is being computed, or after it was stopped
    without: NDArray[np.float32] | None = None  # (token,): log p to the same question without the picture
    checks: dict[CheckKey, MapCheck] = field(default_factory=dict)  # the maps that were tested
    kept: str | None = None  # its id in the store
    reused: bool = False  # answered from the store, not by the model
    before: str | None = None  # the id, among its visitor's, of the answer whose place it took

    @classmethod
    def of(cls, kept: Kept, originals: Sequence[Image | Video] = ()) -> "Run":
        """Return an answer that was kept, with what was worked out about it; `originals` are its pictures."""
        run = cls(kept.capture, tuple(originals or kept.capture.pictures), kept=kept.id or None, reused=True)
        run.maps.update(kept.maps)
        run.without = kept.without
        for check in kept.checks:
            run.learn(check=check)
        return run

    def learn(
        self,
        *,
        without: NDArray[np.float32] | None = None,
        maps: TokenMaps | None = None,
        check: MapCheck | None = None,
    ) -> None:
        """Take in what was worked out; maps of some tokens join those that were made in the same way."""
        if without is not None:
            self.without = without
        if maps is not None:
            self.maps[maps.method] = maps.joined_to(self.maps.get(maps.method))
        if check is not None:
            self.checks[check.map_key, as_ranges(check.tokens)] = check

    def missing(self, method: str) -> tuple[int, ...]:
        """Return the tokens of the answer that have no map by this method yet."""
        known = self.maps.get(method)
        have = set(known.tokens) if known is not None else set()
        return tuple(token for token in range(len(self.capture.token_ids)) if token not in have)

    @property
    def bytes(self) -> int:
        """The bytes that are held: what is recorded, in memory or in a file, and maps and pictures."""
        shown = self.__dict__  # what is cached is there once it was asked for
        held = (*self.originals, *self.capture.pictures, shown.get("picture"))
        pictures = {id(one): one for one in held if one is not None}
        maps = [
            *(one.maps for one in list(self.maps.values())),
            *([] if self.without is None else [self.without]),
        ]
        maps += [] if self.cam is None else [self.cam.maps]
        return (
            self.capture.bytes
            + sum(array.nbytes for array in maps)
            + sum(map(_bytes_of, pictures.values()))
            + sum(len(one["url"]) for one in shown.get("pictures_payload", ()))
        )

    @property
    def original(self) -> Image:
        """The one picture, as it was opened; ValueError where there are several, or a clip."""
        only_picture(self.capture.visuals)
        return self.picture_given(0)

    @cached_property
    def picture(self) -> Image:
        """The one picture at the size in which it is shown; ValueError where there are several."""
        return fitted(self.original, *SIDE)

    def picture_of(self, visual: int) -> Image:
        """Return a picture, of several one by its number, at the size in which it is shown."""
        return self.picture if len(self.originals) == 1 else fitted(self.picture_given(visual), *SIDE)

    def moment_of(self, visual: int, step: int) -> Image:
        """Return a picture, or the first frame of one step of a clip, at the size in which it is shown."""
        one = self.originals[visual]
        if not isinstance(one, Video):
            return self.picture_of(visual)
        return fitted(moment(one, step, self.capture.visuals[visual].grid[0]), *SIDE)

    def picture_given(self, visual: int) -> Image:
        """Return a picture as it was opened, by its number; ValueError for a clip."""
        only_picture(self.capture.visuals[visual : visual + 1])
        return cast(Image, self.originals[visual])

    @cached_property
    def pictures_payload(self) -> list[dict[str, Any]]:
        """The pictures, and the moments of clips, as the viewer takes them."""
        return viewer.pictures_payload(self.originals, self.capture.visuals)

    @cached_property
    def said(self) -> tuple[int, ...] | None:
        """The tokens of the answer that are no thoughts; None where all are, or they are one word."""
        tokens = said(self.capture)
        if len(tokens) == len(self.capture.token_ids):
            return None
        spoken = set(tokens)
        return tokens if sum(spoken.issuperset(word.tokens) for word in self.processor.words()) > 1 else None

    @property
    def note(self) -> str:
        """What was left out of the pictures; of several it says of which."""
        notes = list(map(note_of, self.originals))
        if len(notes) == 1:
            return notes[0]
        return ". ".join(f"Picture {i + 1}: {note}".rstrip(".") for i, note in enumerate(notes) if note)

    @cached_property
    def processor(self) -> AttentionProcessor:
        """Maps and words of the capture."""
        return AttentionProcessor(self.capture)


def _bytes_of(picture: Image | Video) -> int:
    if isinstance(picture, Video):
        return picture.frames.nbytes
    return picture.width * picture.height * len(picture.getbands())


class RunGoneError(KeyError):
    """The answer is not kept, or belongs to someone else; the two are not told apart."""

    def __str__(self) -> str:
        return "This answer is no longer kept: ask again."


class Sessions:
    """One answer for each visitor.

    Over all visitors they are of at most `config.MAX_KEPT_BYTES` together, and those of one person of
    `config.MAX_VISITOR_BYTES`. Whoever has most loses the one that they have not looked at for longest. The
    one that was kept last stays, however large it is.
    """

    def __init__(self, people: People | None = None) -> None:
        self._people = people or People()
        self._lock = threading.Lock()
        self._runs: OrderedDict[RunKey, Run] = OrderedDict()

    def keep(self, visitor: str, run: Run) -> str:
        """Keep the visitor's answer in the place of an earlier one, and return its id."""
        run_id = secrets.token_urlsafe(16)
        with self._lock:
            run.before = self._drop(visitor)
            self._runs[visitor, run_id] = run
            held = [
                Held(key, self._people.of(key[0]), one.bytes, key == (visitor, run_id))
                for key, one in self._runs.items()
            ]
            for one in leaving(held, config.MAX_KEPT_BYTES, config.MAX_VISITOR_BYTES):
                del self._runs[one.item]
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

    def is_replaced(self, visitor: str, run_id: str) -> bool:
        """Return whether that was the visitor's answer until the one that is kept now took its place."""
        with self._lock:
            return any(run.before == run_id for (whose, _), run in self._runs.items() if whose == visitor)

    def forget(self, visitor: str) -> None:
        """Free the visitor's answer."""
        with self._lock:
            self._drop(visitor)

    def __len__(self) -> int:
        return len(self._runs)

    def _drop(self, visitor: str) -> str | None:
        """Free the answer that the visitor has, and return its id; None where there is none."""
        key = next((key for key in self._runs if key[0] == visitor), None)
        if key is None:
            return None
        del self._runs[key]
        return key[1]
