"""Whether a checkpoint thinks aloud before it answers, which its chat template decides.

Goes in: a processor, and what a person chose. Comes out: what the template is told. Knows nothing of answers.
"""

from __future__ import annotations

from typing import Any, Literal

import config
from records.thoughts import leaves_open

ASKED = "enable_thinking"  # the keyword that published templates ask for
Thinking = Literal["asked", "always", "never"]


def thinking_of(processor: Any) -> Thinking:
    """Return "asked" where the template asks whether to think, "always" where it begins the thought itself.

    With "never" a model may think all the same, of its own accord: nothing tells it to, and nothing not to.
    """
    if ASKED in str(processor.chat_template):
        return "asked"
    turn = {"role": "user", "content": [{"type": "text", "text": "…"}]}
    begun = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    return "always" if leaves_open(begun) else "never"


def template_keywords(template: Any, thinking: bool) -> dict[str, Any]:
    """Return what a chat template is told, as far as it asks for it."""
    return {ASKED: thinking} if ASKED in str(template) else {}


def chosen_thinking(processor: Any, thinking: bool | None) -> bool:
    """Return whether the model is to think aloud first; None is read from `config`.

    Raises:
        ValueError: one line, for a choice that the checkpoint does not leave.
    """
    kind = thinking_of(processor)
    wanted = config.THINKING if thinking is None else thinking
    if kind == "never" and wanted:
        raise ValueError(
            "This checkpoint's chat template has no thinking to turn on (enable_thinking): leave THINKING "
            "at False."
        )
    if kind == "always" and thinking is False:
        raise ValueError(
            "This checkpoint always thinks first: its chat template begins the thought itself, and has no "
            "enable_thinking to turn it off."
        )
    return wanted or kind == "always"
