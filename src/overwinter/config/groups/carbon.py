"""The options of the group `carbon/` that may fail to answer, with their fall-backs: services, and traces."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from overwinter.config.groups.energy import CarbonConfig


@dataclass
class FallibleCarbonConfig(CarbonConfig):
    """A source that does not always answer.

    Attributes:
        fallback: further options of this group by any name, asked in this order; the last is `constant` or
            `country`.
    """

    fallback: dict[str, Any] = MISSING


@dataclass
class TraceCarbonConfig(FallibleCarbonConfig):
    """A recorded trace: CSV with `time_utc` and `g_per_kwh`.

    Attributes:
        path: of the file, relative to the project.
        kind: `average` or `marginal`.
    """

    path: str = MISSING
    kind: str = MISSING


@dataclass
class LiveCarbonConfig(FallibleCarbonConfig):
    """What every service has.

    Attributes:
        base_url: of the service; HTTPS, or a server on this machine.
        refresh_s: seconds between two questions.
        max_age_s: an answer older than this does not count any more, and the fall-backs are asked.
        timeout_s: of one question, at most 2; the work never waits for it, save once at the start.
        cache: folder of the last answers; null takes ~/.cache/overwinter/carbon.
    """

    base_url: str = MISSING
    refresh_s: float = MISSING
    max_age_s: float = MISSING
    timeout_s: float = MISSING
    cache: str | None = MISSING


@dataclass
class UkGridCarbonConfig(LiveCarbonConfig):
    """Great Britain's grid: average, half-hourly, with a forecast for 48 hours. No token."""


@dataclass
class ElectricityMapsCarbonConfig(LiveCarbonConfig):
    """Electricity Maps: average of a zone's consumption, hourly.

    Attributes:
        zone: such as `FR` or `US-CAL-CISO`.
        token_env: the environment variable that holds the token.
    """

    zone: str = MISSING
    token_env: str = MISSING


@dataclass
class WattTimeCarbonConfig(LiveCarbonConfig):
    """WattTime: marginal intensity of a region, every five minutes, with a forecast for a day.

    Attributes:
        region: such as `CAISO_NORTH`, which is open to every account.
        user_env: the environment variable that holds the account's name.
        password_env: the one that holds its password.
    """

    region: str = MISSING
    user_env: str = MISSING
    password_env: str = MISSING
