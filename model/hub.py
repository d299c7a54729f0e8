"""Where a checkpoint lies: bundled, in a folder, or in the hub's cache, filled first.

Goes in: a name. Comes out: a folder on this computer. Knows nothing of what is in it but what `checkpoint`
checks.
"""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from pathlib import Path

import torch
from huggingface_hub import (
    HfApi,
    get_session,
    hf_hub_download,
    hf_hub_url,
    snapshot_download,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HFValidationError,
    IncompleteSnapshotError,
    RepositoryNotFoundError,
)

import config
from model.checkpoint import check_config, check_folder, no_weights, read_json
from model.errors import ModelError
from model.families import EXAMPLE_ID, known_families
from model.placement import Placement, check_memory
from model.source import ADAPTER_CONFIG, has_base, is_adapter, joined
from utils import one_line

DEMO = "demo"


DEMO_FOLDER = Path(__file__).parent.parent / "demo" / "model"


HUB_SECONDS = 5.0
HUB_FILES = ["*.json", "*.jinja", "*.txt", "*.safetensors"]


def default_name() -> str:
    """Return config's model, with its adapter if it names one."""
    return joined(config.MODEL_NAME, config.ADAPTER) if config.ADAPTER else config.MODEL_NAME


def default_model() -> str:
    """Return config's model where there is CUDA, else the bundled one; an adapter is never left out."""
    return default_name() if torch.cuda.is_available() or config.ADAPTER else DEMO


def checkpoint_folder(name: str, settings: Placement) -> Path:
    """Return the local folder of a checkpoint, fetched first if the name is a hub id."""
    if name == DEMO:
        if not (DEMO_FOLDER / "config.json").is_file():
            raise ModelError(
                "The bundled model is missing from demo/model; train it with: python -m demo.train"
            )
        return DEMO_FOLDER
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if path.exists():
        raise ModelError(f"{name} is a file; a model is a folder with config.json and weights in it.")
    if not re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", name):
        raise ModelError(
            f'There is no folder {name}; a model is "demo", a folder, or a hub id such as {EXAMPLE_ID}.'
        )
    return _hub_folder(name, settings)


def _hub_folder(name: str, settings: Placement) -> Path:
    """Return the folder in the hub's cache, filled; without a network, as it was filled before."""
    if not _hub_answers(name):
        return _fetched_before(name)
    try:
        settings_file = Path(hf_hub_download(name, "config.json", etag_timeout=HUB_SECONDS))
        check_config(settings_file, name)
        saved_in_fewer_bits = "quantization_config" in read_json(settings_file, name)
        files = {
            file.rfilename: file.size or 0
            for file in HfApi().model_info(name, files_metadata=True).siblings or ()
        }
        weights = {
            file: size for file, size in files.items() if file.endswith(".safetensors") and "/" not in file
        }
        if not weights:
            raise no_weights(name, files)
        in_files = sum(weights.values())
        if not saved_in_fewer_bits:  # published checkpoints hold two bytes a number
            in_files = in_files * (1 if config.QUANTIZATION else settings.dtype.itemsize) // 2
        check_memory(name, in_files, settings, saved_in_fewer_bits or config.QUANTIZATION is not None)
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, etag_timeout=HUB_SECONDS))
    except GatedRepoError:
        raise ModelError(f"{name} asks for a login on the hub; run: hf auth login") from None
    except (RepositoryNotFoundError, HFValidationError):
        raise ModelError(f"There is no folder and no model on the hub named {name}.") from None
    except EntryNotFoundError:
        return _hub_adapter(name)
    except ModelError:
        raise
    except Exception as error:  # the hub's client raises its own, httpx's and the operating system's
        raise ModelError(f"{name} could not be downloaded: {one_line(error, 150)}; try again.") from error


def _hub_adapter(name: str) -> Path:
    """Return the folder in the hub's cache of an adapter without base weights, filled."""
    try:
        hf_hub_download(name, ADAPTER_CONFIG, etag_timeout=HUB_SECONDS)
        return Path(snapshot_download(name, allow_patterns=HUB_FILES, etag_timeout=HUB_SECONDS))
    except EntryNotFoundError:
        raise ModelError(
            f"{name} is no {known_families()} model: it has no config.json; choose another one."
        ) from None
    except Exception as error:  # as above
        raise ModelError(f"{name} could not be downloaded: {one_line(error, 150)}; try again.") from error


def _fetched_before(name: str) -> Path:
    """Return the folder in the hub's cache, if all of it is there."""
    try:
        folder = Path(snapshot_download(name, allow_patterns=HUB_FILES, local_files_only=True))
        if not is_adapter(folder) or has_base(folder):
            check_folder(folder, name)
    except (OSError, ValueError, ModelError) as error:
        partly = isinstance(error, (IncompleteSnapshotError, ModelError))
        raise ModelError(
            f"{name} is no folder here, was {'only in part' if partly else 'not'} downloaded before, "
            "and the hub cannot be reached; check the network or give a local folder."
        ) from error
    return folder


def _hub_answers(name: str) -> bool:
    """Return whether the hub answers within a few seconds.

    Its own client retries for half a minute and more when there is no network, and a name look-up that hangs
    heeds no time limit; hence one question of our own, in a thread that is not waited for.
    """
    answered = threading.Event()

    def ask() -> None:
        with suppress(Exception):  # no network, a proxy, or offline mode: all mean no
            get_session().head(hf_hub_url(name, "config.json"), timeout=HUB_SECONDS)
            answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(HUB_SECONDS)
    return answered.is_set()


def folder_on_disk(name: str) -> Path | None:
    """Return where a checkpoint lies on this computer, without asking the hub; None if it does not."""
    if name == DEMO:
        return DEMO_FOLDER
    if (folder := Path(name).expanduser()).is_dir():
        return folder
    with suppress(HFValidationError):  # what is neither a folder nor a hub id
        for known in ("config.json", ADAPTER_CONFIG):
            file = try_to_load_from_cache(name, known)
            if isinstance(file, str):
                return Path(file).parent
    return None
