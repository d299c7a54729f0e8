"""The share panel: take the answer at hand away as a file.

Goes in: a format and what the page shows. Comes out: a file to download, made in the background, which can be
stopped. What is in the files is said in `report/`.
"""

import secrets
import threading
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.utils import get_upload_folder

from page.explorer import LOOK, Explorer
from page.inputs import RefusedError, refusal
from page.parts import AT_ONCE, HIDDEN, Outputs, following, line, toast, told, visitor_of
from page.reading import selection_of, subject_of
from page.runs import Run, Visitors, streamed
from report.formats import FORMATS, Exported, export
from report.view import Subject
from utils import Stopped, Watch

STOPPED = "Stopped: no file was made."
# What the viewer shows now: an event's own data may be from before.
SHOWN = f"(run, kind, by, token, look, ...ranges) => [run, kind, by, token, ({LOOK})(), ...ranges]"
SAVED = "() => { setTimeout(() => document.querySelector('#share_file')?.click(), 100); }"


class Share:
    """The panel's components, and their callbacks once it is wired."""

    visitors: Visitors

    def __init__(self) -> None:
        """Add the panel to the blocks that are being built."""
        self.kind = gr.Dropdown(
            [(f"{one.name} ({kind.upper()})", kind) for kind, one in FORMATS.items()],
            value="png",
            label="File",
            elem_id="share_kind",
        )
        self.by = gr.Radio(
            [("word", "word"), ("token", "token")],
            value="word",
            label="Of several maps, one for each",
            elem_id="share_by",
        )
        with gr.Row(elem_id="share_go"):
            self.make = gr.Button("Make the file", elem_id="share_make")
            self.stop = gr.Button("Stop", elem_id="share_stop", interactive=False, visible=False)
        self.line = line("", "share_line")
        self.file = gr.DownloadButton("Download", visible=False, elem_id="share_file", variant="primary")
        self.outputs = [self.line, self.file, self.stop, self.make]
        self._stops: dict[str, threading.Event] = {}

    def wire(self, visitors: Visitors, run_id: Any, explorer: Explorer) -> None:
        """Connect the components with each other and with the page around them."""
        self.visitors = visitors
        asked = [
            run_id,
            self.kind,
            self.by,
            explorer.token,
            explorer.look,
            *explorer.ranges.all,
            *explorer.explained_by,
        ]
        made = self.make.click(
            self.on_make,
            asked,
            self.outputs,
            js=SHOWN,
            concurrency_id="files",
            concurrency_limit=2,
            **HIDDEN,
        )
        made.success(None, None, None, js=SAVED, queue=False, api_visibility="private")
        self.stop.click(self.on_stop, None, None, **AT_ONCE)

    def blank(self) -> Outputs:
        """Return the panel without a file."""
        return {
            self.line: "",
            self.file: gr.DownloadButton(visible=False, value=None),
            self.stop: gr.Button(visible=False),
            self.make: gr.Button(interactive=True),
        }

    def on_make(
        self, request: gr.Request, run_id: Any, kind: Any, by: Any, key: Any, look: Any, *rest: Any
    ) -> Iterator[Outputs]:
        """Make a file, telling how far it is."""
        start = time.monotonic()
        try:
            visitor = visitor_of(request)
            if not isinstance(run_id, str):
                raise RefusedError("There is no answer to share yet: press Generate first.")
            if kind not in FORMATS:
                raise RefusedError(f"The file must be one of {', '.join(FORMATS)}.")
            run = self.visitors.run(visitor, run_id)
            asked = key if kind == "png" else "all"
            selection = selection_of(run, rest[:-2], asked, by, look, *rest[-2:])
            subject = subject_of(run, selection)
        except Exception as error:
            reason = refusal(error)
            yield {self.line: reason}
            raise toast(reason) from None
        stop = self._stops[visitor] = threading.Event()
        busy = {**self.blank(), self.make: gr.Button(interactive=False)}
        yield {**busy, self.line: "Drawing …", self.stop: gr.Button(visible=True, interactive=True)}
        try:
            made = yield from following(self.making(run, kind, subject, stop), self.so_far)
            notes = "".join(f" · {note}" for note in made.notes)
            size, seconds = made.path.stat().st_size, time.monotonic() - start
            yield {
                **self.blank(),
                self.line: f"{FORMATS[kind].name}, {sized(size)}, {seconds:.1f} s{notes}",
                self.file: gr.DownloadButton(
                    f"Download {made.path.name}", value=str(made.path), visible=True
                ),
            }
        except Stopped:
            yield {**self.blank(), self.line: STOPPED}
        except Exception as error:
            reason = refusal(error)
            yield {**self.blank(), self.line: reason}
            raise toast(reason) from None
        finally:
            stop.set()
            if self._stops.get(visitor) is stop:
                del self._stops[visitor]

    def so_far(self, done: tuple[int, int] | None) -> Outputs:
        """Return how far the file is."""
        return {self.line: f"{done[0]} of {done[1]} …"} if done else gr.skip()

    def making(
        self, run: Run, kind: str, subject: Subject, stop: threading.Event
    ) -> Generator[tuple[int, int] | None, None, Exported]:
        """Yield (done, in all); return the file, in a folder of its own that nobody can guess."""

        def work(put: Callable[[tuple[int, int]], None]) -> Exported:
            folder = Path(get_upload_folder()) / secrets.token_hex(20)
            folder.mkdir(parents=True)
            watch = Watch(lambda done, count: put((done, count)), stop)
            return export(kind, subject, run.original, folder, watch)

        return streamed(work)

    def on_stop(self, request: gr.Request) -> None:
        """End the file that is being made."""
        with told():
            self.end(visitor_of(request))

    def end(self, visitor: str) -> None:
        """Stop what is being made for a visitor."""
        stop = self._stops.get(visitor)
        if stop is not None:
            stop.set()


def sized(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
