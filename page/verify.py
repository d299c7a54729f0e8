"""Verify: what is promised of the checkpoint in memory, tried on this computer.

Goes in: a click. Comes out: a line for each promise as soon as it is tried. What is found is kept, and stands
in the reports of later answers. Knows nothing of answers.
"""

import logging
from collections.abc import Iterator
from typing import Any

import gradio as gr

from evaluation.selftest import environment, self_test
from model import ModelError, verification_key
from page.around import Around
from page.jobs import Job, Progress, Shown, refusing
from page.model_room import Loaded
from page.parts import AGAIN, AT_ONCE, Outputs, heading, line, visitor_of
from records.verification import Finding, Verification, keep_verification
from utils import Watch, one_line

log = logging.getLogger(__name__)
WHY = (
    "Each promise is tried against an independent way, on a small picture and a short answer. "
    "It takes as long as some answers."
)


class Verify:
    """The part of the help that tries what is promised."""

    around: Around

    def __init__(self) -> None:
        """Add it to the blocks that are being built."""
        heading("Is it right for this model, here?")
        with gr.Row():
            self.button = gr.Button("Verify", elem_id="verify", size="sm")
            self.stop = gr.Button("Stop", elem_id="verify_stop", size="sm", visible=False)
        self.found = line(WHY, "verified")

    @property
    def outputs(self) -> list[Any]:
        """What a verification changes."""
        return [self.button, self.stop, self.found]

    def wire(self, around: Around) -> None:
        """Connect it with the page around it."""
        self.around = around
        self.button.click(self.on_verify, None, self.outputs, **AGAIN)
        self.stop.click(around.jobs.stopper("check"), None, None, **AT_ONCE)

    def on_verify(self, request: gr.Request) -> Iterator[Outputs]:
        """Try every promise with the model in memory, and tell each as it is tried."""
        lines: list[str] = []

        def checked() -> str:
            if self.around.room.loaded is None:
                raise ModelError("No model is loaded: press Load first.")
            return visitor_of(request)

        visitor = yield from refusing(self.ended, checked)

        def verify(job: Job) -> Verification:
            def read(loaded: Loaded) -> Verification:
                lines.extend(f"{name}: {text}" for name, text in environment().items())
                watch = Watch(job.steps, job.stop)
                found = self_test(loaded.model, loaded.processor, watch, lambda one: lines.append(told(one)))
                keep(loaded, found)
                return found

            return self.around.room.work(read, job)

        def so_far(progress: Progress) -> Outputs:
            where = f"waiting, {progress.ahead} ahead" if progress.ahead else f"{progress.seconds:.0f} s"
            return {
                self.found: "\n".join([*lines, f"trying {progress.done + 1} of {progress.count} … ({where})"])
            }

        shown: Shown[Verification] = Shown(
            begun={
                self.button: gr.Button(interactive=False),
                self.stop: gr.Button(visible=True),
                self.found: "Trying …",
            },
            so_far=so_far,
            done=lambda found, _: self.ended("\n".join([*lines, verdict(found)])),
            stopped=lambda: self.ended("\n".join([*lines, "Stopped: not all was tried."])),
            failed=self.ended,
            left=lambda _: self.ended("\n".join([*lines, "Stopped: something else was asked for."])),
        )
        yield from self.around.jobs.run(visitor, "check", verify, shown)

    def ended(self, text: str) -> Outputs:
        """Return Verify as it is at rest, with what is to be said."""
        return {
            self.button: gr.Button(interactive=True),
            self.stop: gr.Button(visible=False),
            self.found: text,
        }


def told(finding: Finding) -> str:
    """Return a finding as the page says it."""
    mark = "✓" if finding.passed else "✗"
    return f"{mark} {finding.line[6:]}"


def verdict(found: Verification) -> str:
    """Return what all of it comes to."""
    if found.passed:
        return f"All {len(found.findings)} hold. Later answers carry this in their reports."
    failed = sum(not one.passed for one in found.findings)
    return f"{failed} of {len(found.findings)} failed. Later answers carry this in their reports."


def keep(loaded: Loaded, found: Verification) -> None:
    """Keep what was found, where the checkpoint can be told from others and the disk takes it."""
    key = verification_key(loaded.checkpoint)
    if key is None:
        return
    try:
        keep_verification(key, found)
    except OSError as error:
        log.warning("what was found could not be kept: %s", one_line(error))
