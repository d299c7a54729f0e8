"""The explorer: the viewer of an answer's maps, in step with the list of words and the map settings.

Goes in: a `Run`, layers and heads. Comes out: the viewer's data. What is pointed at and picked is drawn in
the browser; the server is asked only for maps of other layers and heads. The viewer itself is `viewer/`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import gradio as gr

import config
import viewer
from evaluation.measured import CENTRE, best, figure_text, measured
from methods import METHODS, Method, TokenMaps, token_maps
from page.around import Around
from page.jobs import Job, Shown, passes, refusing
from page.model_room import Loaded, ModelRoom
from page.parts import AGAIN, AT_ONCE, LATEST, LONG, Outputs, line, told, visitor_of
from page.parts import text_of as file_of
from page.selection import ATTENTION, Controls, alone_of, pick_of
from page.sessions import Run
from page.shown import SCALE_LABELS, choices, explored, first_pick

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

    around: Around
    ranges: Ranges

    def __init__(self) -> None:
        """Add what is not seen to the blocks that are being built."""
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

    def wire(self, around: Around, ranges: Ranges) -> None:
        """Connect the components with each other and with the page around them."""
        self.around, self.ranges, run_id = around, ranges, around.run_id
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
        by_method = [self.viewer, self.method_line, self.method_stop, self.method]
        by_method += [*ranges.groups, self.no_sinks]
        # A list's `input` comes twice.
        self.method.select(self.on_method, [run_id, *chosen], by_method, **AGAIN)
        self.after: dict[str, Any] = {
            "fn": self.on_default,
            "inputs": [run_id, *ranges.all],
            "outputs": by_method,
            **LONG,
        }  # what follows an answer
        self.on_stop = around.jobs.stopper("method")
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

    def shown(self, run_id: str, run: Run, controls: Controls) -> Outputs:
        """Return the explorer with an answer, by attention; its most telling word is picked."""
        pick = first_pick(run)
        key = pick.key if pick else None
        return {
            self.viewer: gr.HTML(
                explored(run, run_id, key or "all", controls.of_attention),
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
        visitor, run, controls = yield from refusing(
            self.method_line,
            lambda: (visitor_of(request), self.around.own(request, run_id), Controls.of(chosen)),
        )
        if run is None:
            yield self.shown_for(controls.row)
            return
        jobs, method = self.around.jobs, controls.method
        jobs.end(visitor, "method", by="method")

        def maps() -> Outputs:
            return {self.viewer: explored(run, run_id, "all", controls), **self.shown_for(controls.row)}

        if controls.row.needs_model and method not in run.maps:
            room, shown = self.around.room, self._read_again(run, run_id, controls, maps)
            yield from jobs.run(visitor, "method", lambda job: read_again(room, run, method, job), shown)
        else:
            yield (yield from refusing(self.method_line, maps))

    def _read_again(
        self, run: Run, run_id: str, controls: Controls, maps: Callable[[], Outputs]
    ) -> Shown[TokenMaps]:
        """Return what is shown while the model reads an answer again."""

        def attention(note: str = "") -> Outputs:
            return {
                self.viewer: explored(run, run_id, "all", controls.of_attention),
                **self.attention(note),
            }

        hidden = gr.Button(visible=False)
        return Shown(
            begun={
                self.method_line: "Reading the answer again …",
                self.method_stop: gr.Button(visible=True),
            },
            so_far=passes(self.method_line),
            done=lambda *_: maps(),
            stopped=lambda: attention("Stopped: attention is shown."),
            failed=lambda reason: {self.method_line: reason, self.method_stop: hidden},
            # What else begins leaves the list as it is; a new answer and another method do not.
            left=lambda parts: {} if parts & {"answer", "method"} else attention(),
        )

    def shown_for(self, method: Method) -> Outputs:
        """Return the controls as they are for a method."""
        return {
            self.method_line: told_of(method),
            self.method_stop: gr.Button(visible=False),
            self.no_sinks: gr.Checkbox(visible=method.sinks),
            **{group: gr.Column(visible=method.folds) for group in self.ranges.groups},
        }

    def on_maps(self, request: gr.Request, run_id: Any, *chosen: Any) -> Outputs:
        """Show maps of other layers and heads; the browser keeps its pick."""
        with told():
            run = self.around.own(request, run_id)
            if run is None:
                return gr.skip()
            return {self.viewer: explored(run, run_id, "all", Controls.of(chosen))}

    def on_heads(self, request: gr.Request, run_id: Any, key: Any) -> Outputs:
        """Show every layer and head of the picked word."""
        with told():
            run = self.around.own(request, run_id)
            if run is None or not isinstance(key, str):
                return gr.skip()
            pick = pick_of(key, run.capture)
            heads = viewer.heads_payload(run.capture, pick.tokens, of_prompt=pick.of_prompt)
            return {self.viewer: gr.HTML(heads=heads)}

    def on_alone(self, request: gr.Request, run_id: Any, alone: Any, aggregation: Any) -> Outputs:
        """Restrict the maps to one layer and head, or to one of them; or lift that."""
        with told():
            run = self.around.own(request, run_id)
            if run is None:
                return gr.skip()
            ranges = [*alone_of(alone, run.capture), aggregation]
            self.around.jobs.end(visitor_of(request), "method", by="method")
            shown = {self.viewer: explored(run, run_id, "all", Controls.of(ranges)), **self.attention()}
            return shown | dict(zip(self.ranges.all, ranges, strict=True))


def read_again(room: ModelRoom, run: Run, method: str, job: Job) -> TokenMaps:
    """Have the model read an answer again, and return the maps of all its tokens; they are kept with it.

    Raises:
        Stopped: if the job was stopped.
        ModelError: if the model in memory is not the one that gave the answer.
        ValueError: if the method cannot explain this answer.
        FullError: if too many wait for the model already.
    """

    def read(loaded: Loaded) -> TokenMaps:
        if method not in run.maps:
            run.maps[method] = token_maps(
                method,
                run.capture,
                model=loaded.model,
                processor=loaded.processor,
                image=run.original,
                on_progress=job.steps,
                stop=job.stop,
            )
        return run.maps[method]

    return room.work(read, job, run.capture)


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
