"""LoRA adapters, applied to a loaded model: merged into its weights, or beside weights that are quantised.

Goes in: a model and a folder that PEFT saved. Comes out: the model with every tensor of the adapter in it, or
one line that says why not. Reads safetensors only.
"""

from __future__ import annotations

import importlib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor, nn

from model.checkpoint import read_json, stored_tensors
from model.errors import ModelError
from model.source import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from utils import one_line

PREFIX = "base_model.model."
# A tensor's name behind its module's; adapters of several names carry one in between.
_OF_LORA = re.compile(r"\.(lora_A|lora_B|lora_magnitude_vector)(\.[^.]+)?(\.weight)?$")
NOT_TAKEN = (  # what would change what A and B mean
    *("alora_invocation_tokens", "arrow_config", "layer_replication", "target_parameters", "use_bdlora"),
    *("use_qalora", "monteclora_config", "velora_config"),
)
# A pattern in a file can be made to take years: what repeats a group, or repeats more than three times.
_COSTLY = re.compile(r"\)[*+?{]|\\\d|([*+{].*){4}", re.DOTALL)
MERGE = "merge it into its base with PEFT (merge_and_unload), save that, and load the result"


@dataclass
class Adapter:
    """What lies in an adapter's folder."""

    name: str  # for people
    settings: Mapping[str, Any]
    lora: dict[str, dict[str, Tensor]] = field(default_factory=dict)  # module: its tensors by kind
    written: dict[str, str] = field(default_factory=dict)  # module: its name in the file
    whole: dict[str, Tensor] = field(default_factory=dict)  # parameter: what takes its place


def check_adapter(folder: Path, name: str) -> int:
    """Return the bytes of a folder's adapter, before anything big is read; ModelError if it cannot be."""
    settings = read_json(folder / ADAPTER_CONFIG, name)
    kind = settings.get("peft_type")
    if str(kind).upper() != "LORA":
        raise ModelError(f"{name} is an adapter of the type {one_line(kind, 40)}, not LORA; {MERGE}.")
    odd = [setting for setting in NOT_TAKEN if settings.get(setting)]
    if odd:
        raise ModelError(f"{name} is a LoRA with {odd[0]}, which is not taken; {MERGE}.")
    patterns = settings.get("alpha_pattern") or {}
    if not isinstance(patterns, dict) or any(map(_COSTLY.search, patterns)):
        raise ModelError(
            f"{name} is a LoRA with alpha_pattern {one_line(patterns, 60)}, which is not taken; {MERGE}."
        )
    if not (folder / ADAPTER_WEIGHTS).is_file():
        pickled = sorted(file.name for file in folder.glob("adapter_model*.bin"))
        if pickled:
            raise ModelError(
                f"{name} has only pickled weights ({pickled[0]}), which can run any code when loaded; "
                "save the adapter again in safetensors."
            )
        raise ModelError(f"{name} has no weights: {ADAPTER_WEIGHTS} is missing; fetch it, or train it again.")
    return sum(tensor.size for tensor in stored_tensors([folder / ADAPTER_WEIGHTS], name).values())


def apply_adapter(model: Any, folder: Path, name: str, base: str, merge: bool) -> tuple[Any, str]:
    """Return the model with the adapter applied, and a line that says how. The model given is used up.

    With `merge` each weight W becomes W + scale · B·A. Otherwise B·A is computed beside it in each pass.

    Raises:
        ModelError: one line, unless every tensor of the adapter has its place in the model.
    """
    adapter = _read(folder, name, model, base)
    if not adapter.lora and not adapter.whole:
        raise ModelError(f"{name} is an empty adapter: {ADAPTER_WEIGHTS} holds no weights; train it again.")
    if any(weight.device.type == "meta" for weight in model.parameters()):
        raise ModelError(
            f"{base} does not fit in memory, and no adapter is applied to weights that wait on disk; "
            'set QUANTIZATION = "4bit" in config.py, or free memory.'
        )
    for parameter, tensor in adapter.whole.items():
        module, _, kind = parameter.rpartition(".")
        before = model.get_parameter(parameter)
        # A new one: what was tied to the old one stays as it is.
        setattr(model.get_submodule(module), kind, nn.Parameter(tensor.to(before.device, before.dtype)))
    if adapter.lora:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of PEFT about transformers' deprecated names
            model = _with_lora(model, adapter, merge)
    counted = f"{len(adapter.lora)} layers" + (f", {len(adapter.whole)} whole" if adapter.whole else "")
    how = "merged into" if merge else "computed beside"
    return model, f"the adapter {name} is applied to {base}: {counted}, {how} its weights"


def _read(folder: Path, name: str, model: Any, base: str) -> Adapter:
    """Return an adapter's tensors by the names of the model's modules, each of the right shape."""
    adapter = Adapter(name, read_json(folder / ADAPTER_CONFIG, name))
    modules, parameters = dict(model.named_modules()), dict(model.named_parameters(remove_duplicate=False))
    misfit = f"{name} does not fit {base}"
    for key, tensor in load_file(folder / ADAPTER_WEIGHTS).items():
        kind = _OF_LORA.search(key)
        if kind is not None:
            module = _placed(key[: kind.start()], modules)
            if module is None or not hasattr(modules[module], "in_features"):
                raise ModelError(
                    f"{misfit}: it adapts {one_line(key, 120)}, and the model has no such linear layer; "
                    "name the base that it was trained on."
                )
            adapter.lora.setdefault(module, {})[kind[1]] = tensor
            adapter.written[module] = key[: kind.start()].removeprefix(PREFIX)
            continue
        parameter = _placed(key.replace(".modules_to_save", ""), parameters)
        if parameter is None:
            raise ModelError(
                f"{misfit}: it holds {one_line(key, 120)}, which has no place in the model; "
                f"name the base that it was trained on, or {MERGE}."
            )
        if parameters[parameter].shape != tensor.shape or not parameters[parameter].is_floating_point():
            raise ModelError(
                f"{misfit}: {parameter} is {_shape(tensor)} in it and {_shape(parameters[parameter])} in the "
                "model; name the base that it was trained on, not quantised."
            )
        adapter.whole[parameter] = tensor
    for module, parts in adapter.lora.items():
        _check_shapes(modules[module], parts, f"{misfit}: {module}")
    return adapter


def _placed(name: str, places: Mapping[str, Any]) -> str | None:
    """Return a name as the model has it; adapters trained with transformers before 4.52 have older ones."""
    bare = name.removeprefix(PREFIX)
    older = bare.removeprefix("model.")
    names = (bare, f"model.{bare}", f"model.language_model.{older}", f"model.language_model.{bare}")
    return next((one for one in names if one in places), None)


def _check_shapes(module: Any, parts: Mapping[str, Tensor], what: str) -> None:
    """Raise ModelError unless A is (rank, in) and B is (out, rank) of the linear layer."""
    down, up = parts.get("lora_A"), parts.get("lora_B")
    if down is None or up is None:
        raise ModelError(f"{what} has only one of A and B in it; save or fetch the adapter again.")
    fits = down.ndim == up.ndim == 2 and down.shape[0] == up.shape[1]
    if not fits or (up.shape[0], down.shape[1]) != (module.out_features, module.in_features):
        raise ModelError(
            f"{what} is {module.out_features} x {module.in_features} in the model, its A {_shape(down)} and "
            f"its B {_shape(up)}; name the base that it was trained on."
        )


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _with_lora(model: nn.Module, adapter: Adapter, merge: bool) -> Any:
    """Return the model with PEFT's layers in place of those adapted; with `merge` plain ones again."""
    peft = importlib.import_module("peft")  # takes a second, and is needed only here
    settings = adapter.settings
    ranks = {module: parts["lora_A"].shape[0] for module, parts in adapter.lora.items()}
    alphas = {module: _alpha(adapter.written[module], settings) for module in adapter.lora}
    wanted = peft.LoraConfig(
        r=next(iter(ranks.values())),
        lora_alpha=next(iter(alphas.values())),
        target_modules=list(adapter.lora),
        # Of every module by its whole name: patterns in the file are made for the names of its time.
        rank_pattern={re.escape(module): rank for module, rank in ranks.items()},
        alpha_pattern={re.escape(module): alpha for module, alpha in alphas.items()},
        use_rslora=bool(settings.get("use_rslora")),
        use_dora=any("lora_magnitude_vector" in parts for parts in adapter.lora.values()),
        lora_dropout=0.0,
        inference_mode=True,
    )
    wrapped = peft.PeftModel(model, wanted)
    endings = {"lora_A": ".lora_A.default.weight", "lora_B": ".lora_B.default.weight"}
    endings["lora_magnitude_vector"] = ".lora_magnitude_vector.default.weight"
    tensors = {
        f"{PREFIX}{module}{endings[kind]}": tensor
        for module, parts in adapter.lora.items()
        for kind, tensor in parts.items()
    }
    unplaced = set(tensors) - set(wrapped.state_dict())
    open_places = {key for key in wrapped.state_dict() if ".lora_" in key} - set(tensors)
    if unplaced or open_places:
        raise ModelError(
            f"{adapter.name} cannot be applied: PEFT has no place for "
            f"{min(unplaced or open_places)}; {MERGE}."
        )
    wrapped.load_state_dict(tensors, strict=False)
    found = wrapped.merge_and_unload(safe_merge=True) if merge else wrapped.get_base_model()
    return found.requires_grad_(True) if merge else found


def _alpha(written: str, settings: Mapping[str, Any]) -> float:
    """Return the alpha of a module by its name in the file, as PEFT finds it there."""
    for pattern, alpha in (settings.get("alpha_pattern") or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", written):
            return float(alpha)
    return float(settings.get("lora_alpha", 8))
