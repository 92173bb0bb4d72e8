"""Runtimes by name: building and opening models with them."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError
from overwinter.inputs import Inputs, count, take
from overwinter.models import load_description
from overwinter.models.description import DESCRIPTION, are_own, is_language_model
from overwinter.registries import RUNTIMES
from overwinter.runtime.device import CPU, device_entry, device_refusal, variant_refusal
from overwinter.runtime.interface import Runtime
from overwinter.runtime.language_session import LanguageRuntime, LanguageSession
from overwinter.runtime.session import Session
from overwinter.signature import Signature

if TYPE_CHECKING:
    from torch import nn

_NO_LANGUAGE = "it runs no language models"


def find_runtime(name: str) -> Runtime:
    """Return the runtime with a name.

    Raises:
        ConfigError: there is no such runtime.
    """
    runtime: Runtime = RUNTIMES.find(name)()
    return runtime


def check_devices(runtimes: Sequence[str], device: str) -> None:
    """Check that every runtime can compute on a device, before any work is done.

    Args:
        runtimes: names in ``evaluate.runtimes``.
        device: `cpu`, `cuda` or `cuda:N`; see `serving_device`.

    Raises:
        ConfigError: a runtime is unknown, or cannot compute there.
    """
    for name in runtimes:
        reason = device_refusal(find_runtime(name), device)
        if reason is not None:
            raise ConfigError(
                f"evaluate.runtimes names {name!r}, which cannot compute on device={device}: {reason}.\n"
                "Remove it from evaluate.runtimes, or set device=auto, which trains on a GPU if there is one, and "
                "measures and serves on the CPU."
            )


def refusal(model_folder: Path, runtime: str, device: str = CPU) -> str | None:
    """Return why ``runtime`` cannot run the saved model in ``model_folder`` on ``device``, or None if it can."""
    return _refusal(find_runtime(runtime), load_description(model_folder), device)


def _refusal(runtime: Runtime, description: Mapping[str, Any], device: str) -> str | None:
    part = _part(runtime, description)
    if part is None:
        return _NO_LANGUAGE
    return part.refusal(description) or variant_refusal(description, device) or device_refusal(runtime, device)


def _part(runtime: Runtime, description: Mapping[str, Any]) -> Runtime | LanguageRuntime | None:
    """Return the part of a runtime that runs this kind of model."""
    return _language(runtime) if is_language_model(description) else runtime


def build(
    model_folder: Path, runtime: str, out: Path, *, examples: Inputs, trusted: Sequence[str], device: str = CPU
) -> None:
    """Prepare a saved model for a runtime.

    Args:
        model_folder: a saved model, of any variant.
        runtime: `torch`, `torch-compile`, `onnxruntime`, `openvino`, or an entry point's name.
        out: folder for the runtime's files, created if needed.
        examples: samples of the data (n, ...), with which the model is traced and its outputs are compared.
        trusted: packages whose classes the model's ``_target_`` may name, besides overwinter's and torch.nn's.
        device: device on which the outputs are checked; the files are the same for all devices.

    Raises:
        ConfigError: the runtime is unknown, or cannot run this variant or this model on the device; or a bundle for it
            would name a function as the model's target.
        OverwinterError: the outputs differ from torch's by more than the runtime's tolerance.
    """
    found = find_runtime(runtime)
    description = load_description(model_folder)
    reason = _refusal(found, description, device)
    if reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot run the variant {description['variant']!r}: {reason}.")
    out.mkdir(parents=True, exist_ok=True)
    part = _part(found, description) or found
    part.build(model_folder, out, examples=examples, trusted=trusted, **device_entry(device))
    if (out / DESCRIPTION).is_file():  # the payload names the model's code, as torch's runtimes do
        _refuse_function(description["model"], runtime, trusted)


def _refuse_function(model_config: Mapping[str, Any], runtime: str, trusted: Sequence[str]) -> None:
    from overwinter.config.targets import MODEL, find_target
    from overwinter.models.building import is_module

    made_by = find_target(model_config, MODEL, is_module, trusted=trusted, functions=are_own())
    if inspect.isfunction(made_by):
        target = model_config["_target_"]
        raise ConfigError(
            f"model._target_={target!r} is a function, which the runtime {runtime!r} would call when a bundle wakes; "
            "bundles name classes only.\nWrap it in your own class, a torch.nn.Module whose __init__ calls it; or "
            "serve it without its code: evaluate.runtimes=[onnxruntime]."
        )


def check_runtimes(
    model: nn.Module,
    runtimes: Sequence[str],
    *,
    model_config: Mapping[str, Any],
    examples: Inputs,
    trusted: Sequence[str],
    device: str = CPU,
    signature: Signature | None = None,
) -> None:
    """Check before training that every runtime can run the model, by building the untrained model for each.

    Overwinter's own models are known to work, so for them only the names are checked.

    Args:
        model: untrained model; it is not changed.
        runtimes: names in ``evaluate.runtimes``; one that cannot run a float model here at all is skipped.
        model_config: ``_target_`` and its arguments.
        examples: samples of the data (n, ...).
        trusted: as in `build`.
        device: device that will serve the variants.
        signature: the model's; None: as the examples have it.

    Raises:
        ConfigError: a runtime is unknown, cannot compute on the device, or lacks an operation of the model.
        OverwinterError: a runtime's outputs differ from torch's by more than its tolerance.
    """
    from overwinter.models import find_signature, save_model

    check_devices(runtimes, device)
    found = {name: find_runtime(name) for name in runtimes}
    if str(model_config["_target_"]).startswith("overwinter."):
        return
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "model"
        singles = [take(examples, slice(each, each + 1)) for each in range(count(examples))]
        signature = signature or find_signature(model, singles)
        save_model(saved, model, variant="dense", model_config=model_config, signature=signature, lineage={})
        for name, runtime in found.items():
            if runtime.refusal(load_description(saved)) is None:
                build(saved, name, Path(scratch) / name, examples=examples, trusted=trusted, device=device)


def open_session(
    folder: Path, runtime: str, threads: int, *, trusted: Sequence[str] = (), device: str = CPU
) -> Session:
    """Load the files that `build` wrote to ``folder`` for ``runtime``.

    Args:
        folder: folder that `build` wrote.
        runtime: name of the runtime, as for `build`.
        threads: The number of CPU threads that compute one output.
        trusted: as in `build`.
        device: device that computes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: the runtime is unknown, or cannot compute on the device.
        IntegrityError: the files are damaged.
    """
    found = find_runtime(runtime)
    reason = device_refusal(found, device)
    if reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot compute on device={device}: {reason}.")
    return found.open(folder, threads=threads, trusted=trusted, **device_entry(device))


def open_language(
    folder: Path, runtime: str, threads: int, *, trusted: Sequence[str] = (), device: str = CPU
) -> LanguageSession:
    """Load a language model, from the files that `build` wrote to ``folder`` for ``runtime``; see `open_session`.

    Raises:
        ConfigError: the runtime is unknown, runs no language models, cannot compute on the device, or the folder holds
            another kind of model.
        IntegrityError: the files are damaged.
    """
    found = find_runtime(runtime)
    language = _language(found)
    reason = _NO_LANGUAGE if language is None else device_refusal(found, device)
    if language is None or reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot serve the language model in {folder}: {reason}.")
    return language.open(folder, threads=threads, trusted=trusted, **device_entry(device))


def converts(runtime: str) -> bool:
    """Return whether a runtime needs files of its own; one that does not opens saved models as they are."""
    return bool(getattr(find_runtime(runtime), "converts", True))


def _language(runtime: Runtime) -> LanguageRuntime | None:
    found: LanguageRuntime | None = getattr(runtime, "language", None)
    return found
