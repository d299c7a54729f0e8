"""One question on its way: from an uploaded picture to an answer that is kept.

Goes in: what a person chose and typed. Comes out: a `Run`, from the store where the same was asked before,
else from the model. The picture is opened once and hashed once. Knows nothing of Gradio.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL.Image import Image

from attention_extractor import AttentionExtractor
from evaluation.without_picture import logprobs_without
from methods import TokenMaps
from model import ModelError, answer_key, verification_key
from page.inputs import RefusedError, asked, generation_settings, given_answer, refusal, system_prompt
from page.jobs import Job, Progress
from page.model_room import Loaded, ModelRoom
from page.sessions import Run
from page.sources import opened, sizes_of
from records.capture import Capture
from records.closer import closer_question, with_crop
from records.conversation import Conversation, conversation_of, with_parent
from records.crops import Crop
from records.keep import as_json
from records.map_check import MapCheck
from records.opening import has_clip
from records.pictures import ImageError, hashes_of
from records.store import Store
from records.thoughts import thoughts
from records.verification import with_verification
from records.videos import Video
from records.visuals import is_picture
from utils import alone_or_list, one_line

ALONE = Conversation()

Read = TypeVar("Read")

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Inquiry:
    """Pictures and a question that can be put to a model."""

    images: tuple[Image | Video, ...]  # what the question adds to those of its history
    hashes: tuple[str, ...]
    prompt: str
    settings: dict[str, Any]  # how it is generated, as keywords of `GenerationSettings.of`
    answer: str | None = None  # one that was written elsewhere: it is read, and none is generated
    system: str | None = None  # the text of a system turn
    parent: Run | None = None  # the answer that it follows or asks again
    history: Conversation = ALONE
    crop: Crop | None = None  # which of the pictures is a part of another

    @classmethod
    def of(
        cls,
        upload: Any,
        prompt: Any,
        *settings: Any,
        answer: Any = None,
        system: Any = None,
        after: Run | None = None,
    ) -> "Inquiry":
        """Return the question as the page's components hold it; settings as `generation_settings` takes them.

        Raises:
            ValueError: one line, for a picture, a question or a setting that cannot be used.
        """
        images = tuple(added(upload, after, opened))
        text, given, chosen = asked(prompt), given_answer(answer), generation_settings(*settings)
        return cls(
            images, tuple(hashes_of(images)), text, chosen, given, parent=after, **chat_of(system, after)
        )

    @classmethod
    def closer(cls, run: Run, box: Sequence[float], visual: int, *settings: Any) -> "Inquiry":
        """Return the question of an answer, to be asked with a part of one of its pictures beside the whole.

        `box` is in pixels of that picture; settings are as `generation_settings` takes them.

        Raises:
            ValueError: one line, for a clip, and for what is no box of the picture.
        """
        found = closer_question(run.capture, box, visual)
        how: dict[str, Any] = {"parent": run, "history": found.history, "crop": found.crop}
        return cls(found.visuals, found.hashes, found.prompt, generation_settings(*settings), **how)

    @property
    def shown(self) -> tuple[Image | Video, ...]:
        """All pictures and clips of the conversation, in its order."""
        earlier = self.parent.originals[: len(self.history.hashes)] if self.parent else ()
        return (*earlier, *self.images) if earlier else self.images

    @property
    def _chat(self) -> dict[str, Any]:
        """What stands before the question."""
        return {"system": self.system, "history": self.history}

    @property
    def about(self) -> Capture | None:
        """The answer whose model has to be the one that answers this too; None where any model may."""
        return self.parent.capture if self.parent and (self.history.turns or self.crop) else None

    def key(self, loaded: Loaded | None) -> str | None:
        """Return the id under which the answer is kept; None where checkpoints cannot be told apart."""
        if loaded is None or loaded.checkpoint is None:
            return None
        hashes = alone_or_list(self.hashes)
        what = {"answer": self.answer, "clips": has_clip(self.images), "crop": self.crop}
        how = {**self.settings, **self._chat, **what}
        return answer_key(loaded.checkpoint, hashes, self.prompt, **how)

    def capture(self, extractor: AttentionExtractor, job: Job) -> Capture:
        """Return the answer that the model gives, or the given one as it reads it."""
        if self.answer is not None:
            how = {"thinking": self.settings["thinking"], **self._chat}
            return extractor.read(self.images, self.prompt, self.answer, self.hashes, **how)
        capture = extractor.generate(
            self.images,
            self.prompt,
            **self.settings,
            **self._chat,
            on_token=job.writes,
            on_map=job.looks,
            on_plan=job.plans,
            stop=job.stop,
            known_hash=self.hashes,
        )
        return capture if self.crop is None else with_crop(capture, self.crop)


@dataclass(frozen=True)
class Answering:
    """Answers questions with the model in memory, and keeps the answers."""

    room: ModelRoom
    store: Store

    def asked(self, upload: Any, prompt: Any, *settings: Any, **how: Any) -> Inquiry:
        """Return the question if it can be answered now; the arguments are those of `Inquiry.of`.

        Raises:
            ModelError: if no model is loaded.
            ValueError: one line, for what cannot be used.
        """
        self._needs_model()
        return Inquiry.of(upload, prompt, *settings, **how)

    def closer(self, run: Run, box: Sequence[float], visual: int, *settings: Any) -> Inquiry:
        """Return the same of a closer look; the arguments are those of `Inquiry.closer`."""
        self._needs_model()
        return Inquiry.closer(run, box, visual, *settings)

    def _needs_model(self) -> None:
        if self.room.loaded is None:
            raise ModelError("No model is loaded: press Load first.")

    def plan(
        self,
        upload: Any,
        prompt: Any,
        *settings: Any,
        answer: Any = None,
        system: Any = None,
        after: Run | None = None,
    ) -> str:
        """Return what an answer would record at most, or why there can be none: one line, before it is asked.

        It is empty as long as something is missing, or the picture cannot be used, which is said beside it.
        """
        here = self.room.loaded
        if here is None:
            return ""
        try:
            sizes, chat = list(added(upload, after, sizes_of)), chat_of(system, after)
            text, given, chosen = asked(prompt), given_answer(answer), generation_settings(*settings)
            limit, thinking = chosen["max_new_tokens"], chosen["thinking"]
            extractor = AttentionExtractor(here.model, here.processor)
            return extractor.plan(sizes, text, limit, answer=given, thinking=thinking, **chat).line
        except (RefusedError, ImageError):
            return ""
        except Exception as error:
            return refusal(error)

    def answer(self, question: Inquiry, job: Job, reuse: bool = False, otherwise: str | None = None) -> Run:
        """Return the answer with its picture; with `reuse` the one that is kept, if there is one.

        One that is cut off, or that nobody waits for any more, is kept under the id `otherwise`.

        Raises:
            Stopped: if the job was stopped before the answer began.
            ModelError: if no model is loaded.
            ValueError: for a picture or a prompt that the model cannot read.
            FullError: if too many wait for the model already.
        """
        here, before = self.room.loaded, question.parent
        if before is not None and before.kept is None:
            self.keep(before, None, None, job.person)  # so that it can be opened again
        key = question.key(here)
        kept = self.store.find(key) if key and reuse else None
        parent = before.kept if before is not None else None
        if kept is not None:
            run = Run.of(kept, question.shown)
            run.capture = with_parent(run.capture, parent)  # what it was kept after may be gone
            return run

        def write(loaded: Loaded) -> tuple[Capture, bool]:
            capture = question.capture(AttentionExtractor(loaded.model, loaded.processor), job)
            capture = with_verification(capture, verification_key(loaded.checkpoint))
            return capture, loaded is here  # else another model was loaded meanwhile

        capture, same = self.room.work(write, job, question.about)
        run = Run(with_parent(capture, parent), question.shown)
        if capture.token_ids:
            self.keep(run, key if same and not job.left_to else None, otherwise, job.person)
        return run

    def keep(self, run: Run, key: str | None, otherwise: str | None = None, person: str = "") -> None:
        """Keep an answer in the store for a person; one that cannot be kept is shown all the same."""
        try:
            hashes = [visual.hash for visual in run.capture.visuals]
            run.kept = self.store.save(run.capture, run.originals, key, hashes, otherwise, person)
        except OSError as error:
            log.warning("the answer could not be kept in %s: %s", self.store.folder, one_line(error))

    def need(self, run: Run, job: Job) -> NDArray[np.float32]:
        """Return log p of each token (token,) without the picture: one pass, or what is known already.

        It is kept with the answer. Beside `run.capture.logprobs` it says how much a word needed the picture.

        Raises:
            Stopped: if the job was stopped before the pass.
            ModelError: one line, if another model is loaded than the one that gave the answer, or none.
            FullError: if too many wait for the model already.
        """
        if run.without is not None:
            return run.without

        def read(loaded: Loaded) -> NDArray[np.float32]:
            found = run.without  # who came first in the queue may have wanted it too
            if found is None:
                found = logprobs_without(loaded.model, loaded.processor, run.capture, job.stop)
                self.remember(run, without=found)
            return found

        return self.room.work(read, job, run.capture)

    def remember(
        self,
        run: Run,
        *,
        without: NDArray[np.float32] | None = None,
        maps: TokenMaps | None = None,
        check: MapCheck | None = None,
    ) -> None:
        """Keep what was worked out about an answer: with its visitor, and beside it in the store.

        `maps` are those of a method that reads the answer again; others come from the capture at once.
        """
        run.learn(without=without, maps=maps, check=check)
        if run.kept is None:
            return
        try:
            self.store.add(run.kept, run.capture, without=without, maps=maps, check=check)
        except OSError as error:
            log.warning("what was found could not be kept in %s: %s", self.store.folder, one_line(error))


def added(upload: Any, after: Run | None, read: Callable[[Any], Sequence[Read]]) -> Sequence[Read]:
    """Return what is read of the pictures that are chosen; a question that follows an answer needs none."""
    return () if after is not None and upload is None else read(upload)


def chat_of(system: Any, after: Run | None) -> dict[str, Any]:
    """Return what stands before a question, `system` and `history` as `AttentionExtractor` takes them."""
    history = ALONE if after is None else conversation_of([after.capture])
    return {"system": system_prompt(system), "history": history}


def state_of(progress: Progress) -> dict[str, Any]:
    """Return how far an answer is: waiting, reading the picture, or writing."""
    state = "waiting" if not progress.begun else "writing" if progress.done else "reading"
    ahead = {"ahead": progress.ahead, "wait": round(progress.wait)} if progress.ahead else {}
    plan = {"plan": progress.plan} if state == "reading" and progress.plan else {}
    return {"state": state, "text": progress.text, "count": progress.done, **ahead, **plan}


def described(run: Run) -> dict[str, Any]:
    """Return an answer as /generate gives it."""
    capture = run.capture
    return {
        "text": capture.text,
        "turns": [asdict(turn) for turn in capture.history],
        "finished": True,
        "stopped": capture.stopped,
        "tokens": capture.tokens,
        "probabilities": capture.logprobs.exp().tolist(),
        "thoughts": thoughts(capture),
        "words": [{"text": word.text, "tokens": word.tokens} for word in run.processor.words()],
        "prompt_tokens": capture.prompt_tokens,
        "layers": capture.layers,
        "heads": capture.head_count,
        "keep": as_json(capture.keep),
        "grid": capture.grid if is_picture(capture.visuals) else None,
        "visuals": [{"name": one.name, "kind": one.kind, "grid": one.grid} for one in capture.visuals],
        "model": capture.model_name,
    }
