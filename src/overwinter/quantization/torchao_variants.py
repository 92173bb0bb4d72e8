"""Variants that torchao makes of Linear layers: ``int8_dynamic``, ``fp8_weight_only`` and ``fp8_dynamic``.

Its own names stay in here. ``fp8_dynamic`` is made, judged and served on a GPU of compute capability 8.9 or more.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from overwinter.calibration.batches import first_samples, to_tensors
from overwinter.errors import OverwinterError
from overwinter.inputs import move
from overwinter.models import Grid, other_weights, prunable_weights, stored_bytes, write_description, write_weights
from overwinter.quantization.checking import refuse_integer_settings
from overwinter.quantization.frame import choose_layers, count_zeros, origin, tied_layers, weighted_layers
from overwinter.quantization.interface import QuantizationReport, Request
from overwinter.quantization.recipe import Recipe
from overwinter.quantization.settings import AS_EMBEDDING
from overwinter.quantization.vocabulary import tied_head
from overwinter.runtime import (
    compute_in_bfloat16,
    describe_torchao,
    find_runtime,
    import_torchao,
    load_torchao,
)

_WEIGHTS = "weights.safetensors"
_EXAMPLES = 3
_FP8_CAPABILITY = (8, 9)  # Ada and Hopper; https://developer.nvidia.com/cuda-gpus
_FP8_MULTIPLE = 16  # of a weight's rows and columns, which the kernel takes


class TorchaoVariant:
    """Makes ``weights.safetensors`` and ``model.json``, which `overwinter.runtime.load_torchao` loads."""

    variant: str
    weights: str
    activations: str
    needs: Mapping[str, str] = {}  # what is reported of it in model.json beyond these: its device, its inputs

    def configuration(self, torchao: Any) -> Any:
        """Return torchao's configuration of the method."""
        raise NotImplementedError

    def unfit(self, layer: nn.Linear) -> str | None:  # noqa: ARG002 -- most methods take all
        """Return why a layer stays in floating point, or None."""
        return None

    def quantize(self, request: Request) -> QuantizationReport:
        """Quantize in place and save; see `Quantizer`."""
        refuse_integer_settings(self.variant, request)
        model = request.model
        unfit = {name: request.fixed.get(name) or self._unfit(layer) for name, layer in weighted_layers(model).items()}
        head = tied_head(model)
        if head is not None and request.settings.head == AS_EMBEDDING:
            unfit[head] = "quantize.head=as_embedding, which stays in floating point here"
        wanted, left = choose_layers(self.variant, unfit, request.settings.skip)
        left |= other_weights(model)
        before = {layer: model.get_parameter(f"{layer}.weight").detach() for layer in wanted}  # torchao makes new ones
        untied = tied_layers(model, wanted)
        self._convert(model, before.keys())
        zeros_before, zeros_after = count_zeros(
            (name, weight == 0, _dequantized(model.get_submodule(name).weight) == 0) for name, weight in before.items()
        )
        saved = self._save(request, wanted, left, untied)
        return QuantizationReport(
            quantized=tuple(wanted),
            left_in_float=left,
            untied=tuple(untied),
            zeros_before=zeros_before,
            zeros_after=zeros_after,
            size_bytes=stored_bytes(saved),
            float_size_bytes=stored_bytes(request.description),
        )

    def _unfit(self, layer: nn.Module) -> str | None:
        if type(layer) is not nn.Linear:
            return f"{self.variant} serves Linear, not {type(layer).__name__}"
        return self.unfit(layer)

    def _convert(self, model: nn.Module, layers: Collection[str]) -> None:
        torchao = import_torchao()
        with warnings.catch_warnings():
            # torchao 0.17 mentions a layout of its first version, whichever version is asked for.
            warnings.filterwarnings("ignore", "Deprecation: PlainLayout", UserWarning)
            config = self.configuration(torchao)
        torchao.quantize_(model, config, filter_fn=lambda _module, name: name in layers)

    def _save(self, request: Request, quantized: list[str], left: dict[str, str], untied: list[str]) -> dict[str, Any]:
        tensors, described = describe_torchao(request.model)
        entries = write_weights(request.out, dict(sorted(tensors.items())))
        saved = write_description(
            request.out,
            parameters=request.description["parameters"],
            sparsity=_sparsity(request.model),
            tensors=entries,
            files=[_WEIGHTS],
            output=request.description.get("output"),
            **origin(self.variant, request),
            quantization={
                "method": self.variant,
                "weights": self.weights,
                "activations": self.activations,
                "quantized": quantized,
                "left_in_float": left,
                "untied": untied,
                "tensors": described,
                **self.needs,
            },
        )
        self._check_round_trip(request)
        return saved

    def _check_round_trip(self, request: Request) -> None:
        device = request.device if "device" in self.needs else "cpu"
        inputs = move(to_tensors(first_samples(request.calibration, _EXAMPLES))[0], device)
        loaded, made = load_torchao(request.out, trusted=request.trusted).to(device), request.model.to(device)
        with torch.inference_mode():
            if not torch.equal(loaded(inputs), made(inputs)):
                raise OverwinterError(
                    f"{request.out} gives other outputs than before it was saved. "
                    f"Remove {self.variant} from quantize.methods."
                )


class Int8Dynamic(TorchaoVariant):
    """Weights per output row, activations at run time."""

    variant = "int8_dynamic"
    weights = "int8 symmetric per output row"
    activations = "int8 per token at run time"
    recipe = Recipe(solver="nearest", grid=Grid(bits=8), activations="dynamic")  # much the same, for its report

    def configuration(self, torchao: Any) -> Any:
        """See `TorchaoVariant`."""
        # The inductor settings are global, and eager mode has no use for them. Only the second version can be saved.
        return torchao.Int8DynamicActivationInt8WeightConfig(set_inductor_config=False, version=2)


class Fp8WeightOnly(TorchaoVariant):
    """Weights in float8 (e4m3) with a scale per output row; a sparse weight's zeros stay."""

    variant = "fp8_weight_only"
    weights = "float8 e4m3 per output row"
    activations = "float32"

    def configuration(self, torchao: Any) -> Any:
        """See `TorchaoVariant`."""
        return torchao.Float8WeightOnlyConfig(set_inductor_config=False)


class Fp8Dynamic(TorchaoVariant):
    """Weights in float8 (e4m3) with a scale per output row, activations with one per token; products in float8."""

    variant = "fp8_dynamic"
    weights = "float8 e4m3 per output row"
    activations = "float8 e4m3 per token at run time"
    needs: Mapping[str, str] = {"device": "cuda", "inputs": "bfloat16"}

    def device_refusal(self, device: str) -> str | None:
        """Return why this device cannot compute it: that takes a GPU with kernels for float8."""
        if not device.startswith("cuda"):
            return "it has kernels on GPUs only; set device=cuda"
        reason = find_runtime("torch").device_refusal(device)
        if reason is not None:
            return reason
        capability = torch.cuda.get_device_capability(device)
        if capability >= _FP8_CAPABILITY:
            return None
        name, (major, minor) = torch.cuda.get_device_name(device), capability
        return f"it needs compute capability 8.9 (Ada, Hopper or later), and {name} has {major}.{minor}"

    def configuration(self, torchao: Any) -> Any:
        """See `TorchaoVariant`."""
        config = torchao.Float8DynamicActivationFloat8WeightConfig(
            granularity=torchao.PerRow(), set_inductor_config=False
        )
        # torch's own kernel wherever it is served, whatever else is installed there: the one that was measured.
        config.kernel_preference = type(config.kernel_preference).TORCH
        return config

    def unfit(self, layer: nn.Linear) -> str | None:
        """See `TorchaoVariant`; torchao would leave the layer as it is and say nothing."""
        rows, columns = layer.weight.shape
        if rows % _FP8_MULTIPLE == columns % _FP8_MULTIPLE == 0:
            return None
        return f"its weight is {rows} x {columns}, and the kernel takes multiples of {_FP8_MULTIPLE}"

    def _convert(self, model: nn.Module, layers: Collection[str]) -> None:
        for name in layers:
            model.get_submodule(name).to(torch.bfloat16)
        super()._convert(model, layers)
        compute_in_bfloat16(model, layers)


def _sparsity(model: nn.Module) -> float:
    weights = prunable_weights(model).values()
    nonzero = sum(int(torch.count_nonzero(_dequantized(weight))) for weight in weights)
    return 1.0 - nonzero / sum(weight.numel() for weight in weights)


def _dequantized(weight: Any) -> torch.Tensor:
    floats: torch.Tensor = weight.dequantize() if hasattr(weight, "qdata") else weight
    return floats
