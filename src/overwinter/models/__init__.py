"""Models: how one is built from its configuration, saved, described and rebuilt.

- `build_model` makes the module that ``model._target_`` names: `ConvNet`, or your own.
- `save_model` writes ``weights.safetensors`` and the sealed ``model.json``; `load_model` rebuilds the module
  from them, also after channels were removed, without pickle.
- `load_description` verifies a saved model and returns its ``model.json``, without torch; `stored_bytes` is
  its size; `write_description` is for the forms that are no torch modules, such as an ONNX graph.
- `prunable_weights`, `count_parameters` and `counted_sparsity` say what there is to remove and what is gone.
- `StepHook` is how a mask or a fake-quantizer takes part in fitting a model.

Your own model is any `torch.nn.Module` from a float tensor (batch, ...) to logits (batch, classes)::

    class Net(torch.nn.Module):
        def __init__(self, hidden: int) -> None: ...
        def forward(self, inputs: torch.Tensor) -> torch.Tensor: ...

Name it with ``model._target_=my_package.Net`` and ``trusted_targets=[my_package]``; the other keys
of ``model`` are its arguments. If `torch.fx` can trace it, whole channels can be removed too
(see `overwinter.sparsity`). ``examples/own_model`` is a complete one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from overwinter.models.building import build_model
    from overwinter.models.convnet import ConvNet
    from overwinter.models.counting import count_parameters, counted_sparsity, prunable_weights
    from overwinter.models.description import load_description, stored_bytes, write_description
    from overwinter.models.hooks import StepHook
    from overwinter.models.resizing import replace_tensors
    from overwinter.models.state import unique_state
    from overwinter.models.storage import load_model, save_model

__all__ = [
    "ConvNet",
    "StepHook",
    "build_model",
    "count_parameters",
    "counted_sparsity",
    "load_description",
    "load_model",
    "prunable_weights",
    "replace_tensors",
    "save_model",
    "stored_bytes",
    "unique_state",
    "write_description",
]

# Loaded when first used, so that a description can be verified without importing torch.
_HOMES = {
    "ConvNet": "convnet",
    "StepHook": "hooks",
    "build_model": "building",
    "count_parameters": "counting",
    "counted_sparsity": "counting",
    "load_description": "description",
    "load_model": "storage",
    "prunable_weights": "counting",
    "replace_tensors": "resizing",
    "save_model": "storage",
    "stored_bytes": "description",
    "unique_state": "state",
    "write_description": "description",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'overwinter.models' has no attribute {name!r}")
    return getattr(importlib.import_module(f"overwinter.models.{_HOMES[name]}"), name)
