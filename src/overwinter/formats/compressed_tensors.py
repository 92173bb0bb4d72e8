"""Hugging Face folders in vLLM's format for integer weights, `pack-quantized` of compressed-tensors.

A quantized layer NAME is stored as ``NAME.weight_packed`` (int32: the codes of a row one behind the other, the earlier
in the lower bits), ``NAME.weight_scale`` (out, groups), ``NAME.weight_shape`` (out, in) and, on an asymmetric grid,
``NAME.weight_zero_point`` (int32: packed like the codes, but along the outputs). ``config.json`` says which grid each
layer is on. Codes are those of `overwinter.models.Grid`: from 0, with the zero point of a symmetric grid in the middle.

https://github.com/vllm-project/compressed-tensors
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from overwinter import files
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models import CausalLanguageModel, Codes, Grid, IntegerLayer, IntegerLinear, integer_layers, load_model
from overwinter.models.description import is_language_model
from overwinter.models.given import is_given
from overwinter.models.state import unique_state

CONFIG, WEIGHTS = "config.json", "model.safetensors"
_BITS = (4, 8)  # that vLLM's kernels have
_WORD = 32  # bits
_NETWORK = "network."  # how the names of a `CausalLanguageModel`'s weights begin
_LARGEST = torch.finfo(torch.float16).max
_PACKED, _SCALE, _SHAPE, _ZERO = "weight_packed", "weight_scale", "weight_shape", "weight_zero_point"


def refusal(description: Mapping[str, Any]) -> str | None:
    """Return why the format cannot hold the variant that ``model.json`` describes, or None if it can."""
    if not is_language_model(description):
        return "it is for language models"
    if is_given(description):
        return "integers of a GGUF file have float minima, and it holds integer zero points. Export it as gguf"
    layers = (description["quantization"] or {}).get("layers")
    if not layers:
        return f"it holds integer weights, and the variant {description['variant']!r} has none"
    reasons = (_refused_layer(name, entry) for name, entry in layers.items())
    return next((reason for reason in reasons if reason is not None), None)


def write_compressed_tensors(model_folder: Path, folder: Path, *, trusted: Sequence[str] = ()) -> list[str]:
    """Write ``config.json`` and ``model.safetensors`` of a saved language model to an existing folder.

    Args:
        model_folder: a saved model with integer layers, which `refusal` accepts.
        folder: existing folder.
        trusted: packages whose classes the model's ``_target_`` may name.

    Returns:
        Notes for the user on what the files hold otherwise than the saved model.

    Raises:
        ConfigError: a value is too large for float16, or a layer has another size than the configuration says.
    """
    model = cast(CausalLanguageModel, load_model(model_folder, trusted=trusted))
    integers = integer_layers(model)
    _check_sizes(model, integers)
    packed = {name: layer for name, layer in integers.items() if _is_packed(model, layer)}
    rest = {name: layer for name, layer in integers.items() if name not in packed}
    tensors = dict(_floats(model, integers))
    for name, layer in packed.items():
        tensors |= {f"{_short(name)}.{part}": tensor for part, tensor in _parts(layer, name).items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    files.write_json(folder / CONFIG, _config(model, packed))
    if not rest:
        return []
    kinds = " and ".join(sorted({f"{layer.grid.bits}-bit {_short(name)}" for name, layer in rest.items()}))
    return [f"written as float16, since the format's readers have no integer embedding or head: {kinds}"]


def read_compressed_tensors(folder: Path) -> CausalLanguageModel:
    """Return the model of a folder that `write_compressed_tensors` wrote, its weights dequantized to float32.

    Raises:
        IntegrityError: the folder is damaged, or lacks weights.
    """
    config = files.read_json(folder / CONFIG, remedy="Export the model again.")
    grids = _grids(config.pop("quantization_config"))
    try:
        stored = load_file(folder / WEIGHTS)
    except (SafetensorError, OSError) as error:
        raise IntegrityError(f"{folder / WEIGHTS} cannot be read: {error}. Export the model again.") from None
    model = CausalLanguageModel(config=config, random_weights=False)
    names = {name.removesuffix(f".{_PACKED}") for name in stored if name.endswith(f".{_PACKED}")}
    state = {name: tensor.float() for name, tensor in stored.items() if name.rpartition(".")[0] not in names}
    state |= {f"{name}.bias": stored[f"{name}.bias"].float() for name in names if f"{name}.bias" in stored}
    for name in names:
        grid = grids.get(name) or grids["Linear"]
        state[f"{name}.weight"] = grid.decode(_codes(stored, name, grid))
    missing, unknown = model.network.load_state_dict(state, strict=False, assign=True)
    model.network.tie_weights()
    tied = set(model.network._tied_weights_keys or ()) if model.network.config.tie_word_embeddings else set()
    if unknown or set(missing) - tied:
        raise IntegrityError(f"{folder} lacks {sorted(set(missing) - tied)[:3]}, and has {unknown[:3]} too many.")
    return model.eval()


def _check_sizes(model: CausalLanguageModel, integers: Mapping[str, IntegerLayer]) -> None:
    """Refuse models with fewer heads or hidden units than the configuration says, by which readers build."""
    with torch.device("meta"):
        configured = CausalLanguageModel(config=model.config, random_weights=False)
    for name, layer in integers.items():
        wanted = configured.get_submodule(name).get_parameter("weight").shape
        if tuple(layer.weight_shape) != tuple(wanted):
            raise ConfigError(
                f"{_short(name)} is {list(layer.weight_shape)}, and {list(wanted)} by the configuration, which cannot "
                "name the heads or hidden units that are left. Export another format, or keep them "
                "(sparsify.structures)."
            )


def _refused_layer(name: str, entry: Mapping[str, Any]) -> str | None:
    bits, group_size, columns = entry["bits"], entry["group_size"], torch.Size(entry["shape"][1:]).numel()
    if entry["activations"] is not None:
        return f"it has float activations here, and those of {_short(name)} have {entry['activation_bits']} bits"
    if entry["smoothed"]:
        return f"it has no factors for a layer's input, as {_short(name)} has them (SmoothQuant)"
    if _is_embedding(name):
        return None  # written in float16
    if bits not in _BITS:
        return f"its readers have kernels for 4 and 8 bits, and {_short(name)} has {bits}"
    if group_size is not None and columns % group_size:
        return f"its groups must divide a row, and those of {_short(name)} are {group_size} of {columns} columns"
    return None


def _is_embedding(name: str) -> bool:
    """Whether a layer is the embedding or the head, which vLLM keeps in floating point."""
    return name.rpartition(".")[2] in ("embed_tokens", "lm_head")


def _is_packed(model: CausalLanguageModel, layer: IntegerLayer) -> bool:
    around = (model.network.get_input_embeddings(), model.network.get_output_embeddings())
    return isinstance(layer, IntegerLinear) and all(layer is not each for each in around)


def _short(name: str) -> str:
    return name.removeprefix(_NETWORK)


def _floats(model: CausalLanguageModel, integers: Mapping[str, IntegerLayer]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the tensors that are no packed layer's, in float16, with their names in Hugging Face's files."""
    stored = unique_state(model)
    tied = bool(model.network.config.tie_word_embeddings)
    for name, layer in integers.items():
        if not _is_packed(model, layer) and not (tied and layer is model.network.get_output_embeddings()):
            yield f"{_short(name)}.weight", _half(f"{name}.weight", layer.weight())
    for name, tensor in stored.items():
        owner, _, leaf = name.rpartition(".")
        if owner not in integers or leaf == "bias":
            yield _short(name), _half(name, tensor)


def _half(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor.contiguous()
    if float(tensor.abs().max()) > _LARGEST:
        raise ConfigError(f"{_short(name)} has values beyond float16's largest, {_LARGEST:g}: it cannot be exported.")
    return tensor.to(torch.float16).contiguous()


def _parts(layer: IntegerLayer, name: str) -> dict[str, torch.Tensor]:
    codes = layer.get_codes()
    parts = {
        _PACKED: pack_words(codes.codes, layer.grid.bits),
        _SCALE: _half(f"{name}.{_SCALE}", codes.scale),
        _SHAPE: torch.tensor(layer.weight_shape),
    }
    if codes.zero is not None:
        parts[_ZERO] = pack_words(codes.zero.T, layer.grid.bits).T.contiguous()  # (out * bits / 32, groups)
    return parts


def pack_words(codes: torch.Tensor, bits: int) -> torch.Tensor:
    """Return codes (rows, n), uint8, of 4 or 8 bits as (rows, ceil(n * bits / 32)) int32, the earlier in lower bits."""
    per_word = _WORD // bits
    even = torch.nn.functional.pad(codes, (0, -codes.shape[1] % per_word)).to(torch.int64)
    places = torch.arange(per_word) * bits
    words = (even.reshape(codes.shape[0], -1, per_word) << places).sum(-1)  # (rows, words), below 2**32
    return (words - ((words >> (_WORD - 1)) << _WORD)).to(torch.int32)  # the same bits with a sign


def unpack_words(words: torch.Tensor, bits: int, count: int) -> torch.Tensor:
    """Return the codes (rows, count) that `pack_words` packed."""
    places = torch.arange(_WORD // bits) * bits
    codes = (words.to(torch.int64)[:, :, None] >> places) & ((1 << bits) - 1)
    return codes.flatten(1)[:, :count].to(torch.uint8)


def _codes(stored: Mapping[str, torch.Tensor], name: str, grid: Grid) -> Codes:
    rows, columns = (int(side) for side in stored[f"{name}.{_SHAPE}"])
    scale = stored[f"{name}.{_SCALE}"].float()
    zero = None if grid.symmetric else unpack_words(stored[f"{name}.{_ZERO}"].T, grid.bits, rows).T.contiguous()
    return Codes(codes=unpack_words(stored[f"{name}.{_PACKED}"], grid.bits, columns), scale=scale, zero=zero)


def _config(model: CausalLanguageModel, packed: Mapping[str, IntegerLayer]) -> dict[str, Any]:
    """Return config.json: the model's own with its class, the numbers' type and the layers' grids."""
    names = {_short(name): layer.grid for name, layer in packed.items()}
    linear = {_short(name) for name, module in model.named_modules() if isinstance(module, torch.nn.Linear)}
    head = {_short(name) for name, module in model.named_modules() if module is model.network.get_output_embeddings()}
    quantization = {
        "quant_method": "compressed-tensors",
        "format": "pack-quantized",
        "quantization_status": "compressed",
        "config_groups": _groups(names),
        "ignore": sorted((linear | head) - set(names)),
        "kv_cache_scheme": None,
        "global_compression_ratio": None,
    }
    own = json.loads(json.dumps(model.config))
    return {
        **own,
        "architectures": [type(model.network).__name__],
        "torch_dtype": "float16",
        "quantization_config": quantization,
    }


def _groups(names: Mapping[str, Grid]) -> dict[str, Any]:
    """Return the grids and whose they are: all Linear layers', or each layer's by name where they differ."""
    grids = list(dict.fromkeys(names.values()))
    targets = [["Linear"]] if len(grids) == 1 else [[name for name in names if names[name] == grid] for grid in grids]
    return {
        f"group_{number}": {
            "targets": targets[number],
            "weights": {
                "num_bits": grid.bits,
                "type": "int",
                "symmetric": grid.symmetric,
                "strategy": "channel" if grid.group_size is None else "group",
                "group_size": grid.group_size,
                "dynamic": False,
            },
            "input_activations": None,
            "output_activations": None,
        }
        for number, grid in enumerate(grids)
    }


def _grids(quantization: Mapping[str, Any]) -> dict[str, Grid]:
    """Return target -> grid."""
    return {
        target: Grid(
            bits=group["weights"]["num_bits"],
            group_size=group["weights"]["group_size"],
            symmetric=group["weights"]["symmetric"],
        )
        for group in quantization["config_groups"].values()
        for target in group["targets"]
    }
