"""A closer look: an answer's question asked again, with a part of its picture cut out, beside the whole.

Goes in: what generates answers, an answer, and a box on its picture. Comes out: the `Capture` of the new
answer, which knows which of its pictures is the crop. Knows nothing of maps and pages.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attention_extractor import AttentionExtractor
from records.capture import Capture
from records.closer import closer_question, with_crop
from records.generation import asked_again


def look_closer(
    extractor: AttentionExtractor,
    capture: Capture,
    box: Sequence[float],
    visual: int = 0,
    prompt: str | None = None,
    **generation: Any,
) -> Capture:
    """Return the answer to the same question about the same pictures and, after them, the part in a box.

    `box` is left, top, right, bottom in pixels of the picture `visual` as it was given; `window_of` finds one
    in a map. The crop keeps the pixels that the picture was given in, so that the model sees more of it where
    the whole was shrunk. Prompt, conversation, system turn and way to generate are the answer's own, but for
    what is said here: `generation` are further keywords of `AttentionExtractor.generate`. The new answer's
    `crop` says which picture is a part of which (ViCrop: Zhang et al. 2025, arXiv 2502.17422, which chooses
    the box by relative attention of the last position of the question).

    Raises:
        ValueError: one line, for a clip, for no box of the picture, for pictures that are not at hand, for an
            answer of another model, and as `generate` does.
        MemoryError: as `generate` does.
        RuntimeError: as `generate` does.
    """
    here = str(extractor.model.name_or_path)
    if capture.model_name != here:
        raise ValueError(f"the answer was given by {capture.model_name}, not by {here}: ask this one first")
    asked = closer_question(capture, box, visual, prompt)
    how = asked_again(capture.settings) | generation
    found = extractor.generate(
        asked.visuals, asked.prompt, known_hash=asked.hashes, history=asked.history, **how
    )
    return with_crop(found, asked.crop)
