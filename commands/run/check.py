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
from model import Pictures, as_list
from records.capture import Capture
from records.map_check import MapCheck
from records.token_maps import TokenMaps
from utils import Stopped, one_line
from visualization import save_image


class OnePicture(NamedTuple):
    """What is checked: a word's map on one picture of an answer."""

    capture: Capture
    found: TokenMaps
    which: int  # the picture's number, from 0


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
        image = as_list(given)[which]
        assert isinstance(image, Image.Image)  # no clip is checked
        write_check(folder, image, OnePicture(capture, found, which), on_map, on_picture)
        names = sorted(path.name for path in folder.iterdir())
    for note in found.notes:
        say(f"note: {note}")
    if len(args.image) > 1:
        say(f"Picture {which + 1} of {len(args.image)}, {one_line(args.image[which])}:")
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
    which = found.hottest_picture(tokens) if args.which is None else args.which - 1
    count = capture.visuals[which].count
    patches = numbers(args.patches, count + 1, "number of patches", "the picture") if args.patches else None
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
    image: Image.Image,
    subject: OnePicture,
    on_map: MapCheck,
    on_picture: PictureCheck,
) -> None:
    """Write what was found; the image is the one whose part of the map was checked."""
    capture, found, which = subject
    method = found.row
    (folder / "answer.txt").write_text(capture.text + "\n", encoding="utf-8")
    (folder / "words.md").write_text(on_picture.table() + "\n", encoding="utf-8")
    (folder / "curve.csv").write_text(on_map.csv_text(), encoding="utf-8")
    curve_chart(on_map, method.label).savefig(folder / "curve.png", dpi=150)
    drawn = visualization.visualize_attention_on_image(
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
    save_image(drawn, folder / "map.png")
    facts = {
        "model": capture.model_name,
        "prompt": capture.prompt,
        "answer": capture.text,
        "method": found.method,
        "settings": found.settings,
        **({"picture": which + 1} if len(capture.visuals) > 1 else {}),
        "map": on_map.as_dict(),
        "with_and_without_picture": on_picture.as_dict(),
    }
    (folder / "check.json").write_text(
        json.dumps(facts, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
