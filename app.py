"""The page: `python app.py`, then http://127.0.0.1:7860. Blocks, callbacks, queue and error texts.

Goes in: what a person chooses, types and clicks. Comes out: the answer as words to click, and the picture
under the map of the word that was picked. Everything that is not Gradio's stands in `page/`.
"""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # before Gradio is imported: else a thread calls home

import argparse
import errno
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import count
from typing import Any

from model import DEMO, ModelError

import gradio as gr
from PIL.Image import Image

import config
import visualization
from attention_extractor import Capture
from page.gradcam_tab import Around
from page.guard import middleware
from page.inputs import RefusedError, asked, between, generation_settings, opened, refusal
from page.layout import Layout, last_of, theme
from page.parts import (
    AT_ONCE,
    HIDDEN,
    LATEST,
    MODEL_WORK,
    Outputs,
    following,
    text_of,
    toast,
    told,
    visitor_of,
)
from page.reading import (
    Choice,
    Pick,
    attention_map,
    caption,
    choices,
    clickable,
    drawn,
    first_pick,
    label,
    pick_of,
)
from page.runs import ModelRoom, Run, Visitors, default_model, streamed
from utils import one_line

# What was clicked is read from the page: an event that had to wait carries what was clicked before it.
CLICKED = "(run, token, ...look) => [run, document.querySelector('.reading').dataset.pick, ...look]"


# --- The page -----------------------------------------------------------------------------------------------


class Page(Layout):
    """The page with its callbacks, over one model and the visitors' answers."""

    def __init__(self, room: ModelRoom, chosen: str, problem: str = "") -> None:
        """Build the page. `chosen` is the model's name in the list, `problem` why it is not loaded."""
        self.room, self.chosen, self.problem_at_start = room, chosen, problem
        self.visitors = Visitors()
        loaded = room.loaded
        super().__init__(chosen, self.status_text(), *((loaded.layers, loaded.heads) if loaded else (1, 1)))
        with self.blocks:
            self._wire()
            self._wire_api()
        self.blocks.queue(max_size=config.QUEUE_SIZE)

    # Which callback hears what

    def _wire(self) -> None:
        chosen = [self.run_id, self.token, *self.ranges, *self.looks]
        pictures = [self.overlay, self.caption]
        blank = [
            self.reading,
            self.run_id,
            self.token,
            *pictures,
            self.problem,
            self.stop,
            *self.gradcam.outputs,
        ]
        answer = [*blank, self.status, self.counts, *self.ranges]
        question = [self.image, self.prompt, *self.settings]

        self.blocks.load(self.on_open, None, [self.model, self.status, self.counts, *self.ranges], **AT_ONCE)
        self.blocks.unload(self.on_leave)
        self.load.click(self.on_load, [self.model], answer, **MODEL_WORK, **HIDDEN)
        self.stop.click(self.on_stop, None, None, **AT_ONCE)
        started = gr.on(
            [self.generate.click, self.prompt.submit],
            self.on_start,
            question,
            blank,
            concurrency_limit=None,
            **HIDDEN,
        )
        written = started.success(self.on_generate, [*question, self.counts], answer, **MODEL_WORK, **HIDDEN)
        written.success(self.on_draw, chosen, pictures, **AT_ONCE)
        written.failure(self.on_failure, [self.reading], blank, **AT_ONCE)
        self.reading.click(self.on_word, chosen, [self.token, *pictures], js=CLICKED, **LATEST)
        self.token.input(self.on_token, chosen, [self.reading, *pictures], **LATEST)
        for control in (*self.ranges, *self.looks):
            control.input(self.on_draw, chosen, pictures, **LATEST)
        self.gradcam.wire(
            Around(self.room, self.visitors, self.run_id, self.token, self.seed, self.looks[1:])
        )

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
            **MODEL_WORK,
        )
        click(
            self.heatmap_for_api,
            asked_for,
            [self.api_picture, self.api_facts],
            api_name="heatmap",
            preprocess=False,
            concurrency_limit=4,
        )
        self.gradcam.wire_api(self.api_button, self.api_picture, self.api_facts)

    # Callbacks: guard, call, format

    def status_text(self) -> str:
        """Return what is loaded, or why nothing is."""
        loaded = self.room.loaded
        if loaded is None:
            return self.problem_at_start or f"{self.chosen} is not loaded yet: press Load."
        return f"{loaded.name} is ready: {loaded.layers} layers × {loaded.heads} heads, {loaded.place}"

    def spanning(self, layers: int, heads: int) -> Outputs:
        """Return sliders that span all layers and heads."""
        return {
            self.counts: (layers, heads),
            self.layer_from: gr.Slider(maximum=last_of(layers), value=0),
            self.layer_to: gr.Slider(maximum=last_of(layers), value=last_of(layers)),
            self.head_from: gr.Slider(maximum=last_of(heads), value=0),
            self.head_to: gr.Slider(maximum=last_of(heads), value=last_of(heads)),
        }

    def blank(self, state: str) -> Outputs:
        """Return a page without an answer."""
        return {
            self.reading: gr.HTML({"state": state}, picked=None),
            self.run_id: None,
            self.token: gr.Dropdown(choices=[], value=None),
            self.overlay: None,
            self.caption: "",
            self.problem: "",
            self.stop: gr.Button(interactive=state == "waiting"),
            **self.gradcam.blank(),
        }

    def answered(self, run: Run, seconds: float) -> Outputs:
        """Return the answer's words to click, the list of tokens, and the word that is shown first."""
        capture, pick = run.capture, first_pick(run)
        notes = [run.note] if run.note else []
        if pick is not None:
            notes.append("shown first: the word with the largest share of its attention on the picture")
        reading = {
            "state": "stopped" if capture.stopped else "done",
            "count": len(capture.token_ids),
            "seconds": seconds,
            "note": " · ".join(notes) if capture.token_ids else "the model gave an empty answer",
            **clickable(run),
        }
        return {
            self.reading: gr.HTML(reading, picked=marked(pick)),
            self.token: gr.Dropdown(choices=choices(run), value=pick.key if pick else None),
            self.stop: gr.Button(interactive=False),
            self.status: self.status_text(),
        }

    def on_open(self) -> Outputs:
        """Show the model that is in memory now: another visitor may have changed it."""
        loaded = self.room.loaded
        outputs: Outputs = {
            self.status: self.status_text(),
            self.model: loaded.name if loaded else self.chosen,
        }
        return outputs | (self.spanning(loaded.layers, loaded.heads) if loaded else {})

    def on_leave(self, request: gr.Request) -> None:
        """Free everything of a visitor who closed or reloaded the page."""
        if request.session_hash:
            self.visitors.leave(request.session_hash)

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
                **self.spanning(loaded.layers, loaded.heads),
                **self.blank("empty"),
            }
        except Exception as error:
            reason, kept = refusal(error), self.room.loaded
            yield {
                self.status: f"{reason} {f'{kept.name} is still in use.' if kept else 'No model is loaded.'}"
            }
            raise toast(reason) from None

    def on_start(self, request: gr.Request, image: Any, prompt: Any, *settings: Any) -> Iterator[Outputs]:
        """Refuse at once what cannot be answered, before any waiting for the model."""
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

    def on_generate(self, request: gr.Request, image: Any, prompt: Any, *rest: Any) -> Iterator[Outputs]:
        """Write the answer token by token, then show its words and pick one."""
        *settings, counts = rest
        start = time.monotonic()
        visitor = visitor_of(request)
        stop = self.visitors.begun(visitor)
        progress = {"state": "reading", "text": "", "count": 0, "limit": settings[0]}

        def so_far(written: tuple[str, int] | None) -> Outputs:
            if written is not None:
                progress.update(state="writing", text=written[0], count=written[1])
            return {self.reading: progress | {"seconds": time.monotonic() - start}}

        try:
            capture, picture = yield from following(self.writing(image, prompt, settings, stop), so_far)
            if not self.visitors.waits(visitor, stop):
                return  # the page was closed, or asked something else
            if capture is None:
                yield {**self.blank("empty"), self.problem: "Stopped before the answer began."}
                return
            run = Run(capture, picture)
            counted = (run.capture.layer_count, run.capture.attention.shape[2])
            sliders = {} if tuple(counts or ()) == counted else self.spanning(*counted)
            kept = {self.run_id: self.visitors.keep(visitor, run)}
            yield self.answered(run, time.monotonic() - start) | sliders | kept
        except Exception as error:
            reason = refusal(error)
            yield {**self.blank("empty"), self.problem: reason}
            raise toast(reason) from None
        finally:
            self.visitors.end(visitor, stop)

    def writing(
        self, image: Any, prompt: Any, settings: Sequence[Any], stop: threading.Event
    ) -> Generator[tuple[str, int] | None, None, tuple[Capture | None, Image]]:
        """Yield (answer so far, number of tokens); return the capture and the picture it is about."""

        def work(put: Callable[[tuple[str, int]], None]) -> tuple[Capture | None, Image]:
            picture, chosen = opened(image), generation_settings(*settings)
            capture = self.room.answer(
                picture, asked(prompt), chosen, lambda text, tokens: put((text, tokens)), stop
            )
            return capture, picture

        return streamed(work)

    def on_failure(self, reading: Any) -> Outputs:
        """Give the page back after an answer that never began: the queue was full."""
        if isinstance(reading, dict) and reading.get("state") == "waiting":
            return {
                **self.blank("empty"),
                self.problem: "Too many people wait for the model. Try again in a minute.",
            }
        return {self.stop: gr.Button(interactive=False)}

    def on_stop(self, request: gr.Request) -> None:
        """End the visitor's answer after the token at hand."""
        with told():
            self.visitors.stop(visitor_of(request))

    def on_word(self, request: gr.Request, run_id: Any, pick: Any, *look: Any) -> Outputs:
        """Show the word that was clicked."""
        with told():
            return self.picture(request, run_id, pick, *look) | {self.token: pick}

    def on_token(self, request: gr.Request, run_id: Any, token: Any, *look: Any) -> Outputs:
        """Show what was chosen in the list, and mark its word."""
        with told():
            outputs = self.picture(request, run_id, token, *look)
            if outputs:
                pick = pick_of(token, self.visitors.run(visitor_of(request), run_id))
                outputs[self.reading] = gr.HTML(picked=marked(pick))
            return outputs or gr.skip()

    def on_draw(self, request: gr.Request, run_id: Any, token: Any, *look: Any) -> Outputs:
        """Show the same word under other settings."""
        with told():
            return self.picture(request, run_id, token, *look) or gr.skip()

    def picture(self, request: gr.Request, run_id: Any, key: Any, *look: Any) -> Outputs:
        """Return the picture of a pick and the line beneath it; nothing where there is no pick."""
        if not isinstance(run_id, str) or not isinstance(key, str):
            return {}
        run = self.visitors.run(visitor_of(request), run_id)
        layer_from, layer_to, head_from, head_to, aggregation, *drawing = look
        layers = between(layer_from, layer_to, run.capture.layer_count, "layer")
        heads = between(head_from, head_to, run.capture.attention.shape[2], "head")
        choice = Choice.of(run, key, layers, heads, aggregation)
        alt = f"The picture under the attention map of {label(choice.pick, run)}"
        return {
            self.overlay: gr.Image(drawn(run, choice, *drawing), alt_text=alt),
            self.caption: caption(run, choice),
        }

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
                capture, picture = yield from following(
                    self.writing(image, prompt, settings, stop),
                    lambda written: (
                        {"text": written[0], "finished": False} if written else gr.skip(),
                        gr.skip(),
                    ),
                )
                if capture is None:
                    raise RefusedError("Stopped before the answer began.")
                run = Run(capture, picture)
                yield described(run), self.visitors.keep(visitor, run)
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


_turns = count()


def marked(pick: Pick | None) -> dict[str, Any] | None:
    """Return a pick to mark; the turn makes it new even where the same word was marked before."""
    if pick is None:
        return None
    return {"tokens": pick.tokens, "of_prompt": pick.of_prompt, "turn": next(_turns)}


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
            css=text_of("page.css"),
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
        visualization.palette(config.HEATMAP_COLORMAP)
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
