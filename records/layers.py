"""Decoder layers by number and by name, for a model with so many.

Goes in: a number of layers and a choice of them. Comes out: layer numbers. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from utils import as_ranges, shown

Layers = str | int | Sequence[int]
WHY_NOT_LAST = (
    "no later layer reads its features at the visual tokens, so they reach no logit of an answer and its map "
    "is zero everywhere"
)
NAMED_LAYERS = ("auto", "early", "middle", "late", "all")
REPRESENTATIVE = 6  # layers that "auto" takes
_EACH_THIRD = 3  # layers that "comparative" takes of early, middle and late


def decoder_layer_numbers(count: int, layers: Sequence[int] | None) -> tuple[int, ...]:
    """Return the decoder layers asked for, ascending and each once; None is all of them.

    Raises:
        ValueError: for no layer at all, or one beyond the model; the message names the model's layer count.
    """
    if layers is None:
        return tuple(range(count))
    if len(layers) == 0:
        raise ValueError(f"choose at least one of the model's {count} layers")
    for layer in layers:
        if isinstance(layer, bool) or not isinstance(layer, int):
            raise ValueError(f"a layer must be a whole number; got {shown(layer)}")
        if not -count <= layer < count:
            raise ValueError(
                f"there is no layer {layer}: the model has {count} layers, 0 to {count - 1} "
                f"(or -{count} to -1, counted from the last)"
            )
    return tuple(sorted({layer % count for layer in layers}))


def attention_layer_numbers(
    count: int, attended: Sequence[int], layers: Sequence[int] | None
) -> tuple[int, ...]:
    """Return the decoder layers asked for, as above; None is all that have attention, `attended`.

    Raises:
        ValueError: also for a layer without attention; the message names those that have it.
    """
    if layers is None:
        return tuple(attended)
    numbers = decoder_layer_numbers(count, layers)
    if without := [number for number in numbers if number not in attended]:
        raise ValueError(
            f"layer {without[0]} of this model has no attention; "
            f"choose from those that have: {as_ranges(attended, comma=', ')}"
        )
    return numbers


def layer_thirds(count: int) -> dict[str, tuple[int, ...]]:
    """Return the layers below the last of a model with so many, in thirds: early, middle, late."""
    ends = [round((count - 1) * third / 3) for third in range(4)]
    return {name: tuple(range(*pair)) for name, pair in zip(NAMED_LAYERS[1:4], pairwise(ends), strict=True)}


def spread(layers: Sequence[int], count: int) -> tuple[int, ...]:
    """Return so many of the layers at even distances, first and last among them; all if there are fewer."""
    if len(layers) <= count:
        return tuple(layers)
    if count == 1:
        return (layers[len(layers) // 2],)
    return tuple(layers[round(index * (len(layers) - 1) / (count - 1))] for index in range(count))


def chosen_layers(count: int, layers: Layers) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the decoder layers asked for, ascending, and notes about them for the person.

    "auto" is six layers at even distances, "early", "middle" and "late" a third each, "all" every one: of the
    layers below the last, which is left out. Numbers may be negative, counted from the last.

    Raises:
        ValueError: for the last layer, with the reason; for one beyond the model, naming its layer count.
    """
    last = count - 1
    if isinstance(layers, str):
        return _named_layers(count, layers), (f"Layer {last}, the last, is left out: {WHY_NOT_LAST}.",)
    numbers = decoder_layer_numbers(count, [layers] if isinstance(layers, int) else list(layers))
    if last in numbers:
        raise ValueError(f"layer {last} is the last one and has no Grad-CAM: {WHY_NOT_LAST}")
    return numbers, ()


def _named_layers(count: int, name: str) -> tuple[int, ...]:
    below = range(count - 1)
    if name not in NAMED_LAYERS:
        raise ValueError(f"layers must be numbers or one of {', '.join(NAMED_LAYERS)}; got {shown(name)}")
    if name == "all":
        layers = tuple(below)
    else:
        layers = spread(below, REPRESENTATIVE) if name == "auto" else layer_thirds(count)[name]
    if not layers:
        raise ValueError(
            f"{shown(name)} is no layer of a model with {count} layers, of which the last has no map"
        )
    return layers


def comparative_layers(count: int) -> tuple[int, ...]:
    """Return layers of a model with so many: as many early as middle as late ones, at most three of each."""
    thirds = [third for third in layer_thirds(count).values() if third]
    each = min(_EACH_THIRD, *map(len, thirds)) if thirds else 0
    return tuple(layer for third in thirds for layer in spread(third, each))
