"""Grad-CAM: layers."""

from typing import Any

import numpy as np
import pytest

from records.layers import chosen_layers, comparative_layers, layer_thirds
from tests.gradcam.kit import ANSWER, LANDSCAPE, LAYERS, TARGETS, cam_of, slow_gradient
from tests.numerics import assert_same

pytestmark = pytest.mark.numeric


def test_layers_do_not_depend_on_each_other(small: tuple[Any, Any]) -> None:
    every = cam_of(small)
    for layers in ([2], [0, 3], [1, 2, 3]):
        some = cam_of(small, layers=layers)
        assert some.layers == tuple(layers)
        for layer in layers:
            assert_same(some.layer_map(layer), every.layer_map(layer))
    np.testing.assert_array_equal(every.layer_map(-2), every.maps[3])
    with pytest.raises(ValueError, match="layer 4 is not among those computed: 0, 1, 2, 3"):
        every.layer_map(4)


def test_the_last_layer_is_zero_and_refused_with_the_reason(small: tuple[Any, Any]) -> None:
    score = TARGETS[0][2]
    features, gradient = slow_gradient(small, LANDSCAPE, ANSWER, None, LAYERS - 1, score)
    assert features.any()
    assert not gradient.any()
    assert slow_gradient(small, LANDSCAPE, ANSWER, None, LAYERS - 2, score)[1].any()
    for layers in (4, -1, [0, 4], [2, -1]):
        with pytest.raises(ValueError, match=r"layer 4 is the last one .* no later layer reads its features"):
            cam_of(small, layers=layers)
    for name in ("auto", "late", "all"):
        cam = cam_of(small, layers=name, num_samples=1)
        assert 4 not in cam.layers
        assert cam.notes[0].startswith("Layer 4, the last, is left out: no later layer reads")
    assert not any("left out" in note for note in cam_of(small, layers=[1], num_samples=1).notes)


@pytest.mark.parametrize(
    ("count", "name", "layers"),
    [
        (36, "auto", (0, 7, 14, 20, 27, 34)),
        (28, "auto", (0, 5, 10, 16, 21, 26)),
        (7, "auto", (0, 1, 2, 3, 4, 5)),
        (4, "auto", (0, 1, 2)),
        (36, "early", tuple(range(12))),
        (36, "middle", tuple(range(12, 23))),
        (36, "late", tuple(range(23, 35))),
        (4, "late", (2,)),
        (12, "all", tuple(range(11))),
        (12, [3, -2, 3], (3, 10)),
        (12, -12, (0,)),
    ],
)
def test_choice_of_layers(count: int, name: Any, layers: tuple[int, ...]) -> None:
    assert chosen_layers(count, name)[0] == layers


def test_layers_that_are_not_there() -> None:
    for layers in (12, -13, [0, 99]):
        with pytest.raises(ValueError, match=r"there is no layer -?\d+: the model has 12 layers, 0 to 11"):
            chosen_layers(12, layers)
    for wrong, message in (
        ("most", "one of auto, early, middle, late, all; got 'most'"),
        ([], "at least one"),
    ):
        with pytest.raises(ValueError, match=message):
            chosen_layers(12, wrong)
    with pytest.raises(ValueError, match="'middle' is no layer of a model with 3 layers"):
        chosen_layers(3, "middle")
    assert chosen_layers(3, "early")[0] + chosen_layers(3, "late")[0] == (0, 1)


@pytest.mark.parametrize("count", range(2, 40))
def test_thirds_are_all_layers_below_the_last(count: int) -> None:
    thirds = layer_thirds(count)
    assert list(thirds) == ["early", "middle", "late"]
    assert sum(thirds.values(), ()) == tuple(range(count - 1))
    assert max(map(len, thirds.values())) - min(map(len, thirds.values())) <= 1
    compared = comparative_layers(count)
    assert list(compared) == sorted(set(compared))
    if count > 9:
        assert [len(set(compared) & set(third)) for third in thirds.values()] == [3, 3, 3]
