"""The colour bar: its colours against matplotlib's own look-up, its numbers against values known on paper."""

import matplotlib
import numpy as np
import pytest

from drawing.colour_bar import Scale, _place, _ramp, _ticks, colour_bar, number_labels
from drawing.colours import colours
from tests.drawn import boxed, pixels


@pytest.mark.parametrize(
    ("values", "unit", "labels"),
    [
        ([0.0, 0.0123, 0.02], "%", ["0 %", "1.23 %", "2.00 %"]),
        ([1e-12, 0.01], "%", ["0.00 %", "1.00 %"]),  # exactly 0 is printed as 0, nearly 0 is not
        ([0.0005, 0.0006], "%", ["0.0500 %", "0.0600 %"]),
        ([2e-9, 3e-9], "%", ["2.00×10⁻⁷ %", "3.00×10⁻⁷ %"]),
        ([-3.25, 5], "", ["−3.25", "5.00"]),
        ([5e9, 7e9], "logits", ["5.00×10⁹ logits", "7.00×10⁹ logits"]),
        ([5e-324, 1e-323], "", ["0.000000000×10⁻³⁰⁰"] * 2),
        ([0.0], "%", ["0 %"]),
        ([-1e-12, 0.01], "%", ["0.00 %", "1.00 %"]),  # no minus before what reads as zero
        ([-0.0004, 0.4], "nats", ["0.000 nats", "0.400 nats"]),
        ([-0.006, 0.4], "", ["−0.006", "0.400"]),
        ([-0.0, 1.0], "", ["0", "1.00"]),
    ],
)
def test_number_labels(values: list[float], unit: str, labels: list[str]) -> None:
    assert number_labels(values, unit) == labels


def test_ticks_are_the_real_ends_and_round_values_between() -> None:
    values, labels = _ticks(Scale("viridis", 0.0003, 0.0231), 5)
    assert (values[0], values[-1]) == (0.0003, 0.0231)
    assert values[1:-1] == pytest.approx([0.005, 0.01, 0.015, 0.02])
    assert (labels[0], labels[-1]) == ("0.03 %", "2.31 %")


@pytest.mark.parametrize("colormap", ["viridis", "jet", "tab10"])
@pytest.mark.parametrize("horizontal", [False, True])
def test_colour_bar_runs_from_the_lowest_to_the_highest_colour(colormap: str, horizontal: bool) -> None:
    bar = boxed(colour_bar(Scale(colormap, 0.0, 0.02), 300, 14, horizontal), "bar_box")
    line = bar[len(bar) // 2] if horizontal else bar[::-1, bar.shape[1] // 2]  # lowest first
    table = matplotlib.colormaps[colormap]
    np.testing.assert_array_equal(line[0], table(0.0, bytes=True)[:3])
    np.testing.assert_array_equal(line[-1], table(1.0, bytes=True)[:3])
    shares = np.linspace(0, 1, len(line))
    np.testing.assert_array_equal(line, table(shares, bytes=True)[:, :3])


def test_colour_bar_prints_its_own_numbers() -> None:
    first, second = (colour_bar(Scale("viridis", 0.0, top), 300, 14) for top in (0.02, 0.03))
    np.testing.assert_array_equal(boxed(first, "bar_box"), boxed(second, "bar_box"))
    assert pixels(first).shape != pixels(second).shape or (pixels(first) != pixels(second)).any()


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_the_colour_beside_a_number_is_that_of_its_value(gamma: float) -> None:
    scale = Scale("gray", 0.01, 0.09, gamma=gamma)
    span = 301
    ramp = pixels(_ramp(scale, span, 3))[0]
    values = _ticks(scale, 6)[0]
    assert len(values) > 3
    for value in values:
        at = _place(value, scale, span)
        colour = colours(np.array([value]), "gray", 0.01, 0.09, gamma)[0]
        assert np.abs(ramp[at] - colour).max() <= 1  # a pixel is 0.9 of a colour
    middle = _place(0.05, scale, span)
    assert middle == round(0.5**gamma * 300)
