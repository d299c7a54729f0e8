"""Whether a loaded model is ready: a small picture and a question are read, as they will be later.

Goes in: a model and its processor. Comes out: nothing more than that they fit, or one line that says why not.
"""

from __future__ import annotations

from typing import Any

import torch
from PIL import Image

from model.encoding import Encoded, encode
from model.errors import ModelError
from model.families import Processor
from utils import one_line

SIDES_WH = (92, 61)  # pixels of the picture; no multiples of a patch
QUESTION = "What is this?"
AROUND = {  # a picture, where a family has them: the config's name for each, and the tokenizer's
    "vision_start_token_id": "<|vision_start|>",
    "vision_end_token_id": "<|vision_end|>",
}
REMEDY = "take config.json and the tokenizer's files from one and the same checkpoint"


def check_ready(model: Any, processor: Processor, name: str) -> Encoded:
    """Return a question about a picture as the model reads it; ModelError if it could read none."""
    _check_tokens(model.config, processor, name)
    try:
        encoded = encode(model, processor, Image.new("RGB", SIDES_WH, "teal"), QUESTION)
    except Exception as error:  # of encoding, of the processor, of its template
        raise ModelError(
            f"{name} cannot read a picture: {one_line(error, 150).rstrip('.')}; {REMEDY}."
        ) from error
    places = encoded.image_positions
    if not torch.equal(places, torch.arange(len(places), device=places.device) + places[0]):
        raise ModelError(f"{name} cannot read a picture: its visual tokens are not side by side; {REMEDY}.")
    read = processor.tokenizer.decode(encoded.input_ids[encoded.prompt_positions])
    if read.strip() != QUESTION:
        raise ModelError(f"{name} reads the question {QUESTION!r} as {one_line(read, 60)!r}; {REMEDY}.")
    return encoded


def _check_tokens(config: Any, processor: Processor, name: str) -> None:
    """Raise ModelError unless the tokenizer knows the layout's tokens by the numbers of config.json."""
    known, rows = processor.tokenizer.get_vocab(), config.get_text_config().vocab_size
    for setting, token in {"image_token_id": processor.image_token, **AROUND}.items():
        said, found = getattr(config, setting, None), known.get(token)
        if found is None and setting in AROUND:
            continue
        if found is None:
            raise ModelError(f"{name} has a tokenizer without {token}: it is not a picture's; {REMEDY}.")
        if said is not None and said != found:
            raise ModelError(
                f"{name} does not fit itself: {token} is {found} in its tokenizer and {said} in its "
                f"config.json ({setting}); {REMEDY}."
            )
        if found >= rows:
            raise ModelError(f"{name} has weights for {rows:,} tokens, and {token} is {found}; {REMEDY}.")
