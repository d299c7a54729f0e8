"""What a visitor has running: one job for Generate, methods, Grad-CAM, checks, files and loading alike.

Goes in: work, a function of its `Job`. Comes out: how far it is while it goes on in a thread, then its
result, as what a part of the page shows. Everything that can be stopped is kept here, in `Jobs`. Knows
nothing of models and maps.

A visitor has at most one job of a kind: another one takes its place, and the earlier shows nothing any more.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

import gradio as gr

from page.inputs import refusal
from page.parts import Outputs, already_told, told, visitor_of
from page.people import People
from records.plan import Plan
from utils import Stopped

TICK = 0.25  # seconds after which a caller hears something even if nothing happened
PAUSE = 0.1  # seconds between two items at least: each costs the browser some tens of milliseconds

Part = Literal[
    "answer", "need", "method", "grad-cam", "check", "file", "load"
]  # of the page, whose job it is
OF_THE_MODEL: tuple[Part, ...] = ("answer", "method", "grad-cam", "check")  # one of these at a time
# What takes a job's place: nobody where the page was closed, "recent" where an answer from before is shown.
Successor = Part | Literal["nobody", "recent"]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Progress:
    """How far a job is."""

    ahead: int = 0  # people ahead in the queue for the model
    wait: float = 0.0  # seconds that this will take, by what others took
    begun: bool = False  # whether its turn has come
    done: int = 0  # passes, pictures or tokens
    count: int = 0  # of these in all; 0 where that is not known
    text: str = ""  # the answer so far
    map: Any = None  # where the attention of its latest word went (h, w)
    plan: str = ""  # what will be recorded of it at most
    seconds: float = 0.0  # since it was asked for


class Job:
    """Work that goes on in a thread, tells how far it is, and can be stopped."""

    def __init__(self, visitor: str, part: Part, person: str = "") -> None:
        """Begin to count the seconds; the work begins with `follow`. `person` is whose the visitor is."""
        self.visitor, self.part, self.person = visitor, part, person or visitor
        self.stop = threading.Event()  # set: nobody wants the rest
        self.left_to: set[Successor] = set()  # what took its place since; empty while it is wanted
        self._start, self._progress = time.monotonic(), Progress()
        self._news = threading.Event()

    @property
    def kind(self) -> str:
        """What a visitor has only one of: work of the model, a file, or loading."""
        return "model" if self.part in OF_THE_MODEL else self.part

    @property
    def progress(self) -> Progress:
        """How far it is now."""
        return replace(self._progress, seconds=time.monotonic() - self._start)

    # What the work tells

    def waits(self, ahead: int, seconds: float = 0.0) -> None:
        """Hear that people are ahead in the queue, and how long that may take."""
        self._tell(ahead=ahead, wait=seconds)

    def begins(self) -> None:
        """Hear that the turn has come."""
        self._tell(ahead=0, begun=True)

    def steps(self, done: int, count: int) -> None:
        """Hear that so many steps of so many are done."""
        self._tell(done=done, count=count)

    def looks(self, _: int, attention: Any) -> None:
        """Hear where the attention of the latest token went (h, w)."""
        self._progress = replace(self._progress, map=attention)

    def plans(self, plan: Plan) -> None:
        """Hear what will be recorded of the answer at most."""
        self._tell(plan=plan.line)

    def writes(self, text: str, tokens: int) -> None:
        """Hear the answer so far."""
        self._tell(text=text, done=tokens)

    def _tell(self, **changes: Any) -> None:
        self._progress = replace(self._progress, **changes)
        self._news.set()

    # What the page does with it

    def end(self, successor: Successor) -> None:
        """Stop the work; what comes of it is not shown, because something else is."""
        self.left_to.add(successor)
        self.stop.set()

    def follow(self, work: Callable[["Job"], Result]) -> Generator[Progress, None, Result]:
        """Do the work in a thread, yield how far it is, and return what comes of it.

        Closing the generator does not end the work: whoever started the job does, when it is freed.

        Raises:
            Stopped: if the work was stopped, or something else has taken its place.
        """
        outcome: list[Result] = []
        errors: list[BaseException] = []
        finished = threading.Event()

        def run() -> None:
            try:
                outcome.append(work(self))
            except BaseException as error:
                errors.append(error)
            finally:
                finished.set()
                self._news.set()

        threading.Thread(target=run, daemon=True).start()
        while not finished.is_set():
            self._news.wait(TICK)
            self._news.clear()
            if not finished.wait(PAUSE):
                yield self.progress
        if self.left_to:
            raise Stopped
        if errors:
            raise errors.pop()
        return outcome.pop()


@dataclass(frozen=True)
class Shown(Generic[Result]):
    """What a part of the page shows of its job, from the beginning to the end."""

    begun: Outputs
    so_far: Callable[[Progress], Outputs]  # an empty one changes nothing
    done: Callable[[Result, float], Outputs]  # of the result, and the seconds that it took
    stopped: Callable[[], Outputs]
    failed: Callable[[str], Outputs]  # of the reason, one line
    left: Callable[[set[Successor]], Outputs] = lambda _: {}  # when other parts' jobs took its place

    def ended(self, left_to: set[Successor]) -> Outputs:
        """Return what is shown of a job that came to no result."""
        if not left_to:
            return self.stopped()
        return {} if "nobody" in left_to else self.left(left_to)


class Jobs:
    """The jobs of all visitors that are not at their end yet; at most one of a kind each is wanted."""

    def __init__(self, people: People | None = None) -> None:
        self._people = people or People()
        self._lock = threading.Lock()
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    @contextmanager
    def started(self, visitor: str, part: Part) -> Iterator[Job]:
        """Yield a new job in the place of an earlier one of its kind; at the end it is stopped and freed."""
        job = Job(visitor, part, self._people.of(visitor))
        with self._lock:
            for earlier in self._jobs:
                if (earlier.visitor, earlier.kind) == (visitor, job.kind):
                    earlier.end(part)
            self._jobs.append(job)
        try:
            yield job
        finally:
            job.stop.set()
            with self._lock:
                self._jobs.remove(job)

    def has(self, visitor: str, *parts: Part) -> bool:
        """Return whether the visitor has a job of these parts that is still wanted."""
        return any(not job.left_to for job in self._of(visitor, *parts))

    def stop(self, visitor: str, *parts: Part) -> bool:
        """Stop the visitor's jobs of these parts after the step at hand; return whether there was one."""
        found = [job for job in self._of(visitor, *parts) if not job.left_to]
        for job in found:
            job.stop.set()
        return bool(found)

    def end(self, visitor: str, *parts: Part, by: Successor) -> None:
        """End the visitor's jobs of these parts, or all of them; they show nothing any more."""
        for job in self._of(visitor, *parts):
            job.end(by)

    def _of(self, visitor: str, *parts: Part) -> list[Job]:
        with self._lock:
            mine = [job for job in self._jobs if job.visitor == visitor]
        return [job for job in mine if not parts or job.part in parts]

    # For the callbacks of the page

    def stopper(self, *parts: Part) -> Callable[[gr.Request], None]:
        """Return the callback of a Stop button."""

        def on_stop(request: gr.Request) -> None:
            with told():
                self.stop(visitor_of(request), *parts)

        return on_stop

    def run(
        self, visitor: str, part: Part, work: Callable[[Job], Result], shown: Shown[Result]
    ) -> Iterator[Outputs]:
        """Do the work for a visitor, and yield what the page shows of it.

        Gradio shows a generator's last item once more: after something else took its place it is one that
        changes nothing. An empty one would be taken for a component's value.
        """
        with self.started(visitor, part) as job:
            yield shown.begun or gr.skip()
            reason = ""
            try:
                result = yield from changes(job.follow(work), shown.so_far)
                last = shown.done(result, job.progress.seconds)
            except Stopped:
                last = shown.ended(job.left_to)
            except Exception as error:
                reason = refusal(error)
                last = shown.failed(reason)
            yield last or gr.skip()
        if reason:
            raise already_told(reason)


def changes(
    followed: Generator[Progress, None, Result], so_far: Callable[[Progress], Item]
) -> Generator[Item, None, Result]:
    """Yield what each progress looks like, no change where it looks as before; return the result."""
    before = None
    while True:
        try:
            progress = next(followed)
        except StopIteration as end:
            return end.value
        now = so_far(progress)
        yield now if now and now != before else gr.skip()
        before = now


def refusing(refused: Callable[[str], Outputs], ask: Callable[[], Item]) -> Generator[Outputs, None, Item]:
    """Return what `ask` returns; if it refuses, yield what is shown of the reason, and end the callback."""
    try:
        return ask()
    except Exception as error:
        reason = refusal(error)
        yield refused(reason)
        raise already_told(reason) from None
