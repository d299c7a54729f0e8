"""One question on its way: from an uploaded picture to an answer that is kept.

Goes in: what a person chose and typed. Comes out: a `Run`, from the store where the same was asked before,
else from the model. The picture is opened once and hashed once. Knows nothing of Gradio.
"""

import logging
from dataclasses import dataclass
from typing import Any

from PIL.Image import Image

from attention_extractor import AttentionExtractor
from model import ModelError, answer_key
from page.inputs import asked, generation_settings, opened
from page.jobs import Job, Progress
from page.model_room import Loaded, ModelRoom
from page.sessions import Run
from records.capture import Capture
from records.pictures import image_hash
from records.store import Store
from utils import one_line

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Inquiry:
    """A picture and a question that can be put to a model."""

    image: Image
    image_hash: str
    prompt: str
    settings: dict[str, Any]  # max_new_tokens, temperature, top_p, seed

    @classmethod
    def of(cls, upload: Any, prompt: Any, *settings: Any) -> "Inquiry":
        """Return the question as the page's components hold it.

        Raises:
            ValueError: one line, for a picture, a question or a setting that cannot be used.
        """
        image = opened(upload)
        text, chosen = asked(prompt), generation_settings(*settings)
        return cls(image, image_hash(image), text, chosen)

    def key(self, loaded: Loaded | None) -> str | None:
        """Return the id under which the answer is kept; None where checkpoints cannot be told apart."""
        if loaded is None or loaded.checkpoint is None:
            return None
        return answer_key(loaded.checkpoint, self.image_hash, self.prompt, **self.settings)


@dataclass(frozen=True)
class Answering:
    """Answers questions with the model in memory, and keeps the answers."""

    room: ModelRoom
    store: Store

    def asked(self, upload: Any, prompt: Any, *settings: Any) -> Inquiry:
        """Return the question if it can be answered now.

        Raises:
            ModelError: if no model is loaded.
            ValueError: one line, for what cannot be used.
        """
        if self.room.loaded is None:
            raise ModelError("No model is loaded: press Load first.")
        return Inquiry.of(upload, prompt, *settings)

    def answer(self, question: Inquiry, job: Job, reuse: bool = False) -> Run:
        """Return the answer with its picture; with `reuse` the one that is kept, if there is one.

        Raises:
            Stopped: if the job was stopped before the answer began.
            ModelError: if no model is loaded.
            ValueError: for a picture or a prompt that the model cannot read.
            FullError: if too many wait for the model already.
        """
        here = self.room.loaded
        key = question.key(here)
        kept = self.store.find(key) if key and reuse else None
        if kept is not None:
            return Run(kept.capture, question.image, kept=kept.id, reused=True)

        def write(loaded: Loaded) -> tuple[Capture, bool]:
            extractor = AttentionExtractor(loaded.model, loaded.processor)
            capture = extractor.generate(
                question.image,
                question.prompt,
                **question.settings,
                on_token=job.writes,
                stop=job.stop,
                known_hash=question.image_hash,
            )
            return capture, loaded is here  # else another model was loaded meanwhile

        capture, same = self.room.work(write, job)
        run = Run(capture, question.image)
        if capture.token_ids:
            self.keep(run, question, key if same else None)
        return run

    def keep(self, run: Run, question: Inquiry, key: str | None) -> None:
        """Keep an answer in the store; one that cannot be kept is shown all the same."""
        try:
            run.kept = self.store.save(run.capture, run.original, key, question.image_hash)
        except OSError as error:
            log.warning("the answer could not be kept in %s: %s", self.store.folder, one_line(error))


def state_of(progress: Progress) -> dict[str, Any]:
    """Return how far an answer is: waiting, reading the picture, or writing."""
    state = "waiting" if not progress.begun else "writing" if progress.done else "reading"
    ahead = {"ahead": progress.ahead} if progress.ahead else {}
    return {"state": state, "text": progress.text, "count": progress.done, **ahead}


def described(run: Run) -> dict[str, Any]:
    """Return an answer as /generate gives it."""
    capture = run.capture
    return {
        "text": capture.text,
        "finished": True,
        "stopped": capture.stopped,
        "tokens": capture.tokens,
        "probabilities": capture.logprobs.exp().tolist(),
        "words": [{"text": word.text, "tokens": word.tokens} for word in run.processor.words()],
        "prompt_tokens": capture.prompt_tokens,
        "layers": capture.layers,
        "heads": capture.attention.shape[2],
        "grid": capture.grid,
        "model": capture.model_name,
    }
