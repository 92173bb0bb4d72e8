"""A request to a served model, made from what its bundle has recorded: for measuring what responses cost."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from overwinter.inputs import named
from overwinter.serving.tensors_of import input_tensors

if TYPE_CHECKING:
    from overwinter.bundle import Bundle

_TOKENS = 16


def example_request(bundle: Bundle, model: str) -> tuple[str, dict[str, Any]]:
    """Return the path and the JSON body of a request with one recorded sample.

    Args:
        bundle: The verified bundle.
        model: The name under which it is served.
    """
    inputs = named(bundle.canary.inputs)
    if bundle.generates:
        tokens = next(iter(inputs.values()))[0]
        return "/v1/completions", {"model": model, "prompt": tokens.tolist(), "max_tokens": _TOKENS}
    tensors = [
        {**described, "shape": list(inputs[name][:1].shape), "data": inputs[name][:1].ravel().tolist()}
        for described in input_tensors(bundle)
        if (name := described["name"]) in inputs
    ]
    return f"/v2/models/{model}/infer", {"inputs": tensors}
