"""An answer that was written elsewhere, as the model reads it.

Goes in: its text, or the token ids that a server returned. Comes out: token ids that can be read after the
prompt. Knows nothing of attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from operator import index
from typing import Any

from model.chats import Slot, chat_of, template_around
from model.errors import PromptError
from model.families import Processor
from model.generation_config import end_ids
from model.questions import check_length, check_text, check_tokens
from records.thoughts import MARKS


def answer_ids(
    model: Any, processor: Processor, prompt_length: int, answer: str | Sequence[int]
) -> tuple[int, ...]:
    """Return the token ids of an answer that was written elsewhere: of its text, or the given ones, checked.

    Ids that end an answer are left out at its end. `prompt_length` is the number of tokens before it.

    Raises:
        PromptError: one line, for an empty answer, ids that the model has not, tokens that only the template
            may write, and an answer that is longer than the model reads.
    """
    tokenizer = processor.tokenizer
    if isinstance(answer, str):
        check_text(answer, "answer")
        check_tokens(
            tokenizer,
            "".join(template_around(processor, chat_of([Slot("image"), "…"]), thinking=False).around),
            answer,
            "answer",
            MARKS,
        )
        ids = tuple(tokenizer(answer, add_special_tokens=False)["input_ids"])
    else:
        ids = _checked_ids(model, tokenizer, answer)
    if not ids:
        raise PromptError("The answer is empty.")
    check_length(prompt_length + len(ids), model, "answer")
    return ids


def _checked_ids(model: Any, tokenizer: Any, answer: Sequence[int]) -> tuple[int, ...]:
    """Return the ids of an answer without those that end it; PromptError for what cannot be one."""
    count = model.get_input_embeddings().num_embeddings
    try:
        ids = [index(token) for token in answer]
    except TypeError:
        ids = [-1]
    if not all(0 <= token < count for token in ids):
        raise PromptError(f"The answer's token ids must be whole numbers from 0 to {count - 1}.")
    ends = end_ids(model.generation_config) | {tokenizer.eos_token_id}
    while ids and ids[-1] in ends:
        ids.pop()
    for token in ids:
        if token in (model.config.image_token_id, model.config.video_token_id):
            written = tokenizer.convert_ids_to_tokens(token)
            raise PromptError(f"The answer may not contain the control token {written}.")
    return tuple(ids)
