"""Putting adapters beside a model's layers, through the library peft, and merging them when the training is over.

Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models" (2021, arXiv 2106.09685).
https://huggingface.co/docs/peft
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from safetensors.torch import save_file
from torch import nn

from overwinter.config.groups import FitConfig
from overwinter.errors import ConfigError, nearest
from overwinter.inputs import TensorInputs
from overwinter.models import CausalLanguageModel, PretrainedModel, fixed_weights, is_conv1d, other_weights
from overwinter.models.transformers_library import quiet
from overwinter.training.lora.settings import LoraConfig

_KEY = "train.lora"
_NAME = "default"  # of the one set of adapters
_ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)  # and Conv1D


class Adapters:
    """The adapters of a model; none of a model that is trained as it is.

    Attributes:
        left_alone: layer with weights -> why it has no adapter.
        trained: number of parameters that are trained; None: all.
    """

    def __init__(
        self, tuner: Any = None, *, left_alone: Mapping[str, str] | None = None, frozen: Sequence[nn.Parameter] = ()
    ) -> None:
        self._tuner, self._frozen = tuner, frozen
        self.left_alone: Mapping[str, str] = left_alone or {}
        self.trained: int | None = None

    def save(self, folder: Path) -> None:
        """Write the adapters alone, as peft reads them; an empty folder if there are none."""
        folder.mkdir(parents=True, exist_ok=True)
        if self._tuner is None:
            return
        state = _import_peft().get_peft_model_state_dict(
            self._tuner.model, adapter_name=_NAME, save_embedding_layers=False
        )
        tensors = {f"base_model.model.{name}": tensor.contiguous() for name, tensor in state.items()}
        save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
        self._tuner.peft_config[_NAME].save_pretrained(folder)

    def merge(self) -> None:
        """Add every adapter to the weight of its layer, and let all that was frozen for it be trained again."""
        if self._tuner is None:
            return
        self._tuner.merge_and_unload(progressbar=False, safe_merge=True)
        for parameter in self._frozen:
            parameter.requires_grad_(True)


def add_adapters(model: nn.Module, settings: FitConfig, inputs: TensorInputs, *, seed: int) -> Adapters:
    """Freeze a model and put adapters beside its layers, in place, if ``settings`` have `lora`.

    An adapter starts as zero, so that the model computes at first what it did. A head that was drawn anew is trained
    whole, as are the layers that ``lora.whole`` names.

    Args:
        model: its layers keep their names; until they are merged, those with an adapter are under ``base_layer``.
        settings: of the training.
        inputs: samples (batch, ...) on the model's device; one pass shows weights that other code reads.
        seed: of the drawing.

    Raises:
        ConfigError: a pattern fits no layer, no layer can have an adapter, or peft is missing.
    """
    lora: LoraConfig | None = settings.low_rank()
    if lora is None:
        return Adapters()
    peft = _import_peft()
    whole = {*_drawn(model), *_matching(_with_parameters(model), lora.whole, key="whole")}
    left = _left_alone(model, inputs) | dict.fromkeys(whole, "it is trained whole")
    able = [name for name in _adaptable(model) if name not in left]
    chosen = _matching(able, lora.targets, key="targets", left=left) if lora.targets else able
    if not chosen:
        reasons = "; ".join(f"{name}: {why}" for name, why in left.items()) or "none of them has a weight"
        raise ConfigError(f"{_KEY} finds no layer for an adapter: {reasons}. Train without it (train=default).")
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    adapters = Adapters(_tuned(peft, model, lora, chosen, seed), left_alone=left, frozen=trainable)
    for name in whole:
        model.get_submodule(name).requires_grad_(True)
    adapters.trained = sum(each.numel() for each in model.parameters() if each.requires_grad)
    return adapters


def _tuned(peft: ModuleType, model: nn.Module, lora: LoraConfig, chosen: Sequence[str], seed: int) -> Any:
    """Freeze the model and add the adapters; return peft's handle on them."""
    network, prefix = _network(model)
    names = "|".join(re.escape(name.removeprefix(prefix)) for name in chosen)
    config = peft.LoraConfig(r=lora.rank, lora_alpha=lora.alpha, lora_dropout=lora.dropout, target_modules=f"({names})")
    model.requires_grad_(False)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings(), quiet():
        torch.manual_seed(seed)
        # peft finds out by itself how a Conv1D's weight lies, and says so.
        warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
        return peft.LoraModel(network, {_NAME: config}, _NAME)


def _network(model: nn.Module) -> tuple[nn.Module, str]:
    """Return the module by whose names other programs know its adapters, and what our names have before those."""
    if isinstance(model, CausalLanguageModel | PretrainedModel):
        return model.network, "network."
    return model, ""


def _adaptable(model: nn.Module) -> list[str]:
    prefix = _network(model)[1]
    return [
        name
        for name, layer in model.named_modules()
        if name.startswith(prefix) and (isinstance(layer, _ADAPTED) or is_conv1d(layer))
    ]


def _left_alone(model: nn.Module, inputs: TensorInputs) -> dict[str, str]:
    able = _adaptable(model)
    left = {name: why for name, why in other_weights(model).items() if name not in able}
    names = Counter(id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False))
    for name in able:
        layer: Any = model.get_submodule(name)
        if getattr(layer, "groups", 1) > 1:
            left[name] = "it is a grouped convolution"
        elif names[id(layer.weight)] > 1:
            left[name] = "its weight is another layer's too"
    was_training = model.training
    left |= fixed_weights(model.eval(), inputs)  # type: ignore[arg-type]
    model.train(was_training)
    return left


def _drawn(model: nn.Module) -> Iterator[str]:
    """Yield the layers whose weights did not come with the model."""
    fresh = getattr(model, "fresh", ())
    for name, _ in model.named_parameters():
        if name in fresh or name.removeprefix(_network(model)[1]) in fresh:
            yield name.rpartition(".")[0]


def _with_parameters(model: nn.Module) -> list[str]:
    return [name for name, module in model.named_modules() if name and any(True for _ in module.parameters())]


def _matching(
    names: Sequence[str], patterns: Sequence[str], *, key: str, left: Mapping[str, str] | None = None
) -> list[str]:
    """Return the names that patterns fit, in their order.

    Raises:
        ConfigError: a pattern fits none.
    """
    for pattern in patterns:
        if any(fnmatchcase(name, pattern) for name in names):
            continue
        reasons = "; ".join(f"{name}: {why}" for name, why in (left or {}).items() if fnmatchcase(name, pattern))
        why = f" that can have an adapter ({reasons})" if reasons else f".{nearest(pattern, names)}"
        raise ConfigError(f"{_KEY}.{key} names {pattern!r}, which fits no layer{why}. Layers: {', '.join(names)}.")
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def _import_peft() -> ModuleType:
    try:
        with quiet():
            import peft
    except ImportError as error:
        raise ConfigError(f"{_KEY} needs the library peft: {error}.\n`pip install 'overwinter[lora]'`") from None
    module: ModuleType = peft
    return module
