"""Runtimes by name, and the two things one does with them."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from overwinter.errors import ConfigError, nearest
from overwinter.models import load_description
from overwinter.runtime.interface import Runtime
from overwinter.serving import Session

GROUP = "overwinter.runtimes"
# Found without scanning the metadata of every installed package: a wake has no time for that.
_BUILT_IN = {
    "onnxruntime": ("overwinter.runtime.onnx_runtime", "OnnxRuntime"),
    "openvino": ("overwinter.runtime.openvino_runtime", "OpenVinoRuntime"),
    "torch": ("overwinter.runtime.torch_runtime", "TorchRuntime"),
    "torch-compile": ("overwinter.runtime.torch_compile", "TorchCompileRuntime"),
}


def find_runtime(name: str) -> Runtime:
    """Return the runtime of that name.

    Raises:
        ConfigError: there is none.
    """
    if name in _BUILT_IN:
        module, attribute = _BUILT_IN[name]
        return cast(Runtime, getattr(importlib.import_module(module), attribute)())
    from importlib.metadata import entry_points

    added = {point.name: point for point in entry_points(group=GROUP)}
    if name not in added:
        known = sorted([*_BUILT_IN, *added])
        raise ConfigError(f"The runtime {name!r} is unknown. Known: {', '.join(known)}.{nearest(name, known)}")
    return cast(Runtime, added[name].load()())


def refusal(model_folder: Path, runtime: str) -> str | None:
    """Return why ``runtime`` cannot run the saved model in ``model_folder``, or None if it can."""
    return find_runtime(runtime).refusal(load_description(model_folder))


def build(model_folder: Path, runtime: str, out: Path, *, trusted: Sequence[str]) -> None:
    """Prepare a saved model for a runtime.

    Args:
        model_folder: a saved model, of any form.
        runtime: `torch`, `torch-compile`, `onnxruntime`, `openvino`, or an entry point's name.
        out: folder for the runtime's files; made if need be.
        trusted: prefixes that the model's ``_target_`` may have beside ``overwinter.`` and ``torch.``.

    Raises:
        ConfigError: the runtime is unknown, or cannot run this form or this model.
        OverwinterError: its answers differ from torch's by more than its tolerance.
    """
    found = find_runtime(runtime)
    description = load_description(model_folder)
    reason = found.refusal(description)
    if reason is not None:
        raise ConfigError(f"The runtime {runtime!r} cannot run the form {description['form']!r}: {reason}.")
    out.mkdir(parents=True, exist_ok=True)
    found.build(model_folder, out, trusted=trusted)


def open_session(folder: Path, runtime: str, threads: int, *, trusted: Sequence[str] = ()) -> Session:
    """Load what `build` wrote for ``runtime`` into ``folder``.

    Args:
        folder: what `build` filled.
        runtime: the name that was given to `build`.
        threads: CPU threads that compute one answer.
        trusted: as in `build`.

    Raises:
        ConfigError: the runtime is unknown.
        IntegrityError: the files are damaged.
    """
    return find_runtime(runtime).open(folder, threads=threads, trusted=trusted)
