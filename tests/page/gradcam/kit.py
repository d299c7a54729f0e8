"""What several tests here share."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from PIL import Image

from page.gradcam_tab import GradCamTab
from tests.page.telling import request
from tests.serving import PROMPT

NEW = 6  # tokens of the answers
NOISE: dict[str, Any] = {"num_samples": 3, "noise_std": 0.2, "seed": 5}
LOOK: dict[str, Any] = {
    "colormap": "viridis",
    "opacity": 0.6,
    "contrast": 0,
    "view": "overlay",
    "cells": "cells",
    "scale": "own",
}


def generated(client: Client, picture: Path) -> None:
    client.predict(handle_file(picture), PROMPT, NEW, api_name="/generate")


def asked(
    kind: str = "word",
    key: Any = "1",
    layers: str = "auto",
    method: Any = "grad-cam",
    samples: Any = 3,
    noise_std: Any = 0.2,
    seed: Any = 5,
) -> list[Any]:
    """What the tab's components hold: nothing typed, the settings of NOISE."""
    return [kind, key, "", "answer", "", layers, method, samples, noise_std, seed]


def begun(tab: GradCamTab, run_id: str, form: Sequence[Any], visitor: str = "me") -> Iterator[dict[Any, Any]]:
    """Press Run: the tab is blank and says that it waits; return what is shown from then on."""
    told = tab.on_run(request(visitor), run_id, *form)
    blank = next(told)
    assert blank[tab.shown].constructor_args["value"] == {"state": "waiting"}
    assert blank[tab.stop].constructor_args["interactive"] is True
    return told


def computed(tab: GradCamTab, run_id: str, form: Sequence[Any]) -> list[dict[Any, Any]]:
    """Run the tab as a click does, and return all that was shown."""
    return list(begun(tab, run_id, form))


def pixels(component: Any) -> np.ndarray:
    """The picture (H, W, 3) that an update of an image component carries."""
    with Image.open(component.constructor_args["value"]) as picture:
        return np.asarray(picture)


def at_work(tab: GradCamTab) -> bool:
    return tab.around.room.busy
