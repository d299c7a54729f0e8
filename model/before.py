"""What stands before a question in its chat: what the template is told, a system turn, earlier turns.

Goes in: what a person chose, and answers given before. Comes out: the question as the model reads it after
all this. Knows nothing of attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from model.encoding import Counts, Encoded, Hash, Pictures, Size, count, encode
from model.families import Processor
from model.thinking import chosen_thinking, thinking_of
from records.conversation import Conversation, History, conversation_of
from records.videos import Video
from utils import as_list


@dataclass(frozen=True, eq=False)
class Before:
    """What stands before a question to a model."""

    model: Any
    processor: Processor
    thinking: bool
    conversation: Conversation

    @classmethod
    def of(
        cls,
        model: Any,
        processor: Processor,
        thinking: bool | None,
        system: str | None,
        history: History,
    ) -> Before:
        """Return what was chosen; of `thinking` None is read from `config`, of `system` from the history.

        Raises:
            ValueError: one line, for a choice that the checkpoint does not leave, and for a history that
                is none, is another model's, or whose pictures are not at hand.
        """
        thinks, found = chosen_thinking(processor, thinking), conversation_of(history, system)
        here = str(model.name_or_path)
        for capture in () if isinstance(history, Conversation) else history:
            if capture.model_name != here:
                raise ValueError(
                    f"an earlier answer was given by {capture.model_name}, not by {here}: have this model "
                    "read its text first (AttentionExtractor.read)"
                )
        if len(found.pictures) != len(found.hashes):
            raise ValueError("the pictures of an earlier answer are not at hand; open it from the cache")
        return cls(model, processor, thinks, found)

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of it: what the template was told, where it asks; the system prompt, if any."""
        told = {} if thinking_of(self.processor) == "never" else {"thinking": self.thinking}
        system = self.conversation.system
        return told | ({} if system is None else {"system": system})

    def encode(self, visuals: Pictures, prompt: str, known_hash: Hash | None = None) -> Encoded:
        """Return the question, with what it adds to what was shown, as the model reads it (see `encode`)."""
        if self.conversation.turns:
            visuals = [*self.conversation.pictures, *as_list(visuals)]
            if known_hash is not None:
                known_hash = [*self.conversation.hashes, *as_list(known_hash)]
        return encode(self.model, self.processor, visuals, prompt, known_hash, **self._chat)

    def count(self, size_wh: Size | list[Size], prompt: str) -> Counts:
        """Return how many tokens that is, for pictures of these sizes (see `count`)."""
        if self.conversation.turns:
            new = size_wh if isinstance(size_wh, list) else [size_wh]
            before = [one if isinstance(one, Video) else one.size for one in self.conversation.pictures]
            size_wh = [*before, *new]
        return count(self.model, self.processor, size_wh, prompt, **self._chat)

    @property
    def _chat(self) -> dict[str, Any]:
        chat = self.conversation
        return {"thinking": self.thinking, "system": chat.system, "history": chat.turns}
