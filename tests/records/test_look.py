"""Looks: what is taken where nothing is said, and what cannot be drawn."""

from typing import Any

import pytest

import config
from records.look import Look


def parts(look: Look) -> tuple[str, float, str, bool]:
    return look.colormap, look.alpha, look.view, look.smooth


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ({}, ("glow", 1.0, "overlay", True)),
        ({"colormap": "glow", "alpha": 0.3}, ("glow", 0.3, "overlay", True)),
        ({"smooth": False, "gamma": 2.0}, ("glow", 1.0, "overlay", False)),
        ({"colormap": "magma"}, ("magma", 0.6, "overlay", False)),
        ({"colormap": "magma", "alpha": 0, "smooth": True}, ("magma", 0, "overlay", True)),
        ({"alpha": 0.4}, ("viridis", 0.4, "overlay", False)),  # as before there was a glow
        ({"vmin": 0.0, "vmax": 1.0}, ("viridis", 0.6, "overlay", False)),
        ({"vmax": 1.0, "view": "heatmap"}, ("viridis", 0.6, "heatmap", False)),
        ({"colormap": "glow", "vmax": 0.5, "view": "spotlight"}, ("glow", 1.0, "spotlight", True)),
        (dict.fromkeys(("colormap", "alpha", "view", "smooth")), ("glow", 1.0, "overlay", True)),
    ],
)
def test_what_is_not_said_follows_from_the_colours(said: dict[str, Any], expected: Any) -> None:
    assert parts(Look(**said)) == expected


def test_a_colour_map_of_the_settings_has_its_own_transparency_and_cells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    settings = {"COLORMAP": "cividis", "ALPHA": 0.25, "VIEW": "heatmap", "SMOOTH": True}
    for name, value in settings.items():
        monkeypatch.setattr(config, f"HEATMAP_{name}", value)
    assert parts(Look()) == ("cividis", 0.25, "heatmap", True)
    assert parts(Look(alpha=0.5)) == ("cividis", 0.5, "heatmap", True)
    assert parts(Look("glow")) == ("glow", 1.0, "heatmap", True)


def test_whether_a_look_has_a_range() -> None:
    assert Look("glow", vmax=0.3).has_range
    assert Look("magma", vmin=0.0, vmax=0.3).has_range
    assert not Look("magma", vmax=0.3).has_range
    assert not Look().has_range


@pytest.mark.parametrize("vmin", [0.0, 0.1])
def test_under_glow_there_is_no_vmin(vmin: float) -> None:
    with pytest.raises(ValueError, match=r"^under glow there is no vmin: an even share of the map is where"):
        Look("glow", vmin=vmin)
