"""A model on disk: ``weights.safetensors`` and ``model.json``. Never pickle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from overwinter.errors import IntegrityError, OverwinterError
from overwinter.models.adapting import counted_output
from overwinter.models.building import rebuild_model
from overwinter.models.counting import count_parameters, counted_sparsity
from overwinter.models.description import load_description, write_description
from overwinter.models.resizing import resize_layers
from overwinter.models.state import is_finite, unique_state
from overwinter.models.swapping import describe_integers, swap_in, unique_integers
from overwinter.models.weights_file import WEIGHTS, is_packed, read_weights, write_weights
from overwinter.signature import Signature


def save_model(
    folder: Path,
    model: nn.Module,
    *,
    variant: str,
    model_config: Mapping[str, Any],
    signature: Signature,
    lineage: Mapping[str, Any],
    quantization: Mapping[str, Any] | None = None,
    quantization_aware: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Save a module so that `load_model` rebuilds it, and return its description.

    Args:
        folder: folder of the saved model, created if needed.
        model: module to save; a tensor with two names is stored once, a sparse one packed.
        variant: ``dense`` or ``sparse``.
        model_config: ``_target_`` and arguments of `build_model`, before any channel was removed. A model with a method
            ``saved_as()`` knows better: one that was read from a folder is rebuilt without it.
        signature: its inputs and outputs; see `find_signature`.
        lineage: digests of the inputs.
        quantization: description of the quantization; None if the model is not quantized. Its integer layers are
            described under ``layers``.
        quantization_aware: the grids that a float model was trained for; None if there are none.

    Raises:
        OverwinterError: a weight is NaN or infinite, or the disk is full.
    """
    tensors = _stored_tensors(model)
    _refuse_broken(tensors)
    integers = describe_integers(model)
    if integers:
        quantization = {**(quantization or {}), "layers": integers}
    folder.mkdir(parents=True, exist_ok=True)
    entries = write_weights(folder, tensors, _zeros(model))
    return write_description(
        folder,
        variant=variant,
        model_config=_rebuilt_from(model, model_config),
        signature=signature,
        output=counted_output(model),
        parameters=count_parameters(model),
        sparsity=counted_sparsity(model),
        tensors=entries,
        files=[WEIGHTS],
        lineage=lineage,
        quantization=quantization,
        quantization_aware=quantization_aware,
    )


def load_model(folder: Path, *, trusted: Sequence[str]) -> nn.Module:
    """Rebuild a saved module, on the CPU and in evaluation mode.

    The target is built with its saved arguments, its layers are resized to the saved shapes (channels may
    have been removed), quantized layers are replaced by integer layers, and every tensor is loaded: none may be
    missing or left over.

    Args:
        folder: folder that `save_model` wrote.
        trusted: packages whose classes ``_target_`` may name, besides overwinter's and torch.nn's.

    Raises:
        IntegrityError: the folder is damaged, or the model's code no longer matches it.
        ConfigError: the target is not trusted or cannot be built.
    """
    description = load_description(folder)
    if WEIGHTS not in description["files"]:
        raise IntegrityError(f"{folder} holds the variant {description['variant']!r}, which is not a torch module.")
    model = rebuild_model(description, trusted=trusted)
    saved = read_weights(folder, description)
    integers = (description["quantization"] or {}).get("layers", {})
    shapes = {f"{name}.weight": entry["shape"] for name, entry in integers.items()}
    resize_layers(model, {name: list(tensor.shape) for name, tensor in saved.items()} | shapes)
    swap_in(model, integers)
    _load_strictly(model, saved, folder)
    _restore_codes(model, description["tensors"])
    return model.eval()


def _rebuilt_from(model: nn.Module, model_config: Mapping[str, Any]) -> Mapping[str, Any]:
    saved_as = getattr(model, "saved_as", None)
    own: Mapping[str, Any] = model_config if saved_as is None else saved_as()
    return own


def _stored_tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return name -> tensor on the CPU, copied only if two share the same bytes, which safetensors refuses."""
    tensors = {name: tensor.to("cpu").contiguous() for name, tensor in unique_state(model).items()}
    end = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_ptr()):
        if tensor.data_ptr() < end:
            tensors[name] = tensor.clone()
        end = max(end, tensor.data_ptr() + tensor.nbytes)
    return tensors


def _zeros(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return name -> what the codes of an integer layer hold of a zero weight."""
    return {f"{name}.codes": layer.zero_codes().to("cpu") for name, layer in unique_integers(model).items()}


def _restore_codes(model: nn.Module, entries: Mapping[str, Mapping[str, Any]]) -> None:
    """Turn unpacked codes, in which a zero weight is 0, back into those that were saved."""
    for name, layer in unique_integers(model).items():
        if is_packed(entries.get(f"{name}.codes")):
            layer.codes.bitwise_xor_(layer.zero_codes())


def _load_strictly(model: nn.Module, saved: Mapping[str, torch.Tensor], folder: Path) -> None:
    state = model.state_dict(keep_vars=True)
    first_names: dict[int, str] = {}
    for name, tensor in state.items():
        first_names.setdefault(id(tensor), name)
    stored_under = {name: first_names[id(tensor)] for name, tensor in state.items()}
    missing = sorted({first for first in stored_under.values() if first not in saved})
    unknown = sorted(set(saved) - set(stored_under.values()))
    if missing or unknown:
        raise IntegrityError(
            f"{folder} does not match the model's code: missing tensors {missing}, unknown tensors {unknown}. "
            "Was the code changed after the model was saved? Train it again."
        )
    # The tensors are mapped from the file and read on first use: a model need not fit into memory twice.
    model.load_state_dict({name: saved[first] for name, first in stored_under.items()}, assign=True)
    for name, first in stored_under.items():
        if name != first:
            _share(model, name, first)


def _share(model: nn.Module, name: str, first: str) -> None:
    """Give a tensor its second name again."""
    path, _, leaf = name.rpartition(".")
    original, _, original_leaf = first.rpartition(".")
    setattr(model.get_submodule(path), leaf, getattr(model.get_submodule(original), original_leaf))


def _refuse_broken(tensors: Mapping[str, torch.Tensor]) -> None:
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not is_finite(tensor):
            raise OverwinterError(
                f"The tensor {name} holds NaN or infinite values, so this model is not saved. "
                "Lower train.learning_rate or train.gradient_clip_norm."
            )
