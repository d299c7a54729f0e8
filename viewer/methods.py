"""What a person is told of each method, as plain data: the three to begin with, then all others.

Goes in: the name and kind of the model whose answer is shown. Comes out: a list that is ready for JSON. Knows
nothing of maps.
"""

from __future__ import annotations

from typing import Any

from methods.catalog import METHODS, Kind, Method
from records.measured import found_by, ranked, told_of

FAST, CAUSAL = "attention", "occlusion"
OTHERWISE = "gradient-attention"  # recommended where nothing was measured


def best_method() -> Method:
    """Return the method that is recommended: of those beside Fast and Causal, what measured best."""
    labels = {row.label: row for row in METHODS.values() if row.name not in (FAST, CAUSAL)}
    return next((labels[label] for label, _ in ranked() if label in labels), METHODS[OTHERWISE])


def short_name(row: Method) -> str:
    """Return what a method is called where there is little room: "Best" is the recommended one."""
    return "Best" if row is best_method() else row.short


def methods_payload(model: str, kind: Kind | None = None) -> list[dict[str, Any]]:
    """Return what is said of each method: Fast, Best and Causal ("first"), then the others ("more").

    `sentence` says in plain words what its maps are, to be put after "short is"; `measured` how often it
    found the named thing on the model of this name, and `found` the same as a number 0..1, None where that is
    not known; `cost` what an answer's maps take; `refused` why answers of a model of this kind have none, ""
    where they have.
    """
    first = [METHODS[FAST], best_method(), METHODS[CAUSAL]]
    more = [row for row in METHODS.values() if row not in first]
    return [
        {
            "name": row.name,
            "label": row.label,
            "short": short_name(row),
            "sentence": row.sentence,
            "measured": told_of(row.label, model),
            "found": found_by(row.label, model),
            "cost": row.cost,
            "paper": row.paper,
            "caveat": row.caveat,
            "needs_model": row.needs_model,
            "refused": "" if kind is None else row.refusal(kind),
            "group": "first" if row in first else "more",
        }
        for row in (*first, *more)
    ]
