"""The conversation that an answer stands in, as the page lists it.

Goes in: an answer. Comes out: its turns, each with the id under which it can be opened again. Knows nothing
of Gradio.
"""

from typing import Any

from page.sessions import Run
from records.store import Store


def turns_of(run: Run, store: Store) -> list[dict[str, Any]]:
    """Return {id, prompt, text} of each turn, this answer the last; the id is None where it is not kept."""
    capture = run.capture
    said = [(turn.prompt, turn.text) for turn in capture.history] + [(capture.prompt, capture.text)]
    ids = [*_earlier(run, store), run.kept]
    return [
        {"id": one, "prompt": prompt, "text": text} for one, (prompt, text) in zip(ids, said, strict=True)
    ]


def parent_of(run: Run, store: Store) -> dict[str, Any] | None:
    """Return {id, prompt, text, of} of the answer that this one asks again; `of` says how it was asked."""
    capture = run.capture
    entry = store.entry(capture.parent)
    if entry is None or entry.turns != len(capture.history):
        return None
    of = "with the picture as it was" if capture.crop is None else "without the closer look"
    return {"id": entry.id, "prompt": entry.prompt, "text": entry.answer, "of": of}


def _earlier(run: Run, store: Store) -> list[str | None]:
    """Return the id of each turn before the answer, as far as those that it goes on from are kept."""
    found: list[str | None] = []
    entry = store.entry(run.capture.parent)
    for turns in reversed(range(len(run.capture.history))):
        while entry is not None and entry.turns > turns:  # one that this was asked again of
            entry = store.entry(entry.parent)
        found.insert(0, None if entry is None else entry.id)
    return found
