"""The explorer: the viewer of an answer's maps, in step with the list of words and the map settings.

Goes in: a `Run`, layers and heads. Comes out: the viewer's data. What is pointed at and picked is drawn in
the browser; the server is asked only for maps of other layers and heads. The viewer itself is `viewer/`.
"""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

import config
import viewer
from evaluation.measured import CENTRE, best, figure_text, measured
from methods import METHODS, Method, TokenMaps
from page.inputs import refusal
from page.parts import AT_ONCE, HIDDEN, LATEST, Outputs, following, line, toast, told, visitor_of
from page.parts import text_of as file_of
from page.reading import (
    ATTENTION,
    SCALE_LABELS,
    alone_of,
    choices,
    explored,
    first_pick,
    method_asked,
    pick_of,
)
from page.runs import ModelRoom, Run, Visitors, streamed
from utils import Stopped

ROOT = "document.querySelector('#viewer .lens-viewer')"
STATE = f"{ROOT}?.viewer?.state()"
PICKED = f"() => {STATE}?.pick?.key ?? null"
LOOK = f"() => {STATE}?.look ?? null"
PICK = f"(key) => {{ {ROOT}?.viewer?.pick(key ?? 'all'); }}"
WANTED = f"(run) => [run, {STATE}?.pick?.key ?? null]"
ALONE = f"(run, alone, how) => [run, JSON.parse({ROOT}.dataset.alone), how]"


@dataclass(frozen=True)
class Ranges:
    """The controls that say which layers and heads are folded into a map, and how."""

    layer_from: Any
    layer_to: Any
    head_from: Any
    head_to: Any
    aggregation: Any
    groups: tuple[Any, ...]  # what is there only where layers and heads count

    @property
    def all(self) -> list[Any]:
        """The components, in the order in which callbacks take their values."""
        return [self.layer_from, self.layer_to, self.head_from, self.head_to, self.aggregation]

    @classmethod
    def made(cls, layers: int, heads: int) -> "Ranges":
        """Add them to the blocks that are being built."""
        last_layer, last_head = last_of(layers), last_of(heads)
        with gr.Column(elem_classes="attention_only") as column:
            with gr.Group():
                layer_from = gr.Slider(0, last_layer, 0, step=1, label="Layers from", elem_id="layer_from")
                layer_to = gr.Slider(0, last_layer, last_layer, step=1, label="to layer", elem_id="layer_to")
            with gr.Group():
                head_from = gr.Slider(0, last_head, 0, step=1, label="Heads from", elem_id="head_from")
                head_to = gr.Slider(0, last_head, last_head, step=1, label="to head", elem_id="head_to")
            aggregation = gr.Radio(
                list(SCALE_LABELS),
                value=config.AGGREGATION,
                label="Layers and heads are folded by",
                elem_id="aggregation",
            )
        return cls(layer_from, layer_to, head_from, head_to, aggregation, (column,))

    def spanning(self, layers: int, heads: int) -> Outputs:
        """Return sliders that span all layers and heads."""
        return {
            self.layer_from: gr.Slider(maximum=last_of(layers), value=0),
            self.layer_to: gr.Slider(maximum=last_of(layers), value=last_of(layers)),
            self.head_from: gr.Slider(maximum=last_of(heads), value=0),
            self.head_to: gr.Slider(maximum=last_of(heads), value=last_of(heads)),
        }


class Explorer:
    """The list of words and the viewer; and once it is wired, what happens when something is chosen."""

    room: ModelRoom
    visitors: Visitors
    ranges: Ranges

    def __init__(self) -> None:
        """Add what is not seen to the blocks that are being built."""
        self._readings: dict[str, threading.Event] = {}  # of each visitor: what stops it
        self.alone = gr.JSON(visible=False)  # [layer, head] to be shown alone; null is all of them
        self.look = gr.JSON(
            visible=False
        )  # how the viewer draws: opacity, contrast, colormap, view, cells, scale

    def add_list(self) -> None:
        """Add the list of words and tokens to the blocks that are being built."""
        self.token = gr.Dropdown(
            [],
            value=None,
            allow_custom_value=True,
            label="Word or token: choose, or type 3-5",
            elem_id="token",
        )
        self.method = gr.Dropdown(
            [(method.label, name) for name, method in METHODS.items()],
            value=ATTENTION,
            label="Method",
            elem_id="method",
        )
        self.method_line = line(told_of(METHODS[ATTENTION]), "method_line")
        self.method_stop = gr.Button("Stop", visible=False, elem_id="method_stop")
        self.no_sinks = gr.Checkbox(
            False,
            label="Leave out sinks",
            info="patches that nearly every word looks at; crossed out",
            elem_id="no_sinks",
            elem_classes="attention_only",
        )
        self.explained_by = [self.method, self.no_sinks]

    def add_viewer(self) -> None:
        """Add the viewer to the blocks that are being built."""
        assets = viewer.assets()
        self.viewer = gr.HTML(
            None,
            html_template=assets["html"],
            js_on_load=f"{assets['js']}\n{file_of('explorer.js')}",
            apply_default_css=False,
            picture=None,
            heads=None,
            elem_id="viewer",
        )

    def wire(self, room: ModelRoom, visitors: Visitors, run_id: Any, ranges: Ranges) -> None:
        """Connect the components with each other and with the page around them."""
        self.room, self.visitors, self.ranges = room, visitors, ranges
        chosen = [*ranges.all, *self.explained_by]
        in_browser: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        self.viewer.click(None, None, [self.token], js=PICKED, **in_browser)
        self.token.input(None, [self.token], None, js=PICK, **in_browser)
        self.viewer.select(None, None, [self.look], js=LOOK, **in_browser)
        self.viewer.input(self.on_heads, [run_id, self.token], [self.viewer], js=WANTED, **LATEST)
        self.viewer.submit(
            self.on_alone,
            [run_id, self.alone, ranges.aggregation],
            [
                self.viewer,
                *ranges.all,
                *self.explained_by,
                *ranges.groups,
                self.method_line,
                self.method_stop,
            ],
            js=ALONE,
            **LATEST,
        )
        for control in (*ranges.all, self.no_sinks):
            control.input(self.on_maps, [run_id, *chosen], [self.viewer], **LATEST)
        self.method.select(  # a list's `input` comes twice
            self.on_method,
            [run_id, *chosen],
            [self.viewer, self.method_line, self.method_stop, self.method, *ranges.groups, self.no_sinks],
            concurrency_limit=None,
            trigger_mode="multiple",
            **HIDDEN,
        )
        self.after = {
            "fn": self.on_default,
            "inputs": [run_id, *ranges.all],
            "outputs": [
                self.viewer,
                self.method_line,
                self.method_stop,
                self.method,
                *ranges.groups,
                self.no_sinks,
            ],
            "concurrency_limit": None,
            **HIDDEN,
        }  # what follows an answer
        self.method_stop.click(self.on_stop, None, None, **AT_ONCE)

    # Callbacks: guard, call, format

    def blank(self) -> Outputs:
        """Return the explorer without an answer."""
        return {
            self.viewer: gr.HTML(None, picture=None, heads=None),
            self.token: gr.Dropdown(choices=[], value=None),
            **self.attention(),
        }

    def attention(self, note: str = "") -> Outputs:
        """Return the controls as they are for attention."""
        return {
            self.method: ATTENTION,
            self.method_line: note or told_of(METHODS[ATTENTION]),
            self.method_stop: gr.Button(visible=False),
            self.no_sinks: gr.Checkbox(False, visible=True),
            **{group: gr.Column(visible=True) for group in self.ranges.groups},
        }

    def shown(self, run_id: str, run: Run, ranges: Sequence[Any]) -> Outputs:
        """Return the explorer with an answer; its most telling word is picked."""
        pick = first_pick(run)
        key = pick.key if pick else None
        return {
            self.viewer: gr.HTML(
                explored(run, run_id, key or "all", ranges, ATTENTION, False),
                picture={**run.picture_payload, "run": run_id},
                heads=None,
            ),
            self.token: gr.Dropdown(choices=choices(run), value=key),
        }

    def on_default(self, request: gr.Request, run_id: Any, *ranges: Any) -> Iterator[Outputs]:
        """Show an answer that was just given by config's method; attention is there until then."""
        if config.METHOD == ATTENTION or not isinstance(run_id, str):
            yield gr.skip()
            return
        yield {self.method: config.METHOD}
        yield from self.on_method(request, run_id, *ranges, config.METHOD, False)

    def on_method(self, request: gr.Request, run_id: Any, *chosen: Any) -> Iterator[Outputs]:
        """Show the maps of another method; those that read the answer again are computed once."""
        *ranges, method, no_sinks = chosen
        try:
            run, visitor = self.own(request, run_id), visitor_of(request)
            row = method_asked(method)
            controls: Outputs = {
                self.method_line: told_of(row),
                self.method_stop: gr.Button(visible=False),
                self.no_sinks: gr.Checkbox(visible=row.sinks),
                **{group: gr.Column(visible=row.folds) for group in self.ranges.groups},
            }
            if run is None:
                yield controls
                return
            self.end_reading(visitor)
            if row.needs_model and method not in run.maps:
                stop = self._readings[visitor] = self.visitors.begin(visitor)
                yield {
                    self.method_line: "Reading the answer again …",
                    self.method_stop: gr.Button(visible=True),
                }
                try:
                    yield from following(computing(self.room, run, method, stop), self.so_far)
                    if not self.visitors.waits(visitor, stop):
                        yield gr.skip()  # Gradio shows the last item once more at the end
                        return  # the page was closed, or asked something else
                except Stopped:
                    if not self.visitors.waits(visitor, stop):
                        yield gr.skip()
                        return
                    raise
                finally:
                    self.visitors.end(visitor, stop)
                    if self._readings.get(visitor) is stop:
                        del self._readings[visitor]
            yield {self.viewer: explored(run, run_id, "all", ranges, method, no_sinks), **controls}
        except Stopped:
            kept = explored(run, run_id, "all", ranges, ATTENTION, False) if run else None
            yield {self.viewer: kept, **self.attention("Stopped: attention is shown.")}
        except Exception as error:
            reason = refusal(error)
            yield {self.method_line: reason, self.method_stop: gr.Button(visible=False)}
            raise toast(reason) from None

    def end_reading(self, visitor: str) -> None:
        """End the reading for a method that was chosen before; it then shows nothing any more."""
        earlier = self._readings.get(visitor)
        if earlier is not None:
            self.visitors.end(visitor, earlier)

    def so_far(self, changes: dict[str, Any] | None) -> Outputs:
        """Return how far the reading is."""
        if changes is None:
            return gr.skip()
        if "ahead" in changes:
            return {self.method_line: f"Waiting for the model: {changes['ahead']} ahead of you"}
        return {self.method_line: f"{changes['done']} of {changes['count']} passes …"}

    def on_stop(self, request: gr.Request) -> None:
        """End the reading after the passes at hand."""
        with told():
            self.visitors.stop(visitor_of(request))

    def on_maps(self, request: gr.Request, run_id: Any, *chosen: Any) -> Outputs:
        """Show maps of other layers and heads; the browser keeps its pick."""
        with told():
            run = self.own(request, run_id)
            if run is None:
                return gr.skip()
            return {self.viewer: explored(run, run_id, "all", chosen[:-2], *chosen[-2:])}

    def on_heads(self, request: gr.Request, run_id: Any, key: Any) -> Outputs:
        """Show every layer and head of the picked word."""
        with told():
            run = self.own(request, run_id)
            if run is None or not isinstance(key, str):
                return gr.skip()
            pick = pick_of(key, run)
            heads = viewer.heads_payload(run.capture, pick.tokens, of_prompt=pick.of_prompt)
            return {self.viewer: gr.HTML(heads=heads)}

    def on_alone(self, request: gr.Request, run_id: Any, alone: Any, aggregation: Any) -> Outputs:
        """Restrict the maps to one layer and head, or to one of them; or lift that."""
        with told():
            run = self.own(request, run_id)
            if run is None:
                return gr.skip()
            ranges = [*alone_of(alone, run), aggregation]
            self.end_reading(visitor_of(request))
            shown = {self.viewer: explored(run, run_id, "all", ranges, ATTENTION, False), **self.attention()}
            return shown | dict(zip(self.ranges.all, ranges, strict=True))

    def own(self, request: gr.Request, run_id: Any) -> Run | None:
        """Return the visitor's answer; None where there is none yet."""
        return self.visitors.run(visitor_of(request), run_id) if isinstance(run_id, str) else None


def computing(
    room: ModelRoom, run: Run, method: str, stop: threading.Event
) -> Generator[dict[str, Any] | None, None, TokenMaps]:
    """Yield how far it is: people ahead, or passes done and in all; return the maps, and keep them."""

    def work(put: Callable[[dict[str, Any]], None]) -> TokenMaps:
        return room.token_maps(
            run,
            method,
            lambda done, count: put({"done": done, "count": count}),
            stop,
            lambda ahead: put({"ahead": ahead}),
        )

    return streamed(work)


def told_of(method: Method) -> str:
    """Return what a method shows, how it misleads, its paper, and how often it found the object if known."""
    told = f"{method.what} {method.caveat} ({method.paper})"
    found, blind = measured().get(method.label), measured().get(CENTRE)
    if found is None or blind is None:
        return told
    hit, prior = (figure_text("pointing", one["pointing"]) for one in (found, blind))
    most = ", the most of all" if method.label == best() else ""
    return (
        f"{told} On the bundled model's scenes its hottest cell was on the object for {hit} of the "
        f"words{most} ({CENTRE} {prior})."
    )


def last_of(count: int) -> int:
    """Return the last number of so many from 0; at least 1, because a slider needs two ends."""
    return max(1, count - 1)
