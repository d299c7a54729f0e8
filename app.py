"""The page: `python app.py`, then http://127.0.0.1:7860. Blocks, callbacks, queue and error texts.

Goes in: what a person chooses, types and clicks. Comes out: the answer, and the viewer with the maps of its
words. Everything that is not Gradio's stands in `page/`.
"""

import os

from drawing.colours import palette

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported: else a thread calls home

import argparse
import errno
import logging
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import gradio as gr
from PIL.Image import Image

import config
import viewer
from model import DEMO, ModelError
from model import answer_key as store_key
from page.gradcam_tab import Around
from page.guard import middleware
from page.inputs import RefusedError, asked, check_ranges, generation_settings, opened, refusal
from page.layout import Layout, theme
from page.parts import AT_ONCE, HIDDEN, LATEST, Outputs, following, text_of, toast, told, visitor_of
from page.reading import Choice, attention_map, caption, drawn
from page.runs import Loaded, ModelRoom, Run, Visitors, default_model, streamed
from records.pictures import image_hash
from records.store import Store
from utils import Stopped, one_line

log = logging.getLogger(__name__)


# --- The page -----------------------------------------------------------------------------------------------


class Page(Layout):
    """The page with its callbacks, over one model and the visitors' answers."""

    def __init__(self, room: ModelRoom, chosen: str, problem: str = "", store: Store | None = None) -> None:
        """Build the page. `chosen` is the model's name in the list, `problem` why it is not loaded."""
        self.room, self.chosen, self.problem_at_start = room, chosen, problem
        self.visitors, self.store = Visitors(), store or Store()
        counts = (room.loaded.layers, room.loaded.heads) if room.loaded else (1, 1)
        super().__init__(chosen, self.status_text(), *counts, self.store)
        with self.blocks:
            self._wire()
            self._wire_api()
        self.blocks.queue(max_size=config.QUEUE_SIZE)

    # Which callback hears what

    def _wire(self) -> None:
        explorer, recent = self.explorer, self.recent
        blank = [
            self.reading,
            self.run_id,
            explorer.token,
            explorer.viewer,
            *explorer.way,
            explorer.method_line,
            explorer.method_stop,
            *self.ranges.groups,
            self.problem,
            self.stop,
            *self.gradcam.outputs,
            *self.share.outputs,
            *self.check.outputs,
        ]
        answer = [*blank, self.status, self.counts, *self.ranges.all, recent.mine, recent.list]
        question = [self.image, self.prompt, *self.settings, self.reuse]
        kept = [recent.mine, self.counts, *self.ranges.all]

        opened = [self.model, self.status, self.counts, *self.ranges.all, recent.list]
        self.blocks.load(self.on_open, [recent.mine], opened, **AT_ONCE)
        self.blocks.unload(self.on_leave)
        self.load.click(self.on_load, [self.model], answer, concurrency_limit=None, **HIDDEN)
        self.stop.click(self.on_stop, None, None, **AT_ONCE)
        started = gr.on(
            [self.generate.click, self.prompt.submit],
            self.on_start,
            question,
            blank,
            concurrency_limit=None,
            **HIDDEN,
        )
        written = started.success(
            self.on_generate, [*question, *kept], answer, concurrency_limit=None, **HIDDEN
        )
        recent.list.click(
            self.on_reopen,
            [recent.wanted, *kept],
            [*answer, self.image, self.prompt],
            js="(id, ...rest) => [document.querySelector('.recent').dataset.wanted, ...rest]",
            **LATEST,
        )
        explorer.wire(self.room, self.visitors, self.run_id, self.ranges)
        written.success(**explorer.after)
        self.check.wire(self.room, self.visitors, self.run_id, explorer)
        self.share.wire(self.visitors, self.run_id, explorer)
        self.gradcam.wire(Around(self.room, self.visitors, self.run_id, explorer.token, self.seed, explorer))

    def _wire_api(self) -> None:
        """Add /generate, /heatmap and /gradcam for `gradio_client`, about the session's own answer."""
        click = self.api_button.click
        asked_for = [self.api_token, self.api_layers, self.api_heads, *self.looks, self.run_id]
        click(
            self.generate_for_api,
            [self.image, self.prompt, *self.settings],
            [self.api_facts, self.run_id],
            api_name="generate",
            preprocess=False,
            concurrency_limit=None,
        )
        click(
            self.heatmap_for_api,
            asked_for,
            [self.api_picture, self.api_facts],
            api_name="heatmap",
            preprocess=False,
            concurrency_limit=4,
        )
        self.gradcam.wire_api(self.api_button, self.api_picture, self.api_facts, self.looks[1:])

    # Callbacks: guard, call, format

    def status_text(self) -> str:
        """Return what is loaded, or why nothing is."""
        loaded = self.room.loaded
        if loaded is None:
            return self.problem_at_start or f"{self.chosen} is not loaded yet: press Load."
        return f"{loaded.name} is ready: {loaded.layers} layers × {loaded.heads} heads, {loaded.place}"

    def blank(self, state: str) -> Outputs:
        """Return a page without an answer."""
        return {
            self.reading: {"state": state},
            self.run_id: None,
            self.problem: "",
            self.stop: gr.Button(interactive=state == "waiting"),
            **self.explorer.blank(),
            **self.gradcam.blank(),
            **self.share.blank(),
            **self.check.blank(),
        }

    def answered(
        self, visitor: str, run: Run, mine: Any, counts: Any, ranges: Sequence[Any], seconds: float
    ) -> Outputs:
        """Keep an answer for its visitor, and return what is shown of it."""
        capture, now = run.capture, (run.capture.layer_count, run.capture.attention.shape[2])
        notes = [run.note] if run.note else []
        if run.reused:
            notes.append(f"kept from before, by {capture.model_name}")
        if not capture.token_ids:
            notes.append("the model gave an empty answer")
        sliders: Outputs = {}
        if tuple(counts or ()) != now:  # of another model: all layers and heads
            ranges = [0, now[0] - 1, 0, now[1] - 1, ranges[-1]]
            sliders = {self.counts: now, **self.ranges.spanning(*now)}
        run_id = self.visitors.keep(visitor, run)
        return {
            self.reading: {
                "state": "stopped" if capture.stopped else "done",
                "count": len(capture.token_ids),
                "seconds": seconds,
                "note": " · ".join(notes),
            },
            self.run_id: run_id,
            self.stop: gr.Button(interactive=False),
            self.status: self.status_text(),
            **sliders,
            **self.explorer.shown(run_id, run, ranges),
            **self.recent.added(mine, run),
        }

    def on_open(self, mine: Any) -> Outputs:
        """Show the model that is in memory now, and what this browser asked before."""
        loaded = self.room.loaded
        outputs: Outputs = {
            self.status: self.status_text(),
            self.model: loaded.name if loaded else self.chosen,
            self.recent.list: self.recent.listed(mine),
        }
        if loaded:
            outputs |= {self.counts: (loaded.layers, loaded.heads)}
            outputs |= self.ranges.spanning(loaded.layers, loaded.heads)
        return outputs

    def on_leave(self, request: gr.Request) -> None:
        """Free everything of a visitor who closed or reloaded the page."""
        if request.session_hash:
            self.visitors.leave(request.session_hash)
            self.share.end(request.session_hash)

    def on_load(self, request: gr.Request, name: Any) -> Iterator[Outputs]:
        """Load a model, and start the page afresh with it."""
        start = time.monotonic()
        try:
            visitor, name = visitor_of(request), wanted(name)
            yield {self.status: f"Loading {name} …"}
            loaded = yield from following(
                streamed(lambda _: self.room.load(name)),
                lambda _: {self.status: f"Loading {name} … {time.monotonic() - start:.0f} s"},
            )
            self.visitors.forget_answer(visitor)
            yield {
                self.status: self.status_text(),
                self.counts: (loaded.layers, loaded.heads),
                **self.ranges.spanning(loaded.layers, loaded.heads),
                **self.blank("empty"),
            }
        except Exception as error:
            reason, kept = refusal(error), self.room.loaded
            yield {
                self.status: f"{reason} {f'{kept.name} is still in use.' if kept else 'No model is loaded.'}"
            }
            raise toast(reason) from None

    def on_start(self, request: gr.Request, image: Any, prompt: Any, *rest: Any) -> Iterator[Outputs]:
        """Refuse at once what cannot be answered, before any waiting for the model."""
        *settings, _ = rest
        try:
            if self.room.loaded is None:
                raise ModelError("No model is loaded: press Load first.")
            opened(image)
            asked(prompt)
            generation_settings(*settings)
            self.visitors.begin(visitor_of(request))
        except Exception as error:
            reason = refusal(error)
            yield {self.problem: reason}
            raise toast(reason) from None
        yield self.blank("waiting")

    def on_generate(
        self,
        request: gr.Request,
        image: Any,
        prompt: Any,
        max_new_tokens: Any,
        temperature: Any,
        top_p: Any,
        seed: Any,
        reuse: Any,
        mine: Any,
        counts: Any,
        *ranges: Any,
    ) -> Iterator[Outputs]:
        """Write the answer token by token, then show its maps and pick a word."""
        start = time.monotonic()
        visitor = visitor_of(request)
        stop = self.visitors.begun(visitor)
        progress = {"state": "waiting", "text": "", "count": 0, "limit": max_new_tokens}

        def so_far(changes: dict[str, Any] | None) -> Outputs:
            progress.update(changes or {})
            return {self.reading: progress | {"seconds": time.monotonic() - start}}

        try:
            check_ranges(*ranges)
            settings = [max_new_tokens, temperature, top_p, seed]
            run = yield from following(self.writing(image, prompt, settings, stop, reuse is True), so_far)
            if not self.visitors.waits(visitor, stop):
                return  # the page was closed, or asked something else
            yield self.answered(visitor, run, mine, counts, ranges, time.monotonic() - start)
        except Stopped:
            if self.visitors.waits(visitor, stop):
                yield {**self.blank("empty"), self.problem: "Stopped before the answer began."}
        except Exception as error:
            reason = refusal(error)
            yield {**self.blank("empty"), self.problem: reason}
            raise toast(reason) from None
        finally:
            self.visitors.end(visitor, stop)

    def writing(
        self, image: Any, prompt: Any, settings: Sequence[Any], stop: threading.Event, reuse: bool
    ) -> Generator[dict[str, Any] | None, None, Run]:
        """Yield how far the answer is, as the page shows it; return it with its picture."""

        def work(put: Callable[[dict[str, Any]], None]) -> Run:
            picture, question, chosen = opened(image), asked(prompt), generation_settings(*settings)
            loaded = self.room.loaded
            key = answer_key(loaded, picture, question, chosen)
            kept = self.store.find(key) if key and reuse else None
            if kept is not None:
                return Run(kept.capture, picture, kept=kept.id, reused=True)
            capture = self.room.answer(
                picture,
                question,
                chosen,
                lambda text, tokens: put({"state": "writing", "text": text, "count": tokens}),
                stop,
                lambda ahead: put({"state": "waiting", "ahead": ahead}),
                lambda: put({"state": "reading"}),
            )
            run = Run(capture, picture)
            if capture.token_ids:  # another model may have been loaded meanwhile
                self.keep(run, key if self.room.loaded is loaded else None)
            return run

        return streamed(work)

    def keep(self, run: Run, key: str | None) -> None:
        """Keep an answer in the store; one that cannot be kept is shown all the same."""
        try:
            run.kept = self.store.save(run.capture, run.original, key)
        except OSError as error:
            log.warning("the answer could not be kept in %s: %s", self.store.folder, one_line(error))

    def on_reopen(self, request: gr.Request, wanted: Any, mine: Any, counts: Any, *ranges: Any) -> Outputs:
        """Show an answer from before, without a model."""
        with told():
            start, visitor = time.monotonic(), visitor_of(request)
            run = self.recent.opened(mine, wanted)
            self.visitors.stop(visitor)
            shown = self.blank("empty") | self.answered(
                visitor, run, mine, counts, ranges, time.monotonic() - start
            )
            return {**shown, self.image: gr.Image(run.original), self.prompt: run.capture.prompt}

    def on_stop(self, request: gr.Request) -> None:
        """End the visitor's answer after the token at hand."""
        with told():
            self.visitors.stop(visitor_of(request))

    # Callbacks of the API

    def generate_for_api(
        self,
        request: gr.Request,
        image: Any,
        prompt: str,
        max_new_tokens: float,
        temperature: float,
        top_p: float,
        seed: float,
    ) -> Iterator[tuple[Any, Any]]:
        """Answer a question about a picture and keep the answer for /heatmap; the last result is complete."""
        with told(plain=True):
            visitor = visitor_of(request)
            stop = self.visitors.begin(visitor)
            settings = [max_new_tokens, temperature, top_p, seed]
            try:
                run = yield from following(
                    self.writing(image, prompt, settings, stop, reuse=False),
                    lambda changes: ({**changes, "finished": False} if changes else gr.skip(), gr.skip()),
                )
                yield described(run), self.visitors.keep(visitor, run)
            except Stopped:
                raise RefusedError("Stopped before the answer began.") from None
            finally:
                self.visitors.end(visitor, stop)

    def heatmap_for_api(
        self,
        request: gr.Request,
        token: str,
        layers: str,
        heads: str,
        aggregation: str,
        colormap: str,
        alpha: float,
        view: str,
        cells: str,
        scale: str,
        run_id: Any,
    ) -> tuple[Any, Any]:
        """Draw a token of the session's answer: the picture, and the map (h, w) with its line."""
        with told(plain=True):
            if not isinstance(run_id, str):
                raise RefusedError("Call /generate first, with the same client.")
            run = self.visitors.run(visitor_of(request), run_id)
            choice = Choice.of(run, str(token), str(layers), str(heads), aggregation)
            facts = {
                "caption": caption(run, choice),
                "tokens": list(choice.pick.tokens),
                "layers": list(choice.layers),
                "heads": list(choice.heads),
                "map": attention_map(run, choice).tolist(),
            }
            return drawn(run, choice, colormap, alpha, view, cells, scale), facts


# --- Small things -------------------------------------------------------------------------------------------


def wanted(name: Any) -> str:
    """Return the name of the model to load."""
    if not isinstance(name, str) or not name.strip():
        raise RefusedError("Choose a model first.")
    return name.strip()


def answer_key(loaded: Loaded | None, image: Image, prompt: str, settings: dict[str, Any]) -> str | None:
    """Return the id under which an answer is kept; None where the checkpoint cannot be told from another."""
    if loaded is None or loaded.checkpoint is None:
        return None
    return store_key(loaded.checkpoint, image_hash(image), prompt, **settings)


def described(run: Run) -> dict[str, Any]:
    """Return an answer as /generate gives it."""
    capture = run.capture
    return {
        "text": capture.text,
        "finished": True,
        "stopped": capture.stopped,
        "tokens": capture.tokens,
        "probabilities": capture.logprobs.exp().tolist(),
        "words": [{"text": word.text, "tokens": word.tokens} for word in run.processor.words()],
        "prompt_tokens": capture.prompt_tokens,
        "layers": capture.layers,
        "heads": capture.attention.shape[2],
        "grid": capture.grid,
        "model": capture.model_name,
    }


# --- Start --------------------------------------------------------------------------------------------------


def serve(page: Page, host: str, port: int) -> str:
    """Start to answer at host and port, and return the address.

    Raises:
        RefusedError: one line, if the port is taken or the host is none of this computer's.
    """
    try:
        _, url, _ = page.blocks.launch(
            server_name=host,
            server_port=port,
            share=False,
            inbrowser=False,
            prevent_thread_lock=True,
            quiet=True,
            show_error=False,
            max_file_size=config.MAX_UPLOAD.replace(" ", ""),
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            footer_links=["api"],
            app_kwargs={"middleware": middleware(host)},
            theme=theme(),
            css=text_of("page.css") + viewer.assets()["css"],
        )
    except OSError:
        raise RefusedError(f"Port {port} at {host} cannot be used: {port_problem(host, port)}") from None
    return url


def port_problem(host: str, port: int) -> str:
    """Return what keeps a server from listening there, or an empty text."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return "another program listens there. Close it, or choose another port with --port."
        return f"{error.strerror}."
    return ""


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Return the command line's choices."""
    parser = argparse.ArgumentParser(
        prog="python app.py", description="Open a page that shows where each word looks."
    )
    parser.add_argument("--model", help="demo, a folder, or a hub id: loaded at the start")
    parser.add_argument("--host", default=config.HOST, help="default: %(default)s, this computer only")
    parser.add_argument("--port", type=int, default=config.PORT, help="default: %(default)s")
    return parser.parse_args(argv)


def prepared(name: str | None) -> Page:
    """Return the page with its model: the one asked for, or the default where that needs no waiting.

    Raises:
        ModelError: one line, if a model that was asked for cannot be loaded.
    """
    room, chosen, problem = ModelRoom(), name or default_model(), ""
    if name or chosen == DEMO:
        print(f"Loading {chosen} …", flush=True)
        try:
            room.load(chosen)
        except ModelError as error:
            if name:
                raise
            problem = one_line(error)
            print(problem, file=sys.stderr)
    return Page(room, chosen, problem)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the page and return an exit code: 2 for something to correct."""
    args = arguments(argv)
    try:
        config.validate()
        palette(config.HEATMAP_COLORMAP)
        if problem := port_problem(args.host, args.port):
            raise RefusedError(f"Port {args.port} at {args.host} cannot be used: {problem}")
        page = prepared(args.model)
        print(f"Open {serve(page, args.host, args.port)}  (Ctrl-C ends it)", flush=True)
    except (ModelError, ValueError) as error:
        print(one_line(error), file=sys.stderr)
        return 2
    page.blocks.block_thread()
    return 0


if __name__ == "__main__":
    sys.exit(main())
