"""Finding a model's signature: from real samples, each collated alone, and the model's outputs to them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import each, named
from overwinter.signature import DTYPES, OUTPUT, Signature, TensorSpec, dtype_name


def find_signature(model: nn.Module, singles: Sequence[Any]) -> Signature:
    """Return what a model takes and returns; an axis varies if the samples differ in it.

    Args:
        model: adapted, on any device; its training mode is put back.
        singles: several real samples, each collated alone (1, ...), as tensors or arrays.

    Raises:
        ConfigError: there are none, they have other names or ranks, their dtype is none that a model takes, or the
            model cannot take one.
    """
    if not singles:
        raise ConfigError("There are no samples to find the model's inputs from. Give the training split some.")
    device = next((tensor.device for tensor in model.parameters()), torch.device("cpu"))
    batches = [each(lambda value: torch.as_tensor(value).to(device), single) for single in singles]
    with _evaluating(model):
        outputs = [_output(model, batch) for batch in batches]
    given = [named(batch) for batch in batches]
    if len({tuple(names) for names in given}) > 1:
        raise ConfigError(
            f"Samples have different inputs: {', '.join(given[0])} and {', '.join(next(_others(given)))}. "
            "Give every sample the same."
        )
    inputs = tuple(_spec(name, [batch[name] for batch in given]) for name in given[0])
    # Sessions return float32, whatever a model computes in.
    return Signature(inputs=inputs, outputs=(_spec(OUTPUT, [output.float() for output in outputs]),))


def _others(given: Sequence[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    return (names for names in given if tuple(names) != tuple(given[0]))


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.inference_mode():
            yield
    finally:
        for module in training:
            module.training = True


def _output(model: nn.Module, batch: Any) -> torch.Tensor:
    try:
        output: torch.Tensor = model(batch)
    except OverwinterError:
        raise
    except Exception as error:
        specs = "; ".join(str(_spec(name, [tensor])) for name, tensor in named(batch).items())
        raise ConfigError(
            f"The model cannot take one sample of the data ({specs}): {type(error).__name__}: {error}\n"
            "Change the model or the data so that they fit; OVERWINTER_DEBUG=1 shows the traceback."
        ) from error
    return output


def _spec(name: str, tensors: Sequence[torch.Tensor]) -> TensorSpec:
    kinds = {dtype_name(tensor) for tensor in tensors}
    ranks = {tensor.dim() for tensor in tensors}
    if len(kinds) > 1 or len(ranks) > 1:
        shapes = [list(tensor.shape) for tensor in tensors]
        raise ConfigError(f"Samples of {name} differ in dtype or rank: {sorted(kinds)}, {shapes}. Make them alike.")
    dtype = kinds.pop()
    if dtype not in DTYPES:
        raise ConfigError(f"{name} is {dtype}; models take {', '.join(DTYPES)}. Convert it in the data set.")
    sides = list(zip(*(tensor.shape for tensor in tensors), strict=True))
    fixed = tuple(side[0] if len(set(side)) == 1 else None for side in sides)
    return TensorSpec(name=name, dtype=dtype, shape=(None, *fixed[1:]))
