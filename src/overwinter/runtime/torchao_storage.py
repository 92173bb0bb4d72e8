"""Storage of modules that torchao quantized: safetensors for the tensors, ``model.json`` for the rest.

torchao's own metadata is kept, made byte-stable and moved from the safetensors header (whose order is not
fixed) into ``model.json`` under ``quantization.tensors``.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import nn

from overwinter.errors import IntegrityError
from overwinter.models import load_description, read_weights, rebuild_model, replace_tensors, unique_state

_SUPPORT = "torchao.prototype.safetensors.safetensors_support"
# torchao cannot take names without a dot, which a bare Linear has.
_PREFIX = "model."
_NAMES = "tensor_names"


def import_torchao() -> ModuleType:
    """Import torchao's quantization without its log messages; it takes seconds, so only for variants that need it."""
    with _without_noise():
        importlib.import_module(_SUPPORT)
        return importlib.import_module("torchao.quantization")


def describe_torchao(model: nn.Module) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return the tensors and the metadata of a quantized module.

    Args:
        model: model after torchao's ``quantize_``.

    Returns:
        Plain tensors on the CPU for safetensors, and name of a quantized weight -> JSON from which torchao rebuilds it.
    """
    with _without_noise():
        flatten = importlib.import_module(_SUPPORT).flatten_tensor_state_dict
    state = unique_state(model)
    quantized = {_PREFIX + name: tensor for name, tensor in state.items() if _is_quantized(tensor)}
    flat, metadata = flatten(quantized)
    plain = {name: tensor.detach().to("cpu", copy=True) for name, tensor in state.items() if not _is_quantized(tensor)}
    parts = {name.removeprefix(_PREFIX): tensor.to("cpu").contiguous() for name, tensor in flat.items()}
    stored = {name: _stable(text) for name, text in metadata.items() if name != _NAMES}
    return plain | parts, {name.removeprefix(_PREFIX): entry for name, entry in stored.items()}


def load_torchao(folder: Path, *, trusted: Sequence[str]) -> nn.Module:
    """Rebuild a quantized module, bit for bit, on the CPU and in evaluation mode.

    Args:
        folder: a saved model whose ``quantization`` has ``tensors``.
        trusted: packages whose classes ``_target_`` may name, besides overwinter's and torch.nn's.

    Raises:
        IntegrityError: the folder is damaged, comes from an incompatible torchao, or does not match the model's code.
    """
    description = load_description(folder)
    model = rebuild_model(description, trusted=trusted)
    state = _assembled(read_weights(folder, description), description["quantization"]["tensors"])
    tied = {name: first for name, first in _tied(model).items() if name not in state}
    if set(state) | set(tied) != set(model.state_dict()):
        differing = ", ".join(sorted(set(state) ^ set(model.state_dict())))
        raise IntegrityError(
            f"{folder} does not match the model's code: {differing}. Was the code changed after it was saved? "
            "Run `dvc repro quantize`."
        )
    by_layer: dict[str, dict[str, torch.Tensor]] = defaultdict(dict)
    for name, tensor in state.items():
        layer, _, leaf = name.rpartition(".")
        by_layer[layer][leaf] = tensor
    for layer, tensors in by_layer.items():
        replace_tensors(model.get_submodule(layer), tensors)
    for name, first in tied.items():
        layer, _, leaf = name.rpartition(".")
        original, _, original_leaf = first.rpartition(".")
        setattr(model.get_submodule(layer), leaf, getattr(model.get_submodule(original), original_leaf))
    if description["quantization"].get("inputs") == "bfloat16":
        compute_in_bfloat16(model, description["quantization"]["quantized"])
    return model.eval()


class Bfloat16Linear(nn.Linear):
    """`torch.nn.Linear` that computes in bfloat16, for kernels that support no other type."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:  # noqa: A002 -- as of the float layer
        """Return (..., out) of (..., in), in the type of the input."""
        return super().forward(input.bfloat16()).to(input.dtype)


def compute_in_bfloat16(model: nn.Module, layers: Iterable[str]) -> None:
    """Convert Linear layers to `Bfloat16Linear`, in place; their tensors are unchanged."""
    for name in layers:
        model.get_submodule(name).__class__ = Bfloat16Linear


def _tied(model: nn.Module) -> dict[str, str]:
    """Return each further name of a tensor -> its first name, under which it is stored."""
    firsts: dict[int, str] = {}
    state = model.state_dict(keep_vars=True)
    for name, tensor in state.items():
        firsts.setdefault(id(tensor), name)
    return {name: firsts[id(tensor)] for name, tensor in state.items() if firsts[id(tensor)] != name}


def _assembled(stored: Mapping[str, torch.Tensor], described: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    with _without_noise():
        unflatten = importlib.import_module(_SUPPORT).unflatten_tensor_state_dict
    _refuse_other_names(described)
    metadata = {_PREFIX + name: json.dumps(entry) for name, entry in described.items()}
    metadata[_NAMES] = json.dumps(list(metadata))
    prefixed = {_PREFIX + name: tensor for name, tensor in stored.items()}
    try:
        quantized, rest = unflatten(prefixed, metadata)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise IntegrityError(
            f"This version of torchao cannot rebuild the quantized weights: {error}\n"
            "Install the version they were made with, or run `dvc repro quantize`."
        ) from None
    return {name.removeprefix(_PREFIX): tensor for name, tensor in (quantized | rest).items()}


def _refuse_other_names(described: Mapping[str, Any]) -> None:
    """Accept only names of types: torchao looks up data types and enums as any attribute of a module."""
    values: list[Any] = [described]
    while values:
        each = values.pop()
        if isinstance(each, dict):
            kind, name = each.get("_type"), each.get("_data")
            known = (
                isinstance(vars(torch).get(str(name)), torch.dtype) if kind == "torch.dtype" else str(name).isupper()
            )
            if isinstance(name, str) and not known:
                raise IntegrityError(f"A quantized weight names {name[:80]!r}, which is not a {kind}. Don't use it.")
            values += each.values()
        elif isinstance(each, list):
            values += each


def _is_quantized(tensor: torch.Tensor) -> bool:
    return type(tensor) not in (torch.Tensor, nn.Parameter)


def _stable(text: str) -> dict[str, Any]:
    """Parse torchao's JSON, and sort the parts of a tensor, which it lists in the order of a set."""
    entry: dict[str, Any] = json.loads(text)
    entry["_tensor_data_names"] = sorted(entry["_tensor_data_names"])
    return entry


@contextlib.contextmanager
def _without_noise() -> Iterator[None]:
    """Silence the log messages of importing torchao, on kernels for other GPUs and on an enum."""

    def wanted(record: logging.LogRecord) -> bool:
        message = record.getMessage()
        return not ("Failed to load" in message or "Enum subclass" in message)

    loggers = [logging.getLogger(name) for name in ("torchao", "torch.utils._pytree")]
    for logger in loggers:
        logger.addFilter(wanted)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(wanted)
