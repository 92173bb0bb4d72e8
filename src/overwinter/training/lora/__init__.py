"""Low-rank adaptation (LoRA): a pretrained model stays frozen, and what it learns is a small sum beside its layers.

- `settings`: `train.lora`, read without torch.
- `adapters`: which layers get an adapter, through the library peft, and how they are merged into them in the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.training.lora.adapters import Adapters, add_adapters

__all__ = [
    "Adapters",
    "add_adapters",
]

# Loaded when first used: settings are read without torch.
_HOMES = {
    "Adapters": "adapters",
    "add_adapters": "adapters",
}

__getattr__ = lazily(__name__, _HOMES)
