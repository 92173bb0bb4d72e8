"""The augmentation that a data set asks for."""

from __future__ import annotations

import inspect
from typing import Any, cast

from overwinter.data.protocol import Transform


def batch_transform(dataset: Any) -> Transform | None:
    """Return a data set's `transform` of whole batches; None for none, and for one of single samples (torchvision)."""
    transform = getattr(dataset, "transform", None)
    if not callable(transform):
        return None
    try:
        inspect.signature(transform).bind(None, None)
    except (TypeError, ValueError):
        return None
    return cast(Transform, transform)
