"""The share panel: take the answer at hand away as a file.

Goes in: a format and what the page shows. Comes out: a file to download, made in the background, which can be
stopped. What is in the files is said in `report/`.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

from page.around import Around
from page.explorer import Explorer
from page.files import new_folder
from page.in_browser import LOOK, PICKED, WANTED
from page.inputs import RefusedError
from page.jobs import Job, Progress, Shown, refusing
from page.parts import AT_ONCE, LONG, Outputs, line
from page.queue import Queue
from page.selection import Controls
from page.shown import subject_of
from report.formats import FORMATS, Exported, export, shows_one_map
from report.parts import Given
from report.view import Subject
from utils import Watch

STOPPED = "Stopped: no file was made."
AT_A_TIME = 2  # files that are made
NO_ANSWER = "There is no answer to share yet: ask something first."
# What the viewer shows now: an event's own data may be from before.
SHOWN = f"(run, kind, by) => [run, kind, by, ({PICKED})(), ({LOOK})(), ({WANTED})()]"
# The button comes a while after it is told of, on a busy computer later still.
SAVED = """() => {
  const save = (tries) => {
    const button = document.querySelector('#share_file');
    if (button) button.click();
    else if (tries > 0) setTimeout(save, 100, tries - 1);
  };
  setTimeout(save, 100, 100);
}"""


class Share:
    """The panel's components, and their callbacks once it is wired."""

    around: Around

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
        self.queue = Queue(AT_A_TIME)

    def wire(self, around: Around, explorer: Explorer) -> None:
        """Connect the components with each other and with the page around them."""
        self.around = around
        asked = [around.run_id, self.kind, self.by, explorer.key, explorer.look, explorer.wanted]
        made = self.make.click(self.on_make, asked, self.outputs, js=SHOWN, **LONG)
        made.success(None, None, None, js=SAVED, queue=False, api_visibility="private")
        self.on_stop = around.jobs.stopper("file")
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
        self, request: gr.Request, run_id: Any, kind: Any, by: Any, key: Any, look: Any, wanted: Any
    ) -> Iterator[Outputs]:
        """Make a file, telling how far it is."""

        def asked() -> tuple[str, Subject, Given]:
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            if not isinstance(kind, str) or kind not in FORMATS:
                raise RefusedError(f"The file must be one of {', '.join(FORMATS)}.")
            word = key if shows_one_map(kind, run.capture) else "all"
            selection = Controls.of(wanted).selection(run.capture, word, by, look)
            return visitor, subject_of(run, selection), run.originals

        visitor, subject, pictures = yield from refusing(lambda reason: {self.line: reason}, asked)

        def make(job: Job) -> Exported:
            with self.queue.turn(job.waits, job.stop, job.person):
                return made(kind, subject, pictures, job)

        yield from self.around.jobs.run(visitor, "file", make, self._shown_of(kind, visitor))

    def _shown_of(self, kind: str, visitor: str) -> Shown[Exported]:
        """Return what is shown of a file that is being made."""

        def so_far(progress: Progress) -> Outputs:
            return {self.line: f"{progress.done} of {progress.count} …"} if progress.count else {}

        def done(file: Exported, seconds: float) -> Outputs:
            notes = "".join(f" · {note}" for note in file.notes)
            text = f"{FORMATS[kind].name}, {sized(file.path.stat().st_size)}, {seconds:.1f} s{notes}"
            path = self.around.files.placed(visitor, file.path)
            button = gr.DownloadButton(f"Download {file.path.name}", value=path, visible=True)
            return {**self.blank(), self.line: text, self.file: button}

        return Shown(
            begun={
                **self.blank(),
                self.make: gr.Button(interactive=False),
                self.line: "Drawing …",
                self.stop: gr.Button(visible=True, interactive=True),
            },
            so_far=so_far,
            done=done,
            stopped=lambda: {**self.blank(), self.line: STOPPED},
            failed=lambda reason: {**self.blank(), self.line: reason},
        )


def made(kind: str, subject: Subject, pictures: Given, job: Job) -> Exported:
    """Return a file of an answer, in a folder of its own that nobody can guess."""
    folder = new_folder()
    try:
        return export(kind, subject, pictures, folder, Watch(job.steps, job.stop))
    except BaseException:
        folder.rmdir()
        raise


def sized(size: int) -> str:
    """Return a number of bytes for people."""
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{max(1, round(size / 1e3))} kB"
