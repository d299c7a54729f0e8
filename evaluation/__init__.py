"""How often maps find what their words name, and at what cost: every method beside maps that know nothing.

Goes in: a model, samples whose things are known by masks, and explainers that make maps. Comes out: an
`Evaluation`, metrics with intervals, as a table, CSV, JSON and a plot. Knows nothing of where samples come
from, but for folders in COCO format.
"""

from evaluation.baselines import blind, blind_maps
from evaluation.explainers import Case, Explainer, Rows, by_method
from evaluation.metrics import METRICS, Value
from evaluation.record import Estimate, Evaluation, Spent
from evaluation.report import chart, csv_text, markdown, write
from evaluation.run import CURVES, evaluate
from evaluation.samples import FUNCTION_WORDS, Judged, JudgedWord, Sample

__all__ = [
    "CURVES",
    "FUNCTION_WORDS",
    "METRICS",
    "Case",
    "Estimate",
    "Evaluation",
    "Explainer",
    "Judged",
    "JudgedWord",
    "Rows",
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
    "write",
]
