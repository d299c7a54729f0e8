"""Is it there at all? Each word's probability with the picture, and to the same question without one.

Goes in: a `Capture`, its model, processor and picture. Comes out: a `PictureCheck`. Knows nothing of maps,
files and pages.
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
from PIL import Image

from attention_processor import AttentionProcessor
from evaluation.removal import probability_text
from internals.exclusive import lent
from internals.memory import within_memory
from methods.question import Question
from model import Processor, model_device
from records.capture import Capture
from utils import OnProgress, Watch

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
            f"it came from {_source(seen, unseen)}."
        )

    def rows(self) -> list[list[str]]:
        """Return for each word: its text, probability with and without the picture, where it came from."""
        found = []
        for text, tokens in self.words:
            seen, unseen = self.of(tokens)
            found.append([text, probability_text(seen), probability_text(unseen), _source(seen, unseen)])
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


def _source(seen: float, unseen: float) -> str:
    """Return where a word's probability came from, in words."""
    if unseen > 2 * seen:
        return "language, against the picture"
    if unseen >= seen / 2:
        return "language alone"
    return "both" if unseen >= seen / 10 else "the picture"


def without_image(
    model: Any,
    processor: Processor,
    image: Image.Image,
    capture: Capture,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> PictureCheck:
    """Return each token's probability with the picture, and to the same question without one.

    "Without" is the checkpoint's chat template for a question of text alone: no visual token, and nothing
    else in their place. The answer is kept, so a later word is judged after the same words. A grey picture
    would be no such thing: it is a picture too, and says that nothing is there, which is much to say about a
    question such as "Is there a cat?".

    Raises:
        ValueError: for an empty answer; for a capture that is not of this model, picture and prompt.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    if not capture.token_ids:
        raise ValueError("the model gave an empty answer: there is nothing to check")
    watch = Watch(on_progress, stop)
    forced = Question(capture, tuple(range(len(capture.token_ids))), model, processor, image).forced
    watch.tell(0, 2)
    seen = forced.logprobs([lambda: forced.pixels])[0].numpy()
    watch.tell(1, 2)
    unseen = _text_logprobs(model, processor, capture)
    watch.tell(2, 2)
    words = tuple((word.text, word.tokens) for word in AttentionProcessor(capture).words())
    return PictureCheck(capture.tokens, seen.astype(np.float64), unseen.astype(np.float64), words)


def _text_logprobs(model: Any, processor: Processor, capture: Capture) -> NDArray[np.float32]:
    """Return log p of each token of the answer (token,) after the prompt alone."""
    turn = {"role": "user", "content": [{"type": "text", "text": capture.prompt}]}
    rendered = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    asked = processor.tokenizer(rendered, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*asked, *capture.token_ids[:-1]]], device=model_device(model))
    rows = torch.arange(len(asked) - 1, ids.shape[1])
    with lent(model), torch.no_grad():
        logits = within_memory(
            partial(
                model,
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=torch.zeros_like(ids),
                use_cache=False,
                logits_to_keep=rows,
            )
        ).logits[0]
    logprobs = logits.float().log_softmax(dim=1).cpu()
    return logprobs[torch.arange(len(rows)), torch.tensor(capture.token_ids)].numpy()
