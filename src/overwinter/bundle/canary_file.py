"""The canary's file, in the format of safetensors: `inputs.NAME`, `outputs`, and the raw samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from overwinter.bundle.facts import Canary
from overwinter.bundle.folder import REMEDY
from overwinter.bundle.raw_samples import raw_from, raw_tensors
from overwinter.errors import IntegrityError
from overwinter.inputs import INPUT, named, unnamed

_INPUTS, _OUTPUTS = "inputs.", "outputs"
_OLDER_INPUT = "inputs"  # of a bundle with schema 1


def canary_bytes(canary: Canary) -> bytes:
    """Return the content of the file."""
    import numpy as np
    from safetensors.numpy import save

    inputs = {f"{_INPUTS}{name}": np.ascontiguousarray(array) for name, array in named(canary.inputs).items()}
    raw = {} if canary.raw is None else raw_tensors(canary.raw)
    return save({**inputs, _OUTPUTS: np.ascontiguousarray(canary.outputs), **raw})


def read_canary(path: Path, content: bytes, tolerance: float, names: Sequence[str]) -> Canary:
    """Return the canary.

    Args:
        path: of the file, for messages.
        content: what it holds.
        tolerance: of bundle.json.
        names: of the inputs, in the order of the signature; the file has another one.

    Raises:
        IntegrityError: There is none in it.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        if scalars := [name for name, each in arrays.items() if each.ndim == 0]:
            raise ValueError(f"{', '.join(scalars)} has no samples")  # noqa: TRY301 -- reported as the others are
        inputs = {name.removeprefix(_INPUTS): each for name, each in arrays.items() if name.startswith(_INPUTS)}
        if not inputs:
            inputs = {INPUT: arrays[_OLDER_INPUT]}
        ordered = {name: inputs[name] for name in sorted(inputs, key=[*names, *inputs].index)}
        canary = Canary(inputs=unnamed(ordered), outputs=arrays[_OUTPUTS], tolerance=tolerance, raw=raw_from(arrays))
    except (SafetensorError, KeyError, ValueError, TypeError) as error:
        raise IntegrityError(f"{path} holds no canary: {error}. {REMEDY}") from None
    if canary.outputs.size == 0:  # nothing would be compared
        raise IntegrityError(f"{path} records no output. {REMEDY}")
    return canary
