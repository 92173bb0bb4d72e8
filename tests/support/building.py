"""Building saved models for runtimes, on examples drawn here: no test has a data set behind its model."""

from collections.abc import Sequence
from pathlib import Path

import torch

from overwinter import models, runtime
from overwinter.models.description import is_language_model

_TOKENS = 5  # fewer than the smallest vocabulary of a test


def examples_for(folder: Path, count: int = runtime.EXAMPLES) -> runtime.Array:
    """Return inputs (count, ...) of the saved model's shape: normally distributed, or tokens of a language model."""
    description = models.load_description(folder)
    return drawn(
        models.signature_of(description).sample_shape,
        count,
        tokens=is_language_model(description),
    )


def drawn(input_shape: Sequence[int], count: int = runtime.EXAMPLES, *, tokens: bool = False) -> runtime.Array:
    """Return inputs (count, ...), others for every count."""
    generator, shape = torch.Generator().manual_seed(count), (count, *input_shape)
    if tokens:
        return torch.randint(_TOKENS, shape, generator=generator).numpy()
    return torch.randn(shape, generator=generator).numpy()


def build(folder: Path, name: str, out: Path, *, trusted: Sequence[str], device: str = "cpu") -> None:
    """Build a saved model for a runtime."""
    runtime.build(folder, name, out, examples=examples_for(folder), trusted=trusted, device=device)
