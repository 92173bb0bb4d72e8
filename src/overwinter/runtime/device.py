"""Devices that compute outputs: the CPU, or one of torch's CUDA devices. The CPU needs no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from overwinter.errors import ConfigError

CPU = "cpu"
# For a float model's outputs on a GPU compared with the CPU's, relative to the largest logit: convolutions on a GPU use
# TF32, with a mantissa of 10 bits.
_TOLERANCE = 0.01
# Values rounded to the neighbouring step of 1/255, in every layer.
_QUANTIZED_TOLERANCE = 0.05
_CPU_ONLY = "it computes on the CPU only"


def serving_device(setting: str) -> str:
    """Return the device that measures and serves variants for the setting ``device``: `cpu`, `cuda` or `cuda:N`.

    ``auto`` only lets training and quantization use a GPU; a bundle is served on the CPU unless a GPU is named.
    """
    return CPU if setting == "auto" else setting


def computing_device(setting: str) -> str:
    """Return the device that quantizes a model for the setting ``device``: `cpu`, `cuda` or `cuda:N`.

    That is the device of training (with ``auto`` a GPU, if there is one), not of serving: calibration and solving
    are work like training, and the variant is evaluated on the serving device.

    Raises:
        ConfigError: torch cannot compute there.
    """
    if setting == CPU:
        return CPU
    if setting == "auto":
        import torch

        return "cuda" if torch.cuda.is_available() else CPU
    reason = torch_device_refusal(setting)
    if reason is not None:
        raise ConfigError(f"device={setting!r} cannot quantize: {reason}. Set device=auto or device=cpu.")
    return setting


def kind_of(device: str) -> str:
    """Return the kind of a device, ``cuda`` for ``cuda:1``, which is valid on machines with other GPU numbers."""
    return device.partition(":")[0]


def ordinal_of(device: str) -> int:
    """Return the number of a device: 1 for ``cuda:1``, 0 for ``cuda``."""
    return int(device.partition(":")[2] or 0)


def device_refusal(runtime: Any, device: str) -> str | None:
    """Return why a runtime cannot compute on a device here, or None; without `device_refusal` it is CPU only."""
    if device == CPU:
        return None
    asked = getattr(runtime, "device_refusal", None)
    reason: str | None = _CPU_ONLY if asked is None else asked(device)
    return reason


def variant_refusal(description: Mapping[str, Any], device: str) -> str | None:
    """Return why a variant cannot run on a device, or None: some have kernels for one kind of device only."""
    needed = needed_device(description)
    if needed is None or needed == kind_of(device):
        return None
    return f"it has kernels on {needed} only, and this is for {device}"


def needed_device(description: Mapping[str, Any]) -> str | None:
    """Return the only kind of device that can run the variant described by ``model.json``, or None if any can."""
    needed: str | None = (description["quantization"] or {}).get("device")
    return needed


def gpu_tolerance(description: Mapping[str, Any]) -> float:
    """Return the largest allowed difference of GPU outputs from the CPU's, relative to the largest logit."""
    return _TOLERANCE if description["quantization"] is None else _QUANTIZED_TOLERANCE


def torch_device_refusal(device: str) -> str | None:
    """Return why torch cannot compute on a device here, or None if it can."""
    if kind_of(device) != "cuda":
        return None if kind_of(device) == CPU else "torch computes on cpu and cuda"
    import torch

    count = torch.cuda.device_count()
    return None if ordinal_of(device) < count else f"torch can use {count} CUDA devices on this machine"


def device_entry(device: str) -> dict[str, str]:
    """Return a device as a keyword argument or a JSON entry; empty for the CPU, the default."""
    return {} if device == CPU else {"device": device}


@contextmanager
def on_gpu(where: str, device: str, *, remedy: str = "set device=auto, which serves on the CPU") -> Iterator[None]:
    """Explain the failure of a model on a GPU, within the context; on the CPU, pass errors on.

    Args:
        where: part of the work, for the message.
        device: device of the work.
        remedy: change of the configuration, for the message.

    Raises:
        ConfigError: the model fails on the GPU.
    """
    try:
        yield
    except RuntimeError as error:
        if device == CPU:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "Does forward() create tensors? Create them on the device of its input; or"
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
            advice = "Free the GPU's memory; or"
        raise ConfigError(f"The model fails in {where} on device={device}: {reason}\n{advice} {remedy}.") from error
