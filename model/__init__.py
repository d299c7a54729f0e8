"""Checkpoints: which family, which files, where; loading one; pictures and a prompt as it reads them.

Goes in: a name, or pictures and a prompt. Comes out: `(model, processor)`, or an `Encoded`. Knows nothing of
attention, maps or pages.
"""

import model.torchvision_guard  # noqa: F401 - before all that follows, which imports transformers
from model.encoding import PIXELS, Counts, Encoded, Pictures, Size, count, encode
from model.errors import ModelError, PromptError
from model.families import (
    FAMILIES,
    Family,
    Processor,
    attention_layers,
    box_settings,
    decoder_config,
    decoder_layers,
    family_of,
    model_device,
    model_layer_count,
)
from model.generation_config import end_ids, generation_config_of, own_generation, refused, told
from model.given_answer import answer_ids
from model.hub import DEMO, DEMO_FOLDER, default_model
from model.identity import Checkpoint, answer_key, checkpoint, verification_key
from model.loading import load_model, loading_notes
from model.placement import Placement, free_memory
from model.source import joined
from model.thinking import Thinking, chosen_thinking, thinking_of

__all__ = [
    "DEMO",
    "DEMO_FOLDER",
    "FAMILIES",
    "PIXELS",
    "Checkpoint",
    "Counts",
    "Encoded",
    "Family",
    "ModelError",
    "Pictures",
    "Placement",
    "Processor",
    "PromptError",
    "Size",
    "Thinking",
    "answer_ids",
    "answer_key",
    "attention_layers",
    "box_settings",
    "checkpoint",
    "chosen_thinking",
    "count",
    "decoder_config",
    "decoder_layers",
    "default_model",
    "encode",
    "end_ids",
    "family_of",
    "free_memory",
    "generation_config_of",
    "joined",
    "load_model",
    "loading_notes",
    "model_device",
    "model_layer_count",
    "own_generation",
    "refused",
    "thinking_of",
    "told",
    "verification_key",
]
