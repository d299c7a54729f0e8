"""Plots of figures, in colours that are told apart without colour vision."""

from __future__ import annotations

from functools import cache

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager

from drawing.fonts import drawable, font_files
from records.map_check import MapCheck
from utils import one_line

BLUE, GREY, ORANGE = "#0072B2", "#767676", "#D55E00"  # told apart without colour vision (Okabe and Ito)


def curve_chart(check: MapCheck, label: str) -> Figure:
    """Return a plot of the word's probability over the number of patches removed; `label` names the map."""
    drawing = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(drawing)
    panel = drawing.subplots()
    places = range(len(check.counts))
    low, high = check.random.min(axis=0), check.random.max(axis=0)
    panel.fill_between(places, low, high, color=GREY, alpha=0.25, linewidth=0)
    panel.plot(places, check.random.mean(axis=0), "s-", color=GREY, label="random patches (mean, range)")
    panel.plot(places, check.central, "^--", color=ORANGE, label="central patches")
    panel.plot(places, check.hottest, "o-", color=BLUE, label=f"hottest patches: {label}")
    panel.set_xticks(places, list(map(str, check.counts)))
    panel.set_xlabel(f"patches removed, of {check.patches}")
    panel.set_ylabel("probability of the word")
    panel.set_ylim(-0.03, 1.03)
    title = drawable(f"“{one_line(check.text, 60)}”")
    fonts = _fonts(tuple(font_files(title)))
    panel.set_title(title, fontsize=10, family=fonts, parse_math=False)
    panel.legend(fontsize=8)
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    return drawing


@cache
def _fonts(files: tuple[str, ...]) -> list[str]:
    """Return the names of fonts by which matplotlib finds them."""
    for file in files:
        fontManager.addfont(file)
    return [FontProperties(fname=file).get_name() for file in files]
