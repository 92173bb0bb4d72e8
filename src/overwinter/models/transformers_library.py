"""Building modules of the transformers library from a configuration alone, without code of the model's authors.

https://huggingface.co/docs/transformers
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import torch

from overwinter.errors import ConfigError

# Keys of a transformers configuration that name code of the model's authors or a quantization library.
_CODE = ("auto_map", "custom_pipelines", "quantization_config", "use_kernels")


def import_transformers() -> ModuleType:
    """Import the transformers library without its log messages.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        with quiet():
            import transformers
            import transformers.modeling_utils  # logs on import; otherwise imported with the first model
    except ImportError as error:
        raise ConfigError(
            f"Models of Hugging Face need the transformers library: {error}.\n`pip install 'overwinter[llm]'`"
        ) from None
    return transformers


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence log messages below errors, which concern other GPUs and remote models."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def without_progress_bars() -> Iterator[None]:
    """Silence the library's progress bars, which it shows for a second's work too."""
    bars = import_transformers().utils.logging
    shown = bars.is_progress_bar_enabled()
    bars.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            bars.enable_progress_bar()


def built(auto_class: str, config: Mapping[str, Any], *, what: str, random_weights: bool) -> Any:
    """Return the transformers module that a configuration describes, in float32.

    Args:
        auto_class: such as ``AutoModelForCausalLM``.
        config: configuration of the transformers library, as JSON, with ``model_type``.
        what: kind of model, for the message.
        random_weights: whether to draw initial weights; not needed before loading weights.

    Raises:
        ConfigError: the extra `llm` is missing, or the installed transformers has no such model.
    """
    transformers = import_transformers()
    from transformers.initialization import no_init_weights

    skipping = contextlib.nullcontext() if random_weights else no_init_weights()
    rest = {key: value for key, value in _harmless(config).items() if key != "model_type"}
    try:
        with quiet(), skipping:
            parsed = transformers.AutoConfig.for_model(str(config.get("model_type")), **rest)
            made = getattr(transformers, auto_class)
            return made.from_config(parsed, dtype=torch.float32, trust_remote_code=False)
    except (ValueError, TypeError, AttributeError, KeyError) as error:
        raise ConfigError(
            f"transformers {transformers.__version__} has no {what} of the type "
            f"{config.get('model_type')!r}: {str(error).strip().splitlines()[0]}\n"
            "Name another model or another model.head, or install a version of transformers that supports it."
        ) from None


def _harmless(config: Any) -> Any:
    """Return the configuration without keys that make the library fetch and run third-party code."""
    if isinstance(config, list | tuple):
        return [_harmless(each) for each in config]
    if not isinstance(config, Mapping):
        return config
    return {key: _harmless(value) for key, value in config.items() if not _names_code(str(key))}


def _names_code(key: str) -> bool:
    return key in _CODE or key.startswith("_") or key.endswith("_implementation")
