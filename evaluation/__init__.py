"""How often maps find what their words name, and at what cost: every method beside maps that know nothing.

Goes in: a model, samples whose things are known by masks, and contenders that make maps. Comes out: an
`Evaluation`, figures with intervals, as a table, CSV, JSON and a plot. Knows nothing of where samples come
from, but for folders in COCO format.
"""

from evaluation.contenders import Case, Contender, Made, blind, blind_maps, by_method, most_local
from evaluation.figures import FIGURES, Value
from evaluation.record import Estimate, Evaluation, Spent
from evaluation.report import chart, csv_text, markdown, write
from evaluation.run import CURVES, evaluate
from evaluation.samples import FUNCTION_WORDS, Judged, JudgedWord, Sample

__all__ = [
    "CURVES",
    "FIGURES",
    "FUNCTION_WORDS",
    "Case",
    "Contender",
    "Estimate",
    "Evaluation",
    "Judged",
    "JudgedWord",
    "Made",
    "Sample",
    "Spent",
    "Value",
    "blind",
    "blind_maps",
    "by_method",
    "chart",
    "csv_text",
    "evaluate",
    "markdown",
    "most_local",
    "write",
]
