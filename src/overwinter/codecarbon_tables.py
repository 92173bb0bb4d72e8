"""CodeCarbon's tables, read without importing CodeCarbon: yearly average carbon intensity by country."""

from __future__ import annotations

import functools
import importlib.util
from dataclasses import dataclass
from pathlib import Path

from overwinter.errors import ConfigError, nearest
from overwinter.files import read_json


def codecarbon_data() -> Path | None:
    """Return the folder of CodeCarbon's tables, or None if it is not installed."""
    spec = importlib.util.find_spec("codecarbon")
    return Path(spec.origin).parent / "data" if spec and spec.origin else None


@dataclass(frozen=True, kw_only=True)
class Country:
    """One row of the table.

    Attributes:
        code: ISO 3166 alpha-3.
        name: English name.
        g_per_kwh: yearly average carbon intensity.
        year: year of the data.
    """

    code: str
    name: str
    g_per_kwh: float
    year: int

    @property
    def provenance(self) -> str:
        """Source of the figure: country, year and CodeCarbon's version."""
        from importlib.metadata import version  # slow to import, and rarely needed

        return f"{self.name}, average of {self.year} (CodeCarbon {version('codecarbon')})"


def find_country(code: str, *, key: str) -> Country:
    """Return the table's row of a country.

    Args:
        code: ISO 3166 alpha-3, such as FRA.
        key: configuration key, for error messages.

    Raises:
        ConfigError: the table has no such country, or no figure for it.
    """
    countries = _table()
    if code in countries:
        return countries[code]
    by_name = {country.name: country.code for country in countries.values()}
    hint = nearest(code.upper(), countries) if len(code) <= 3 else _named(nearest(code, by_name), by_name)
    raise ConfigError(
        f"{key}={code!r} is not in CodeCarbon's table. Write an ISO 3166 alpha-3 code, such as FRA.{hint}"
    )


@functools.cache
def _table() -> dict[str, Country]:
    data = codecarbon_data()
    if data is None:
        raise ConfigError(
            "The country table comes with codecarbon, which is not installed. Run `pip install codecarbon`."
        )
    rows = read_json(data / "private_infra" / "global_energy_mix.json", remedy="Reinstall codecarbon.")
    return {
        code: Country(
            code=code,
            name=row["country_name"],
            g_per_kwh=float(row["carbon_intensity"]),
            year=int(row["year"]),
        )
        for code, row in rows.items()
        if row.get("carbon_intensity")
    }


def _named(hint: str, by_name: dict[str, str]) -> str:
    """Return a hint with the code of the country that ``hint`` names."""
    name = next((name for name in by_name if f"'{name}'" in hint), None)
    return f" {name} is {by_name[name]}." if name else ""
