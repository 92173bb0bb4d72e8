"""Models: building from the configuration, saving, describing and rebuilding.

- `build_model` creates the module that ``model._target_`` names: `ConvNet`, or your own.
- `adapt` lets every model take a batch as the data gives it, one tensor or several by name, and return one tensor;
  `Positional` and `arguments` are for exporters and tracers, which want tensors as arguments.
- `find_signature` finds inputs and outputs from real samples; ``model.json`` keeps them, `signature_of` reads them.
- `save_model` writes ``weights.safetensors`` and the sealed ``model.json``; `load_model` rebuilds the module
  from them, also after channels were removed, without pickle. A saved model may name only classes (`rebuild_model`);
  those of the user's own pipeline (`own_models`) may also name a trusted function.
- `write_weights` and `read_weights` are for the weights alone: sparse tensors are stored as a bitmap and their values.
- `load_description` verifies a saved model and returns its ``model.json``, without torch; `stored_bytes` is its size,
  and `unpacked_bytes` what it would be without sparse tensors; `write_description` is for variants that are not torch
  modules, such as an ONNX graph.
- `write_variants` lists the models that one stage wrote, `find_variants` finds those of all stages by name.
- `IntegerLinear`, `IntegerConv2d` and `IntegerEmbedding` hold a weight as `Codes` on a `Grid`; `integer_layers` finds
  them, `integer_type` and `replace_layer` insert them. They are saved and loaded bit for bit; a tied head shares the
  codes of its embedding (`unique_integers` leaves it out). `embedding_factor` knows the embeddings that can be held so.
- `AwareLayer` is the grid that quantization-aware training found for a layer.
- `prunable_weights`, `count_parameters` and `counted_sparsity` report prunable weights, parameters and zeros;
  `computed_weights` and `fixed_weights` report the layers that must keep their weight, and why; `other_weights` those
  that are neither Linear nor a convolution, `is_conv1d` knows the linear layers of GPT-2.
- `pretrained` reads a model of Hugging Face from a local folder, the hub or a GGUF file (``model=huggingface``, extra
  `llm`) into a `CausalLanguageModel`, or a `PretrainedModel`: a classifier of texts, tokens or images, or an encoder;
  `pretrained_tokenizer`, `leading_tokens` and `save_tokenizer` are for its tokenizer.
- `write_given` keeps the GGUF file that a model came in (`given_file`) as variants (`is_given`), each by `save_given`;
  `read_integers` returns its own integers by layer, each a `GgufMatrix`: dequantized it is the dense model's weight.
- `refuse_returned_weights` refuses a model in which weights that an earlier stage removed came back.
- `twin` is a second module on the same memory, `is_finite` checks a tensor without copying it: a model may be as
  large as the memory.
- `StepHook` is the interface of masks and fake-quantizers to training.

Your own model is any `torch.nn.Module` that takes what your data set gives, such as a float tensor (batch, ...), and
returns what your task needs, such as logits (batch, classes)::

    class Net(torch.nn.Module):
        def __init__(self, hidden: int) -> None: ...
        def forward(self, inputs: torch.Tensor) -> torch.Tensor: ...

Name it with ``model._target_=my_package.Net`` and ``trusted_targets=[my_package]``; the other keys
of ``model`` are its arguments. If `torch.fx` can trace it, whole channels can be removed too
(see `overwinter.sparsity`). ``examples/own_model`` is a complete one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.models.adapting import Positional, adapt, arguments
    from overwinter.models.attention import declares_own_heads, layer_by_layer
    from overwinter.models.aware import AwareLayer
    from overwinter.models.building import build_model, rebuild_model
    from overwinter.models.causal import CausalLanguageModel
    from overwinter.models.convnet import ConvNet
    from overwinter.models.counting import (
        count_parameters,
        counted_sparsity,
        is_conv1d,
        other_weights,
        prunable_weights,
    )
    from overwinter.models.description import (
        already_verified,
        load_description,
        own_models,
        signature_of,
        stored_bytes,
        write_description,
    )
    from overwinter.models.gguf_blocks import GgufMatrix
    from overwinter.models.gguf_integers import read_integers
    from overwinter.models.given import is_given, save_given
    from overwinter.models.grid import Codes, Grid
    from overwinter.models.hooks import ShrinkingHook, StepHook
    from overwinter.models.huggingface import leading_tokens, pretrained, pretrained_tokenizer, save_tokenizer
    from overwinter.models.integer import IntegerConv2d, IntegerEmbedding, IntegerLayer, IntegerLinear, embedding_factor
    from overwinter.models.keeping import given_file, write_given
    from overwinter.models.layer_weights import computed_weights, fixed_weights
    from overwinter.models.pages import keep_changes_on_disk
    from overwinter.models.pretrained_model import PretrainedModel
    from overwinter.models.resizing import declare_sizes, is_resizable, replace_tensors, resize_layers
    from overwinter.models.returned_weights import refuse_returned_weights
    from overwinter.models.signature import find_signature
    from overwinter.models.state import copy_module, drop_negative_zeros, is_finite, twin, unique_state
    from overwinter.models.storage import load_model, save_model
    from overwinter.models.swapping import integer_layers, integer_type, replace_layer, unique_integers
    from overwinter.models.variants import find_variants, write_variants
    from overwinter.models.weights_file import read_weights, unpacked_bytes, write_weights

__all__ = [
    "AwareLayer",
    "CausalLanguageModel",
    "Codes",
    "ConvNet",
    "GgufMatrix",
    "Grid",
    "IntegerConv2d",
    "IntegerEmbedding",
    "IntegerLayer",
    "IntegerLinear",
    "Positional",
    "PretrainedModel",
    "ShrinkingHook",
    "StepHook",
    "adapt",
    "already_verified",
    "arguments",
    "build_model",
    "computed_weights",
    "copy_module",
    "count_parameters",
    "counted_sparsity",
    "declare_sizes",
    "declares_own_heads",
    "drop_negative_zeros",
    "embedding_factor",
    "find_signature",
    "find_variants",
    "fixed_weights",
    "given_file",
    "integer_layers",
    "integer_type",
    "is_conv1d",
    "is_finite",
    "is_given",
    "is_resizable",
    "keep_changes_on_disk",
    "layer_by_layer",
    "leading_tokens",
    "load_description",
    "load_model",
    "other_weights",
    "own_models",
    "pretrained",
    "pretrained_tokenizer",
    "prunable_weights",
    "read_integers",
    "read_weights",
    "rebuild_model",
    "refuse_returned_weights",
    "replace_layer",
    "replace_tensors",
    "resize_layers",
    "save_given",
    "save_model",
    "save_tokenizer",
    "signature_of",
    "stored_bytes",
    "twin",
    "unique_integers",
    "unique_state",
    "unpacked_bytes",
    "write_description",
    "write_given",
    "write_variants",
    "write_weights",
]

# Loaded on first use, so that a description can be verified without importing torch.
_HOMES = {
    "AwareLayer": "aware",
    "CausalLanguageModel": "causal",
    "Codes": "grid",
    "ConvNet": "convnet",
    "GgufMatrix": "gguf_blocks",
    "Grid": "grid",
    "IntegerConv2d": "integer",
    "IntegerEmbedding": "integer",
    "IntegerLayer": "integer",
    "IntegerLinear": "integer",
    "Positional": "adapting",
    "PretrainedModel": "pretrained_model",
    "ShrinkingHook": "hooks",
    "StepHook": "hooks",
    "adapt": "adapting",
    "already_verified": "description",
    "arguments": "adapting",
    "build_model": "building",
    "computed_weights": "layer_weights",
    "declares_own_heads": "attention",
    "layer_by_layer": "attention",
    "copy_module": "state",
    "count_parameters": "counting",
    "fixed_weights": "layer_weights",
    "counted_sparsity": "counting",
    "drop_negative_zeros": "state",
    "find_signature": "signature",
    "given_file": "keeping",
    "find_variants": "variants",
    "embedding_factor": "integer",
    "integer_type": "swapping",
    "integer_layers": "swapping",
    "unique_integers": "swapping",
    "is_conv1d": "counting",
    "is_finite": "state",
    "is_given": "given",
    "is_resizable": "resizing",
    "keep_changes_on_disk": "pages",
    "leading_tokens": "huggingface",
    "load_description": "description",
    "load_model": "storage",
    "own_models": "description",
    "pretrained": "huggingface",
    "pretrained_tokenizer": "huggingface",
    "other_weights": "counting",
    "prunable_weights": "counting",
    "read_integers": "gguf_integers",
    "read_weights": "weights_file",
    "rebuild_model": "building",
    "refuse_returned_weights": "returned_weights",
    "replace_layer": "swapping",
    "declare_sizes": "resizing",
    "replace_tensors": "resizing",
    "resize_layers": "resizing",
    "save_given": "given",
    "save_model": "storage",
    "save_tokenizer": "huggingface",
    "signature_of": "description",
    "stored_bytes": "description",
    "twin": "state",
    "unique_state": "state",
    "unpacked_bytes": "weights_file",
    "write_description": "description",
    "write_given": "keeping",
    "write_variants": "variants",
    "write_weights": "weights_file",
}

__getattr__ = lazily(__name__, _HOMES)
