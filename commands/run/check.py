"""The work of `check`: a map's hottest patches are removed, and the picture."""

from __future__ import annotations

import argparse
import json
import threading
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

import methods
import visualization
from commands.arguments import choice, numbers
from commands.files import finished_folder
from commands.run.answers import answered_by, loaded, tokens_meant
from commands.terminal import bar, counter, printable, say, stop_on_interrupt
from drawing.characters import isolated
from drawing.outline import whole_of
from evaluation.charts import curve_chart
from evaluation.removal import check_map
from evaluation.without_picture import PictureCheck, without_image
from model import Pictures
from records.capture import Capture
from records.keep import every_head
from records.map_check import MapCheck
from records.selection import Selection
from records.token_maps import SelectedMaps, TokenMaps
from records.videos import Video
from report.parts import parts_on, sheet
from report.places import WORDS, whole_place_of
from report.view import Subject
from utils import Stopped, one_line
from visualization import save_image


class Checked(NamedTuple):
    """What is checked: a word's map on one picture or clip of an answer."""

    capture: Capture
    found: TokenMaps
    which: int  # its number, from 0


def run(args: argparse.Namespace) -> None:
    """Check a map of an answer, and write what was found."""
    given = args.picture
    with finished_folder(Path(args.output)) as folder:
        model, processor = loaded(args)
        capture = answered_by((model, processor), args)
        print(printable(capture.text), flush=True)
        tokens = tokens_meant(args.target, capture)
        with stop_on_interrupt() as stop:
            try:
                found, which, on_map, on_picture = checked(
                    (model, processor), args, given, capture, tokens, stop
                )
            except Stopped:
                raise KeyboardInterrupt from None
        write_check(folder, Checked(capture, found, which), on_map, on_picture)
        names = sorted(path.name for path in folder.iterdir())
    for note in found.notes:
        say(f"note: {note}")
    if len(args.image) > 1:
        say(f"{whole_place_of(capture.visuals, which).capitalize()}, {one_line(args.image[which])}:")
    for count in on_map.counts[1:] if args.patches else [on_map.telling]:
        print(printable(on_map.sentence(count)))
    hidden = f"{on_map.telling} patch{'es' * (on_map.telling > 1)} hidden"
    print(printable(f"{on_map.verdict} ({hidden}). {on_map.sentences[-1]} {on_map.note}".rstrip()))
    print(printable(on_picture.sentence(tokens, on_map.text)))
    print(printable(f"\n{on_picture.table()}"))
    say(f"Wrote {', '.join(names)} to {args.output}")


def checked(
    loaded: tuple[Any, Any],
    args: argparse.Namespace,
    image: Pictures,
    capture: Capture,
    tokens: tuple[int, ...],
    stop: threading.Event,
) -> tuple[TokenMaps, int, MapCheck, PictureCheck]:
    """Return the map, the picture whose part of it is checked, what its patches do, and what pictures do."""
    model, processor = loaded
    options: dict[str, Any] = {}
    layers, heads = choice(args, capture.layer_count, capture.head_count)
    options |= {"layers": layers} if args.layers else {}
    options |= {"heads": heads} if args.heads else {}
    given: dict[str, Any] = {"model": model, "processor": processor, "image": image, "stop": stop}
    with bar("Map", "pass", 1) as progress:
        found = methods.token_maps(
            args.method, capture, tokens=tokens, on_progress=counter(progress), **given, **options
        )
        progress.update(int(progress.total or 0) - progress.n)
    which = found.hottest_visual(tokens) if args.which is None else args.which - 1
    one = capture.visuals[which]
    owner = f"the {WORDS[one.kind]}"
    patches = numbers(args.patches, one.count + 1, "number of patches", owner) if args.patches else None
    with bar("Pictures", "picture", 1) as progress:
        on_map = check_map(
            capture=capture,
            tokens=tokens,
            heat=found.token_map(tokens, which),
            visual=which,
            patches=patches,
            repeats=args.repeats,
            filling=args.filling,
            seed=args.seed,
            on_progress=counter(progress),
            **given,
        )
    return found, which, on_map, without_image(capture=capture, **given)


def write_check(
    folder: Path,
    subject: Checked,
    on_map: MapCheck,
    on_picture: PictureCheck,
) -> None:
    """Write what was found."""
    capture, found, which = subject
    method, one = found.row, capture.visuals[which]
    (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
    (folder / "words.md").write_text(on_picture.table() + "\n", encoding="utf-8")
    (folder / "curve.csv").write_text(on_map.csv_text(), encoding="utf-8")
    curve_chart(on_map, method.label).savefig(folder / "curve.png", dpi=150)
    save_image(drawn_map(subject, on_map), folder / "map.png")
    facts = {
        "model": capture.model_name,
        "prompt": capture.prompt,
        "answer": capture.text,
        "method": found.method,
        "settings": found.settings,
        **({"picture": which + 1} if len(capture.visuals) > 1 else {}),
        **({"grid": one.grid, "times": one.times} if one.times else {}),
        "map": on_map.as_dict(),
        "with_and_without_picture": on_picture.as_dict(),
    }
    (folder / "check.json").write_text(
        json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )


def drawn_map(subject: Checked, on_map: MapCheck) -> Image.Image:
    """Return the picture under the map that was checked, with its colour bar; of a clip all its steps."""
    capture, found, which = subject
    method, image = found.row, capture.pictures[which]
    if isinstance(image, Video):
        chosen = Selection(
            tuple(capture.layers),
            every_head(capture),
            tokens=on_map.tokens,
            method=found.method,
            visual=which,
        )
        shown = Subject(capture, chosen, SelectedMaps(found))
        return sheet(shown, parts_on(shown, capture.pictures, which))
    return visualization.visualize_attention_on_image(
        image,
        found.token_map(on_map.tokens, which),
        whole=whole_of(found.mean_map(on_map.tokens).astype(float)) if len(capture.visuals) > 1 else None,
        title=f"{method.label}: “{isolated(on_map.text)}”",
        subtitle=method.caveat,
        scale_label=method.scale_label,
        unit=method.shown_unit,
        min_side=visualization.MIN_SIDE,
        max_side=visualization.MAX_SIDE,
    )
