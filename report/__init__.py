"""What a person takes away of one answer: pictures, an archive, an animation, a document, a page, numbers.

Goes in: a `Capture`, what of it is selected, its maps and its picture. Comes out: a file in one of `FORMATS`.
Knows nothing of models: whoever wants a file computes the maps first.
"""

from report.formats import FORMATS, Exported, Format, export
from report.view import Drawing, Subject, arrays_of, coloured, drawings, facts, whole_drawing

__all__ = [
    "FORMATS",
    "Drawing",
    "Exported",
    "Format",
    "Subject",
    "arrays_of",
    "coloured",
    "drawings",
    "export",
    "facts",
    "whole_drawing",
]
