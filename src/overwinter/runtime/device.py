"""Where answers are computed: on the CPU, or on one of torch's CUDA devices. No torch is imported for the CPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from overwinter.errors import ConfigError

CPU = "cpu"
# Of a float model's outputs on a GPU against the CPU's, relative to the largest logit: convolutions there compute in
# TF32, whose mantissa has 10 bits.
_TOLERANCE = 0.01
# Roundings that fall on the other side of a step of 1/255, in layer after layer.
_QUANTIZED_TOLERANCE = 0.05
_CPU_ONLY = "it computes on the CPU only"


def serving_device(setting: str) -> str:
    """Return where variants are measured and served under the setting ``device``: `cpu`, `cuda` or `cuda:N`.

    ``auto`` concerns training alone, which then takes a GPU where there is one: a bundle is served on the CPU unless
    a GPU is named.
    """
    return CPU if setting == "auto" else setting


def computing_device(setting: str) -> str:
    """Return where a model is quantized under the setting ``device``: `cpu`, `cuda` or `cuda:N`.

    That is where it was trained, with ``auto`` on a GPU where there is one, and not where it will be served:
    calibrating and solving are work of the training's kind, and the variant that comes of it is judged where it is
    served.

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
    """Return ``cuda`` of ``cuda:1``: what is told to other machines, whose GPUs have other numbers."""
    return device.partition(":")[0]


def ordinal_of(device: str) -> int:
    """Return 1 of ``cuda:1``, and 0 of ``cuda``."""
    return int(device.partition(":")[2] or 0)


def device_refusal(runtime: Any, device: str) -> str | None:
    """Return why a runtime cannot compute on a device here, or None if it can; one that does not say knows the CPU."""
    if device == CPU:
        return None
    asked = getattr(runtime, "device_refusal", None)
    reason: str | None = _CPU_ONLY if asked is None else asked(device)
    return reason


def variant_refusal(description: Mapping[str, Any], device: str) -> str | None:
    """Return why a variant cannot be computed on a device at all: some have kernels on one kind of device only."""
    needed = needed_device(description)
    if needed is None or needed == kind_of(device):
        return None
    return f"it has kernels on {needed} only, and this is for {device}"


def needed_device(description: Mapping[str, Any]) -> str | None:
    """Return the kind of device that alone computes the variant which ``model.json`` describes; None: any does."""
    needed: str | None = (description["quantization"] or {}).get("device")
    return needed


def gpu_tolerance(description: Mapping[str, Any]) -> float:
    """Return how far a variant's answers on a GPU may be from the CPU's, relative to the largest logit."""
    return _TOLERANCE if description["quantization"] is None else _QUANTIZED_TOLERANCE


def torch_device_refusal(device: str) -> str | None:
    """Return why torch cannot compute on a device here, or None if it can."""
    if kind_of(device) != "cuda":
        return None if kind_of(device) == CPU else "torch computes on cpu and cuda"
    import torch

    count = torch.cuda.device_count()
    return None if ordinal_of(device) < count else f"torch can use {count} CUDA devices on this machine"


def device_entry(device: str) -> dict[str, str]:
    """Return a device as an argument or an entry; for the CPU nothing, which needs neither."""
    return {} if device == CPU else {"device": device}


@contextmanager
def on_gpu(where: str, device: str, *, remedy: str = "set device=auto, which serves on the CPU") -> Iterator[None]:
    """Say what to do where a model fails on a GPU that answers on the CPU; on the CPU, do nothing.

    Args:
        where: in which part of the work it would fail.
        device: on which.
        remedy: what to do about it in the configuration.

    Raises:
        ConfigError: it fails there.
    """
    try:
        yield
    except RuntimeError as error:
        if device == CPU:
            raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        advice = "Does forward() make tensors of its own? Make them on the device of its input; or"
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
            advice = "Free the GPU's memory; or"
        raise ConfigError(f"The model fails in {where} on device={device}: {reason}\n{advice} {remedy}.") from error
