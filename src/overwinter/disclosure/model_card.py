"""The `co2_eq_emissions` of a Hugging Face model card (https://huggingface.co/docs/hub/model-cards-co2): grams."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from overwinter import __version__
from overwinter.errors import ConfigError, OverwinterError
from overwinter.ledger import ExecutionRecord, total

KEY = "co2_eq_emissions"


def card_emissions(
    executions: Sequence[ExecutionRecord], *, training_type: str | None = None, location: str | None = None
) -> dict[str, Any]:
    """Return the metadata of executions together; what is not declared is left out.

    Args:
        executions: The executions, read with their documents.
        training_type: `pre-training` or `fine-tuning`.
        location: The place of the grid, as granular as possible.

    Raises:
        OverwinterError: No execution has known emissions.
    """
    known = [execution for execution in executions if execution.carbon_g is not None]
    if not known:
        raise OverwinterError("None of the selected executions has known emissions.")
    declared = {"training_type": training_type, "geographical_location": location, "hardware_used": _hardware(known)}
    return {
        "emissions": sum(execution.carbon_g or 0.0 for execution in known),
        "source": _source(known, len(executions)),
        **{name: value for name, value in declared.items() if value},
    }


def write_card(path: Path, emissions: dict[str, Any]) -> None:
    """Write the metadata into a model card, whose other content is kept; the card is made if it is missing.

    Raises:
        ConfigError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import metadata_load, metadata_save
    except ImportError as error:
        raise ConfigError(f"model cards need huggingface_hub: {error}.\n`pip install 'overwinter[llm]'`") from None
    metadata = (metadata_load(path) if path.exists() else None) or {}
    metadata_save(path, {**metadata, KEY: emissions})


def _source(known: Sequence[ExecutionRecord], selected: int) -> str:
    together = total("all", known)
    left_out = f", {selected - len(known)} more of unknown emissions" if selected > len(known) else ""
    intensities = sorted({str((each.energy or {}).get("intensity_source")) for each in known} - {"None"})
    grid = f"; carbon intensity: {', '.join(intensities)}" if intensities else ""
    return (
        f"overwinter {__version__}: {len(known)} executions{left_out}, {together.energy_j / 3.6e6:.3g} kWh, "
        f"{together.measured_fraction:.0%} measured, the rest modelled{grid}"
    )


def _hardware(known: Sequence[ExecutionRecord]) -> str:
    """Return processors and the number of GPUs, as recorded."""
    names = {each.energy["machine"]: _gpus(each) for each in known if each.energy and each.energy.get("machine")}
    return "; ".join(name + (f", {gpus} GPUs" if gpus else "") for name, gpus in sorted(names.items()))


def _gpus(execution: ExecutionRecord) -> int:
    components = (execution.energy or {}).get("components", ())
    return len({each["device"] for each in components if each["device"].startswith("gpu:")})
