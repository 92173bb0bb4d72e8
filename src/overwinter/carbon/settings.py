"""Settings of the carbon intensity sources, the group `carbon/`; `open` imports the code that uses the network."""

from __future__ import annotations

import os
import re
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import urlsplit

from omegaconf import MISSING

from overwinter.carbon.intensity import IntensitySource, Kind
from overwinter.config.groups.plugin import PluginConfig
from overwinter.config.settings import check_settings, setting
from overwinter.config.validation import typed_carbon
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from overwinter.carbon.fallback import FallbackChain
    from overwinter.carbon.provider import Provider

_LOCAL = ("localhost", "127.0.0.1", "::1")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass
class CarbonConfig(PluginConfig):
    """Base settings of a source, in `configs/carbon/` or an entry point in `overwinter.intensity_sources`.

    Attributes:
        always_available: whether the source never fails, so that it can end a fall-back chain.
    """

    source: str = MISSING

    always_available: ClassVar[bool] = False

    @abstractmethod
    def open(self) -> IntensitySource:
        """Open the source."""


@dataclass
class FallibleCarbonConfig(CarbonConfig):
    """Base settings of a source that may fail.

    Attributes:
        fallback: further options of this group under any names, tried in this order; the last never fails.
    """

    fallback: dict[str, Any] = MISSING

    @abstractmethod
    def first(self) -> IntensitySource:
        """Open the source itself, without its fall-backs."""

    def open(self) -> FallbackChain:
        """Open the source with its fall-backs.

        Raises:
            ConfigError: a token is not in the environment, or a file is not a trace.
        """
        from overwinter.carbon.fallback import FallbackChain

        return FallbackChain([self.first(), *(option.open() for option in self._options("carbon").values())])

    def check(self, key: str) -> None:
        """Refuse a chain whose last option may fail, and invalid options."""
        options = self._options(key)
        if not options or not list(options.values())[-1].always_available:
            raise ConfigError(f"{key}.fallback must end with an option that is always available: constant or country.")
        for where, option in options.items():
            check_settings(option, key=where)
            option.check(where)

    def _options(self, key: str) -> dict[str, CarbonConfig]:
        keys = {f"{key}.fallback.{name}": node for name, node in self.fallback.items()}
        return {where: typed_carbon(node, where) for where, node in keys.items()}


@dataclass
class TraceCarbonConfig(FallibleCarbonConfig):
    """A recorded trace: CSV with `time_utc` and `g_per_kwh`."""

    path: str = setting("path of the CSV file, relative to the project")
    kind: str = setting(
        "average: of the whole mix; marginal: of one more kilowatt-hour", choices=("average", "marginal")
    )

    def check(self, key: str) -> None:
        """Refuse a path that is not a file."""
        if not Path(self.path).is_file():
            raise ConfigError(f"{key}.path={self.path!r} does not exist. Name a CSV file with time_utc,g_per_kwh.")
        super().check(key)

    def first(self) -> IntensitySource:
        """Read the trace."""
        from overwinter.carbon.trace import read_trace
        from overwinter.carbon.trace_source import TraceSource

        path = Path(self.path)
        kind: Kind = "average" if self.kind == "average" else "marginal"
        return TraceSource(read_trace(path), name=path.name, kind=kind)


@dataclass
class LiveCarbonConfig(FallibleCarbonConfig):
    """Base settings of a network service."""

    base_url: str = setting("URL of the service: HTTPS, or a server on this machine")
    refresh_s: float = setting("seconds between two requests", above=0)
    max_age_s: float = setting("maximum age of a cached response, in seconds", above=0)
    timeout_s: float = setting(
        "timeout of a request in seconds, at most 2; requests run in the background", above=0, at_most=2
    )
    cache: str | None = setting("folder of cached responses; null: ~/.cache/overwinter/carbon")

    @abstractmethod
    def provider(self) -> Provider:
        """Return the client of the service.

        Raises:
            ConfigError: a token is not in the environment.
        """

    def check(self, key: str) -> None:
        """Refuse URLs that could leak a token, and responses that expire before the next request."""
        _check_url(f"{key}.base_url", self.base_url)
        if not self.max_age_s >= self.refresh_s:
            raise ConfigError(f"{key}.max_age_s={self.max_age_s} must be at least {key}.refresh_s={self.refresh_s}.")
        super().check(key)

    def first(self) -> IntensitySource:
        """Open the service with its cache."""
        from overwinter.carbon.cached import LiveSource

        return LiveSource(
            self.provider(),
            folder=Path(self.cache).expanduser() if self.cache else _cache(),
            refresh_s=self.refresh_s,
            max_age_s=self.max_age_s,
            timeout_s=self.timeout_s,
        )


@dataclass
class UkGridCarbonConfig(LiveCarbonConfig):
    """Great Britain's grid: average, half-hourly, with a forecast for 48 hours. No token."""

    def provider(self) -> Provider:
        """Return the client of the service."""
        from overwinter.carbon.uk_grid import UkGrid

        return UkGrid(self.base_url)


@dataclass
class ElectricityMapsCarbonConfig(LiveCarbonConfig):
    """Electricity Maps: average of a zone's consumption, hourly."""

    zone: str = setting("zone, such as FR or US-CAL-CISO; https://app.electricitymaps.com shows the zones")
    token_env: str = setting("name of the environment variable with the token; never the token itself")

    def check(self, key: str) -> None:
        """Refuse an empty zone, and invalid names of environment variables."""
        super().check(key)
        _require(f"{key}.zone", self.zone, "FR")
        _check_variable(f"{key}.token_env", self.token_env)

    def provider(self) -> Provider:
        """Return the client of the service, with the token."""
        from overwinter.carbon.electricity_maps import ElectricityMaps

        return ElectricityMaps(self.base_url, zone=self.zone, token=_secret("token_env", self.token_env))


@dataclass
class WattTimeCarbonConfig(LiveCarbonConfig):
    """WattTime: marginal intensity of a region, every five minutes, with a forecast for a day."""

    region: str = setting("balancing region; CAISO_NORTH is open to every account")
    user_env: str = setting("name of the environment variable with the account's name; never the name itself")
    password_env: str = setting("name of the environment variable with its password; never the password itself")

    def check(self, key: str) -> None:
        """Refuse an empty region, and invalid names of environment variables."""
        super().check(key)
        _require(f"{key}.region", self.region, "CAISO_NORTH")
        _check_variable(f"{key}.user_env", self.user_env)
        _check_variable(f"{key}.password_env", self.password_env)

    def provider(self) -> Provider:
        """Return the client of the service, with the account."""
        from overwinter.carbon.watttime import WattTime

        return WattTime(
            self.base_url,
            region=self.region,
            user=_secret("user_env", self.user_env),
            password=_secret("password_env", self.password_env),
        )


def _check_url(key: str, url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ConfigError(f"{key}={url!r} must start with https://: without TLS, tokens are sent in clear text.")
    if parts.username or parts.password or parts.query:
        raise ConfigError(f"{key} must not contain a name, password or query: the configuration is committed.")


def _check_variable(key: str, variable: str) -> None:
    if not _VARIABLE.fullmatch(variable):
        # The value is not repeated: it may be the token itself.
        example = key.rpartition(".")[2].removesuffix("_env").upper()
        raise ConfigError(f"{key} must name an environment variable, such as {example}.")


def _require(key: str, value: str, example: str) -> None:
    if not value.strip():
        raise ConfigError(f"{key} is empty. Name one, such as {example}.")


def _secret(key: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"carbon.{key}={variable}: the environment variable is not set. Run `export {variable}=...` first."
        )
    if not value.isascii() or not value.isprintable():
        raise ConfigError(
            f"carbon.{key}={variable}: the value of the environment variable is not a valid token. Set it again."
        )
    return value


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overwinter" / "carbon"
