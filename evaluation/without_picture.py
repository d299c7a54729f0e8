"""Is it there at all? Each word's probability with the picture, and to the same question without one.

Goes in: a `Capture`, its model and processor. Comes out: log-probabilities, or a `PictureCheck`. Knows
nothing of maps, files and pages.

Both sides are the model's own distribution over the whole vocabulary: no temperature, no nucleus, whatever
the answer was drawn with. With the picture that is `capture.logprobs`, recorded from the logits as the answer
was written; it is not read again.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attention_processor import AttentionProcessor
from internals.exclusive import lent
from internals.memory import within_memory
from internals.teacher_forcing import check_belongs, said_logprobs
from model import Pictures, Processor, encode, model_device
from model.chats import answer_of, chat_ids, chat_of
from records.capture import Capture
from records.map_check import probability_text
from records.visuals import Kind, placeholders
from utils import OnProgress, Watch

UNLIKELY = 0.001  # a token of which that is all, with the picture and without, came from neither
NOTE = "Each word stands after the words that were really said before it, which the picture had a part in."


@dataclass(frozen=True, eq=False)
class PictureCheck:
    """How likely each token of an answer is with the picture, and to the same question without one."""

    texts: tuple[str, ...]  # of each token
    with_picture: NDArray[np.float64]  # (token,): log p
    without: NDArray[np.float64]  # (token,): log p
    words: tuple[tuple[str, tuple[int, ...]], ...]  # text and tokens of each

    def of(self, tokens: Sequence[int]) -> tuple[float, float]:
        """Return the probability of a word, with the picture and without: the product over its tokens."""
        chosen = list(tokens)
        return float(np.exp(self.with_picture[chosen].sum())), float(np.exp(self.without[chosen].sum()))

    def sentence(self, tokens: Sequence[int], text: str) -> str:
        """Return in a sentence what of a word came from the picture, and what from language alone."""
        seen, unseen = self.of(tokens)
        return (
            f"“{text}” has probability {probability_text(seen)} with the picture and "
            f"{probability_text(unseen)} without it: "
            f"it came from {_source(seen, unseen, len(tokens))}."
        )

    def rows(self) -> list[list[str]]:
        """Return for each word: its text, probability with and without the picture, where it came from."""
        found = []
        for text, tokens in self.words:
            seen, unseen = self.of(tokens)
            source = _source(seen, unseen, len(tokens))
            found.append([text, probability_text(seen), probability_text(unseen), source])
        return found

    def table(self) -> str:
        """Return the words with their probabilities, as a Markdown table."""
        lines = ["| word | with the picture | without it | it came from |", "|---|---|---|---|"]
        for text, *cells in self.rows():
            lines.append(" | ".join(["| " + text.replace("|", "\\|"), *cells]) + " |")
        return "\n".join([*lines, "", NOTE])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        each = [(text, tokens, *self.of(tokens)) for text, tokens in self.words]
        return {
            "tokens": [
                {"text": text, "with_picture": float(np.exp(seen)), "without": float(np.exp(unseen))}
                for text, seen, unseen in zip(self.texts, self.with_picture, self.without, strict=True)
            ],
            "words": [
                {"text": text, "tokens": list(tokens), "with_picture": seen, "without": unseen}
                for text, tokens, seen, unseen in each
            ],
        }


def _source(seen: float, unseen: float, tokens: int) -> str:
    """Return where the probability of a word of so many tokens came from, in words."""
    if max(seen, unseen) < UNLIKELY**tokens:
        return "neither: it is not what the model would say"
    if unseen > 2 * seen:
        return "language, against the picture"
    if unseen >= seen / 2:
        return "language alone"
    return "both" if unseen >= seen / 10 else "the picture"


def without_image(
    model: Any,
    processor: Processor,
    image: Pictures,
    capture: Capture,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> PictureCheck:
    """Return each token's probability with the picture, as recorded, and to the same question without one.

    Otherwise as `logprobs_without`; `image`, of several pictures a list, is looked at only to see that it is
    the capture's.

    Raises:
        ValueError: for an empty answer; for a capture that is not of this model, picture and prompt.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    if not capture.token_ids:
        raise ValueError("the model gave an empty answer: there is nothing to check")
    watch = Watch(on_progress, stop)
    how: Any = {"thinking": capture.thinking, "system": capture.system, "history": capture.history}
    check_belongs(capture, encode(model, processor, image, capture.prompt, **how), model)
    watch.tell(0, 1)
    unseen = logprobs_without(model, processor, capture, stop)
    watch.tell(1, 1)
    seen = capture.logprobs.float().cpu().numpy()
    words = tuple((word.text, word.tokens) for word in AttentionProcessor(capture).words())
    return PictureCheck(capture.tokens, seen.astype(np.float64), unseen.astype(np.float64), words)


def _of_text(prompt: str, kinds: Sequence[Kind]) -> str:
    """Return a question without the places of its pictures."""
    return placeholders(kinds).sub("", prompt) if kinds else prompt


def logprobs_without(
    model: Any, processor: Processor, capture: Capture, stop: threading.Event | None = None
) -> NDArray[np.float32]:
    """Return log p of each token of the answer (token,) to the same question without a picture: one pass.

    "Without" is the checkpoint's chat template for a question of text alone: no visual token, and nothing
    else in their place. The answer is kept, so a later word is judged after the same words. A grey picture
    would be no such thing: it is a picture too, and says that nothing is there, which is much to say about a
    question such as "Is there a cat?". Pictures of earlier turns are left out too; what was said stays.

    Raises:
        ValueError: for another model's capture; if the model gives no numbers.
        Stopped: if `stop` was set before the pass.
        MemoryError: if it does not fit.
        RuntimeError: if the model is at work for something else.
    """
    if capture.model_name != str(model.name_or_path):
        raise ValueError(f"the answer was given by {capture.model_name}, not by {model.name_or_path}")
    if not capture.token_ids:
        return np.zeros(0, np.float32)
    own = [visual.kind for visual in capture.visuals[capture.earlier :]]
    tokenizer = processor.tokenizer
    history = [
        ([_of_text(turn.prompt, turn.kinds)], answer_of(tokenizer, turn.token_ids))
        for turn in capture.history
    ]
    chat = chat_of([_of_text(capture.prompt, own)], capture.system, history)
    asked = chat_ids(processor, chat, capture.thinking)
    ids = torch.tensor([[*asked, *capture.token_ids[:-1]]], device=model_device(model))
    Watch(stop=stop).check()
    with lent(model), torch.no_grad():
        logits = within_memory(
            partial(
                model,
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=torch.zeros_like(ids),
                use_cache=False,
                logits_to_keep=torch.arange(len(asked) - 1, ids.shape[1]),
            )
        ).logits[0]  # (token, vocabulary)
        found = said_logprobs(logits, capture.token_ids).cpu().numpy()
    if np.isnan(found).any():
        raise ValueError("the probabilities have NaN values; bfloat16 or float32 may help")
    return found
