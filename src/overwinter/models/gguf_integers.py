"""The integers of a GGUF file by the names of our model's layers: its own codes, scales and minima, never rounded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError
from overwinter.inputs import Array
from overwinter.models.gguf_blocks import FORMATS, GgufMatrix, take_apart
from overwinter.models.gguf_file import FLOATS, gguf_reader, parsed_once
from overwinter.models.transformers_library import import_transformers, quiet, without_progress_bars

_WEIGHT = ".weight"
_NETWORK = "network."  # of a `CausalLanguageModel`
_REMEDY = "Its integers cannot be kept; the file itself can be run."


def read_integers(path: Path) -> Mapping[str, GgufMatrix]:
    """Return layer -> its integers, for every quantized matrix of a GGUF file; each is read when it is looked up.

    The names are those of a `CausalLanguageModel`'s modules, such as ``network.model.layers.0.self_attn.q_proj``,
    the rows in transformers' order: llama.cpp has those of a Llama's queries and keys in another. A tied head has no
    entry of its own. Dequantized, they are the weights of `pretrained`.

    Raises:
        ConfigError: a quantized tensor has another format than `FORMATS`, is no matrix of one layer, or is transposed.
        IntegrityError: the file is cut short.
    """
    with parsed_once(path):
        return _read_integers(path)


def _read_integers(path: Path) -> Mapping[str, GgufMatrix]:
    reader = gguf_reader(path)
    tensors = {str(tensor.name): tensor for tensor in reader.tensors if tensor.tensor_type.name not in FLOATS}
    for tensor in tensors.values():
        _check_tensor(path, tensor)
    architecture = str(reader.fields["general.architecture"].contents())
    config = _config(path)
    names = _layer_names(architecture, config)
    unknown = sorted(set(tensors) - set(names))
    if unknown:
        raise ConfigError(f"{path}: the tensor {unknown[0]} belongs to no layer of the model. {_REMEDY}")
    processor = _processor(architecture, config)
    orders = {name: _row_order(path, tensor, processor) for name, tensor in tensors.items()}
    return _Integers({names[name]: (tensor, orders[name]) for name, tensor in tensors.items()})


class _Integers(Mapping[str, GgufMatrix]):
    """Matrices that are taken apart when they are looked up, since a file may be as large as the memory."""

    def __init__(self, tensors: Mapping[str, tuple[Any, Array | None]]) -> None:
        self._tensors = tensors

    def __getitem__(self, name: str) -> GgufMatrix:
        tensor, order = self._tensors[name]
        return take_apart(tensor.data if order is None else tensor.data[order], tensor.tensor_type.name)

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _check_tensor(path: Path, tensor: Any) -> None:
    kind = tensor.tensor_type.name
    if kind not in FORMATS:
        raise ConfigError(
            f"{path}: the tensor {tensor.name} has the format {kind}; integers are kept of {', '.join(FORMATS)}. "
            f"{_REMEDY}"
        )
    if tensor.data.ndim != 2 or not str(tensor.name).endswith(_WEIGHT):
        raise ConfigError(
            f"{path}: the tensor {tensor.name} has the shape {[int(each) for each in reversed(tensor.shape)]}, "
            f"which is no matrix of one layer. {_REMEDY}"
        )


def _config(path: Path) -> dict[str, Any]:
    """Return transformers' configuration, as it reads it from the file."""
    import_transformers()
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    with quiet(), without_progress_bars():
        config: dict[str, Any] = load_gguf_checkpoint(str(path))["config"]  # type: ignore[no-untyped-call]
    return config


def _processor(architecture: str, config: Mapping[str, Any]) -> Any:
    """Return what transformers changes the tensors of an architecture with when it reads them."""
    from transformers.modeling_gguf_pytorch_utils import TENSOR_PROCESSORS, TensorProcessor

    return TENSOR_PROCESSORS.get(architecture, TensorProcessor)(config=dict(config))  # type: ignore[no-untyped-call]


def _layer_names(architecture: str, config: Mapping[str, Any]) -> dict[str, str]:
    """Return tensor -> layer, of a model with transformers' configuration."""
    import gguf
    import torch

    transformers = import_transformers()
    with quiet(), torch.device("meta"):
        parsed = transformers.AutoConfig.for_model(**config)
        network = transformers.AutoModelForCausalLM.from_config(parsed, trust_remote_code=False)
    known = next(number for number, name in gguf.MODEL_ARCH_NAMES.items() if name == architecture)
    names = gguf.get_tensor_name_map(known, parsed.num_hidden_layers)
    layers = [name for name, _ in network.named_modules()]
    found = {names.get_name(layer): layer for layer in layers}
    return {f"{name}{_WEIGHT}": _NETWORK + layer for name, layer in found.items() if name is not None}


def _row_order(path: Path, tensor: Any, processor: Any) -> Array | None:
    """Return which of the tensor's rows is each of the layer's, or None if they are in order.

    transformers' processor is asked with the rows' numbers in place of their weights.
    """
    rows = np.arange(tensor.data.shape[0])
    try:
        found: Array = processor.process(rows[:, None], str(tensor.name), tensor_key_mapping={}).weights
    except ValueError:  # it reshapes by the number of inputs too
        found = rows
    if found.shape != (len(rows), 1):
        raise ConfigError(
            f"{path}: the tensor {tensor.name} is not stored as a layer's matrix with other rows. {_REMEDY}"
        )
    order = found[:, 0]
    return None if (order == rows).all() else order
