"""Executions of the ledger in formats that others read. What is not known stays empty; nothing is guessed.

`emissions_csv` has CodeCarbon's columns, `model_card` the `co2_eq_emissions` of a Hugging Face model card, `sci` the
Software Carbon Intensity of a declared functional unit. Nothing here imports torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.disclosure.emissions_csv import append_emissions, emissions_row
    from overwinter.disclosure.model_card import card_emissions, write_card
    from overwinter.disclosure.sci import CarbonIntensity, Embodied, carbon_intensity

__all__ = [
    "CarbonIntensity",
    "Embodied",
    "append_emissions",
    "carbon_intensity",
    "card_emissions",
    "emissions_row",
    "write_card",
]

__getattr__ = lazily(
    __name__,
    {
        "CarbonIntensity": "sci",
        "Embodied": "sci",
        "append_emissions": "emissions_csv",
        "carbon_intensity": "sci",
        "card_emissions": "model_card",
        "emissions_row": "emissions_csv",
        "write_card": "model_card",
    },
)
