"""Yearly averages by country, from the table that comes with CodeCarbon."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from overwinter.carbon.constant import FixedIntensity
from overwinter.carbon.intensity import Intensity
from overwinter.carbon.settings import CarbonConfig
from overwinter.codecarbon_tables import find_country
from overwinter.config.settings import setting


@dataclass
class CountryCarbonConfig(CarbonConfig):
    """The yearly average of a country (ISO 3166 alpha-3, such as FRA), from CodeCarbon's table."""

    country: str = setting("ISO 3166 alpha-3")

    always_available: ClassVar[bool] = True

    def check(self, key: str) -> None:
        """Refuse a country that is not in the table."""
        find_country(self.country, key=f"{key}.country")

    def open(self) -> FixedIntensity:
        """Open the source."""
        found = find_country(self.country, key="carbon.country")
        return FixedIntensity(intensity=Intensity(g_per_kwh=found.g_per_kwh, source=found.provenance, kind="average"))
