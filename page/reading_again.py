"""Reading an answer again: what a method needs of the model, and how the page tells that it is at work.

Goes in: an answer, a method, a job. Comes out: maps of its tokens, which are kept with it; what the viewer
shows meanwhile, as plain data. Knows nothing of Gradio.
"""

from collections.abc import Sequence
from typing import Any

import viewer
from methods import Method, TokenMaps, token_maps
from page.around import Around
from page.jobs import Job, Part, Progress
from page.model_room import Loaded
from page.sessions import Run


class Work:
    """What the model does beside an answer, as the viewer tells it."""

    def __init__(self, part: Part, title: str, short: str, key: Any = None) -> None:
        self.part, self.title, self.short, self.key = part, title, short, key

    @classmethod
    def reading(cls, row: Method) -> "Work":
        """Return a method that reads the answer again."""
        short = viewer.short_name(row)
        return cls("method", f"{short} map", short)

    def at(self, progress: Progress) -> dict[str, Any]:
        """Return it with how far it is."""
        return {
            "part": self.part,
            "title": self.title,
            "short": self.short,
            "key": self.key,
            "ahead": progress.ahead,
            "done": progress.done,
            "count": progress.count,
            "seconds": round(progress.seconds, 1),
        }


UNASKED = 64  # maps of an answer that come by themselves beside those that are asked for
TOGETHER = 16  # of them, the nearest ones, are read before the others


def read_again(
    around: Around,
    run: Run,
    method: str,
    job: Job,
    first: tuple[int, ...] = (),
    *,
    unasked: int | None = None,
) -> TokenMaps:
    """Have the model read an answer again, and return the maps of its tokens; they are kept with it.

    The tokens `first` come first, then the others, the nearest first; with `unasked` only until the answer
    has so many maps.

    Raises:
        Stopped: if the job was stopped; maps that were done by then are kept.
        ModelError: if the model in memory is not the one that gave the answer.
        ValueError: if the method cannot explain this answer.
        FullError: if too many wait for the model already.
    """

    def read(loaded: Loaded) -> TokenMaps:
        for tokens in in_turn(run.missing(method), len(run.capture.token_ids), first, unasked):
            found = token_maps(
                method,
                run.capture,
                model=loaded.model,
                processor=loaded.processor,
                image=list(run.originals),
                tokens=tokens,
                on_progress=job.steps,
                stop=job.stop,
            )
            around.answering.remember(run, maps=found)
        return run.maps[method]

    return around.room.work(read, job, run.capture)


def in_turn(
    missing: Sequence[int], count: int, first: Sequence[int] = (), unasked: int | None = None
) -> list[list[int]]:
    """Return the tokens to read, of those that are missing of an answer of `count`, a list after the other.

    See `read_again`; each list is ascending, and none is empty.
    """
    asked = [token for token in missing if token in set(first)]
    others = [token for token in missing if token not in set(first)]
    others.sort(key=lambda token: min((abs(token - one) for one in first), default=token))
    if unasked is not None:
        others = others[: max(0, unasked - (count - len(missing)) - len(asked))]
    parts = (asked, others[:TOGETHER], others[TOGETHER:])
    return [sorted(part) for part in parts if part]
