"""What the same joules would emit in several regions, now and at the cleanest start within a deadline.

A region is a country of CodeCarbon's table (`DEU`), a trace (`grid.csv`), or an option of configs/carbon/ with its zone
(`uk_grid`, `electricity_maps:DE`). Averages and marginal intensities are different quantities, and are not ranked
against each other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from overwinter.budget import Range
from overwinter.carbon import CarbonConfig, FallibleCarbonConfig
from overwinter.carbon.cleanest import cleanest_start
from overwinter.carbon.http import SourceError
from overwinter.config.composing_many import Composer
from overwinter.errors import ConfigError

_COUNTRY = re.compile(r"[A-Z]{3}")
_J_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class RegionCost:
    """The carbon of one amount of energy in one region.

    Attributes:
        name: The region, as it was given.
        source: The source of the intensity; empty if it is not known.
        kind: `average` or `marginal`.
        g_per_kwh: The present intensity; None if it is not known.
        carbon_g: Grams, if the work starts now.
        start_utc: The cleanest start within the deadline; None without a forecast.
        best_g_per_kwh: The mean intensity over the work that starts then.
        best_carbon_g: Grams, if it starts then.
        note: Why something is not known.
    """

    name: str
    source: str = ""
    kind: str = ""
    g_per_kwh: float | None = None
    carbon_g: Range | None = None
    start_utc: datetime | None = None
    best_g_per_kwh: float | None = None
    best_carbon_g: Range | None = None
    note: str = ""


def compare_regions(
    composer: Composer,
    overrides: Sequence[str],
    names: Sequence[str],
    *,
    energy_j: Range,
    duration_s: Range,
    now_utc: datetime,
    deadline_utc: datetime,
) -> list[RegionCost]:
    """Return the carbon of a pipeline in each region; without names, where the project's configuration says.

    Args:
        composer: Composes the configurations of the project.
        overrides: The overrides of the configuration.
        names: The regions.
        energy_j: The forecast energy of the pipeline.
        duration_s: Its forecast duration; the cleanest start leaves time for its upper end.
        now_utc: The present time.
        deadline_utc: When the work must have ended.

    Raises:
        ConfigError: a region is unknown, or its option needs what is not set.
    """
    found = []
    for name in names or ("as configured",):
        carbon = composer.compose([*overrides, *(_overrides(name) if names else ())]).config.carbon
        found.append(
            _cost(
                name,
                carbon,
                energy_j=energy_j,
                duration_s=duration_s,
                now_utc=now_utc,
                latest_utc=deadline_utc - timedelta(seconds=duration_s.high),
            )
        )
    return found


def _overrides(name: str) -> list[str]:
    """Return the overrides that select a region.

    Raises:
        ConfigError: the option has no zones.
    """
    if _COUNTRY.fullmatch(name):
        return ["carbon=country", f"carbon.country={name}"]
    if name.endswith(".csv"):
        return ["carbon=trace", f"carbon.path='{name}'"]
    option, colon, zone = name.partition(":")
    if not colon:
        return [f"carbon={option}"]
    key = {"electricity_maps": "zone", "watttime": "region"}.get(option)
    if key is None:
        raise ConfigError(f"--region {name}: {option} has no zones. Leave out :{zone}.")
    return [f"carbon={option}", f"carbon.{key}='{zone}'"]


def _cost(
    name: str, carbon: CarbonConfig, *, energy_j: Range, duration_s: Range, now_utc: datetime, latest_utc: datetime
) -> RegionCost:
    # Without its fall-backs: another region's figure would be no answer.
    source = carbon.first() if isinstance(carbon, FallibleCarbonConfig) else carbon.open()
    try:
        present = source.at(now_utc)
    except SourceError as error:
        return RegionCost(name=name, note=f"no data: {error}")
    ahead = getattr(source, "forecast", None)
    start = cleanest_start(
        ahead(now_utc) if ahead else (),
        now_utc=now_utc,
        duration_s=duration_s.expected,
        latest_utc=max(now_utc, latest_utc),
    )
    return RegionCost(
        name=name,
        source=present.source,
        kind=present.kind,
        g_per_kwh=present.g_per_kwh,
        carbon_g=energy_j.scaled((start.now_g_per_kwh if start else present.g_per_kwh) / _J_PER_KWH),
        start_utc=start.start_utc if start else None,
        best_g_per_kwh=start.g_per_kwh if start else None,
        best_carbon_g=energy_j.scaled(start.g_per_kwh / _J_PER_KWH) if start else None,
        note="" if start else "no forecast, so a later start cannot be judged",
    )
