"""Colours to choose: glow and all of matplotlib's maps, and each can be drawn."""

import matplotlib

from drawing.colours import colormaps
from records.look import Look
from visualization import heatmap


def test_colormaps_lists_every_map_and_each_can_be_drawn() -> None:
    names = colormaps()
    assert names[:2] == ["glow", "viridis"]
    assert sorted(names) == sorted(["glow", *matplotlib.colormaps])
    for name in names:
        assert heatmap([[0.0, 1.0]], (2, 4), Look(name)).getpixel((3, 1)) is not None
