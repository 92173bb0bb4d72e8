"""Runtimes by name, and the two things one does with them."""

from __future__ import annotations

import inspect
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.errors import ConfigError
from overwinter.models import load_description
from overwinter.models.description import DESCRIPTION, are_own
from overwinter.registries import RUNTIMES
from overwinter.runtime.device import CPU, device_entry, device_refusal, variant_refusal
from overwinter.runtime.interface import Runtime
from overwinter.runtime.session import Session

if TYPE_CHECKING:
    from torch import nn


def find_runtime(name: str) -> Runtime:
    """Return the runtime of that name.

    Raises:
        ConfigError: there is none.
    """
    runtime: Runtime = RUNTIMES.find(name)()
    return runtime


def check_devices(runtimes: Sequence[str], device: str) -> None:
    """Check that every runtime can compute on a device, before any work is done.

    Args:
        runtimes: of ``evaluate.runtimes``.
        device: `cpu`, `cuda` or `cuda:N`; see `serving_device`.

    Raises:
        ConfigError: a runtime is unknown, or cannot compute there.
    """
    for name in runtimes:
        reason = device_refusal(find_runtime(name), device)
        if reason is not None:
            raise ConfigError(
                f"evaluate.runtimes names {name!r}, which cannot compute on device={device}: {reason}.\n"
                "Take it out of evaluate.runtimes, or set device=auto, which trains on a GPU where there is one, and "
                "measures and serves on the CPU."
            )


def refusal(model_folder: Path, runtime: str, device: str = CPU) -> str | None:
    """Return why ``runtime`` cannot run the saved model in ``model_folder`` on ``device``, or None if it can."""
    return _refusal(find_runtime(runtime), load_description(model_folder), device)


def _refusal(runtime: Runtime, description: Mapping[str, Any], device: str) -> str | None:
    return runtime.refusal(description) or variant_refusal(description, device) or device_refusal(runtime, device)


def build(model_folder: Path, runtime: str, out: Path, *, trusted: Sequence[str], device: str = CPU) -> None:
    """Prepare a saved model for a runtime.

    Args:
        model_folder: a saved model, of any variant.
        runtime: `torch`, `torch-compile`, `onnxruntime`, `openvino`, or an entry point's name.
        out: folder for the runtime's files; made if need be.
        trusted: packages whose classes the model's ``_target_`` may name, beside overwinter's and torch.nn's.
        device: on which its outputs are checked; the files are the same for all.

    Raises:
        ConfigError: the runtime is unknown, or cannot run this variant or this model on the device; or a bundle for it
            would name the function that made the model.
        OverwinterError: its outputs differ from torch's by more than its tolerance.
    """
    found = find_runtime(runtime)
    description = load_description(model_folder)
    reason = _refusal(found, description, device)
    if reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot run the variant {description['variant']!r}: {reason}.")
    out.mkdir(parents=True, exist_ok=True)
    found.build(model_folder, out, trusted=trusted, **device_entry(device))
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
            "bundles name classes only.\nWrap it in a class of yours, a torch.nn.Module whose __init__ calls it; or "
            "serve it without its code: evaluate.runtimes=[onnxruntime]."
        )


def check_runtimes(
    model: nn.Module,
    runtimes: Sequence[str],
    *,
    model_config: Mapping[str, Any],
    input_shape: Sequence[int],
    trusted: Sequence[str],
    device: str = CPU,
) -> None:
    """Find out before a model is trained whether it can be run afterwards: build it for each runtime, as it is.

    Of the models that come with overwinter this is known, so that only the names are looked at.

    Args:
        model: untrained; it is not changed.
        runtimes: of ``evaluate.runtimes``; one that cannot run a float model here at all is passed over.
        model_config: ``_target_`` and its arguments.
        input_shape: of one sample.
        trusted: as in `build`.
        device: on which the variants will be served.

    Raises:
        ConfigError: a runtime is unknown, cannot compute on the device, or lacks what the model uses.
        OverwinterError: a runtime's answers differ from torch's by more than its tolerance.
    """
    from overwinter.models import save_model

    check_devices(runtimes, device)
    found = {name: find_runtime(name) for name in runtimes}
    if str(model_config["_target_"]).startswith("overwinter."):
        return
    with tempfile.TemporaryDirectory() as scratch:
        saved = Path(scratch) / "model"
        save_model(saved, model, variant="dense", model_config=model_config, input_shape=input_shape, lineage={})
        for name, runtime in found.items():
            if runtime.refusal(load_description(saved)) is None:
                build(saved, name, Path(scratch) / name, trusted=trusted, device=device)


def open_session(
    folder: Path, runtime: str, threads: int, *, trusted: Sequence[str] = (), device: str = CPU
) -> Session:
    """Load what `build` wrote for ``runtime`` into ``folder``.

    Args:
        folder: what `build` filled.
        runtime: the name that was given to `build`.
        threads: CPU threads that compute one output.
        trusted: as in `build`.
        device: that computes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: the runtime is unknown, or cannot compute on the device.
        IntegrityError: the files are damaged.
    """
    found = find_runtime(runtime)
    reason = device_refusal(found, device)
    if reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot compute on device={device}: {reason}.")
    return found.open(folder, threads=threads, trusted=trusted, **device_entry(device))


def load_module(folder: Path, runtime: str, *, trusted: Sequence[str], device: str = CPU) -> nn.Module:
    """Load a module as a runtime of torch's serves it: what answers in steps, as language models do, is used so.

    Args:
        folder: a saved model, or what `build` wrote.
        runtime: `torch` or `torch-bf16`.
        trusted: as in `build`.
        device: on which it computes: `cpu`, `cuda` or `cuda:N`.

    Raises:
        ConfigError: the runtime is unknown, serves no modules, or cannot run this variant on the device.
        IntegrityError: the files are damaged.
    """
    found = find_runtime(runtime)
    load = getattr(found, "load", None)
    reason = "it serves no torch modules" if load is None else _refusal(found, load_description(folder), device)
    if load is None or reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot serve the model in {folder} step by step: {reason}.")
    module: nn.Module = load(folder, trusted=trusted, **device_entry(device))
    return module
