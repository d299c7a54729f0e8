"""The one way from a selection to maps: what needs only the capture is computed, the rest was before."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from methods.catalog import METHODS
from methods.maps import token_maps
from methods.sinks import sink_patches, without_sinks
from records.capture import Capture
from records.token_maps import SelectedMaps, TokenMaps

if TYPE_CHECKING:  # a selection has a look, which asks matplotlib; nothing is drawn here
    from records.selection import Selection


def selected_maps(
    capture: Capture, selection: Selection, computed: Mapping[str, TokenMaps] | None = None
) -> SelectedMaps:
    """Return the maps of all tokens by the selection's method, over its layers and heads.

    `computed` are the maps of the whole answer by methods that read it again, by name.

    Raises:
        ValueError: one line, if the method has to read the answer again first, and for a choice that the
            capture does not have.
    """
    row = METHODS[selection.method]
    if row.needs_model:
        found = (computed or {}).get(row.name)
        if found is None:
            raise ValueError(f"{row.label} is not computed for this answer yet: choose it again.")
        return SelectedMaps(found)
    options: dict[str, Any] = {}
    if row.folds:
        options = {
            "layers": selection.layers,
            "heads": selection.heads,
            "aggregation": selection.aggregation,
        }
    answer = prompt = None
    if capture.token_ids or not row.of_prompt:
        answer = token_maps(row.name, capture, **options)
    if capture.prompt_token_ids and row.of_prompt:
        prompt = token_maps(row.name, capture, of_prompt=True, **options)
    if not selection.no_sinks:
        return SelectedMaps(answer, prompt)
    sinks = sink_patches(capture, selection.layers, selection.heads)
    return SelectedMaps(*(None if side is None else without_sinks(side, sinks) for side in (answer, prompt)))
