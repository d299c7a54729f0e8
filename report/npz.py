"""Numbers: the raw maps with their axes named, for numpy."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from records.visuals import is_picture
from report.numbers import arrays_of, arrays_of_all
from report.parts import Pictures
from report.view import Subject, coloured
from utils import Watch


def npz(subject: Subject, pictures: Pictures, path: Path, watch: Watch) -> tuple[str, ...]:
    """Write the raw maps of tokens, words and words of the prompt; `axes` and `settings` in it are JSON.

    Only attention has maps of the prompt. Of several pictures, and of a clip, each has its own arrays.
    """
    sides = [subject.choosing(by="word")]
    if subject.maps.answer is not None and subject.maps.prompt is not None:
        both = {False: None, True: None} | {subject.selection.of_prompt: subject.selection.tokens}
        sides = [subject.choosing(by="word", of_prompt=side, tokens=tokens) for side, tokens in both.items()]
    drawing = asdict(coloured(subject)) | {"scale": subject.selection.scale}
    arrays = arrays_of if is_picture(subject.capture.visuals) else arrays_of_all
    with path.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays(sides, drawing))
    return ()
