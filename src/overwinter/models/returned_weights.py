"""Weights that a stage removed and a later one brought back, seen by comparing ``model.json``. No torch is needed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.errors import OverwinterError
from overwinter.models.description import DESCRIPTION, load_description


def refuse_returned_weights(model: Path, earlier: Mapping[str, Path]) -> None:
    """Refuse a saved model of whose sparse layers fewer weights are zero than in a model that it was made from.

    Layers that were packed as sparse then, and have the same shape now, are compared.

    Args:
        model: the saved model.
        earlier: stage -> its saved model; one that is not on this machine is passed over.

    Raises:
        OverwinterError: with the stage, and the layer in which most came back.
        IntegrityError: a model is damaged.
    """
    now = load_description(model)["tensors"]
    for stage, folder in earlier.items():
        if not (folder / DESCRIPTION).is_file():
            continue
        then = load_description(folder)["tensors"]
        back = {name: count for name, count in _returned(then, now).items() if count > 0}
        if back:
            worst = max(back, key=lambda name: back[name])
            raise OverwinterError(
                f"{sum(back.values())} weights that {stage} removed are no longer zero in {model}, {back[worst]} of "
                f"them in {worst}: a stage between broke the masks.\nGive its `overwinter.training.fit` the hook "
                "`overwinter.sparsity.hold_masks(model, layers)`, or let quantize need another stage."
            )


def _returned(then: Mapping[str, Any], now: Mapping[str, Any]) -> dict[str, int]:
    return {
        name: now[name]["nonzero"] - entry["nonzero"]
        for name, entry in then.items()
        if "packed" in entry and name in now and now[name]["shape"] == entry["shape"]
    }
