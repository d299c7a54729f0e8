"""The conversation that an answer stands in, as the page lists it.

Goes in: an answer. Comes out: its turns, and what it was asked again of, each with the id under which it can
be opened again. Knows nothing of Gradio.
"""

from typing import Any

from page.sessions import Run
from records.entries import Entry
from records.store import Store


def conversation_facts(run: Run, store: Store) -> dict[str, Any]:
    """Return what stands before an answer: {turns, parent}.

    `turns` are {id, prompt, text} of each turn, this answer the last; the id is None where it is not kept.
    `parent` is {id, prompt, text, of} of the answer that this one asks again, and how that was asked; None
    where it asks none again.
    """
    capture, parent = run.capture, store.entry(run.capture.parent)
    said = [(turn.prompt, turn.text) for turn in capture.history] + [(capture.prompt, capture.text)]
    ids = [*_earlier(parent, len(capture.history), store), run.kept]
    turns = [
        {"id": one, "prompt": prompt, "text": text} for one, (prompt, text) in zip(ids, said, strict=True)
    ]
    if parent is None or parent.turns != len(capture.history):
        return {"turns": turns, "parent": None}
    of = "with the picture as it was" if capture.crop is None else "without the closer look"
    again = {"id": parent.id, "prompt": parent.prompt, "text": parent.answer, "of": of}
    return {"turns": turns, "parent": again}


def _earlier(entry: Entry | None, count: int, store: Store) -> list[str | None]:
    """Return the id of each of so many turns before an answer, as far as they are kept."""
    found: list[str | None] = []
    for turns in reversed(range(count)):
        while entry is not None and entry.turns > turns:  # one that this was asked again of
            entry = store.entry(entry.parent)
        found.insert(0, None if entry is None else entry.id)
    return found
