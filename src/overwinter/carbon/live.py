"""From the group `carbon/` to sources that may fail to answer: a service with its memory, or a trace, and the chain."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from overwinter.carbon.cached import LiveSource
from overwinter.carbon.electricity_maps import ElectricityMaps
from overwinter.carbon.fallback import FallbackChain
from overwinter.carbon.provider import Provider
from overwinter.carbon.sources import open_source
from overwinter.carbon.trace import read_trace
from overwinter.carbon.trace_source import TraceSource
from overwinter.carbon.uk_grid import UkGrid
from overwinter.carbon.watttime import WattTime
from overwinter.config.checks.carbon import typed_fallbacks
from overwinter.errors import ConfigError


def open_live(config: Any) -> FallbackChain:
    """Open a service with its fall-backs.

    Raises:
        ConfigError: a token is not in the environment.
    """
    live = LiveSource(
        _PROVIDERS[config.source](config),
        folder=Path(config.cache).expanduser() if config.cache else _cache(),
        refresh_s=config.refresh_s,
        max_age_s=config.max_age_s,
        timeout_s=config.timeout_s,
    )
    return FallbackChain([live, *map(open_source, typed_fallbacks(config))])


def open_trace(config: Any) -> FallbackChain:
    """Open a recorded trace with its fall-backs.

    Raises:
        ConfigError: the file holds no trace.
    """
    path = Path(config.path)
    trace = TraceSource(read_trace(path), name=path.name, kind=config.kind)
    return FallbackChain([trace, *map(open_source, typed_fallbacks(config))])


def _electricity_maps(config: Any) -> Provider:
    return ElectricityMaps(config.base_url, zone=config.zone, token=_secret("token_env", config.token_env))


def _watttime(config: Any) -> Provider:
    return WattTime(
        config.base_url,
        region=config.region,
        user=_secret("user_env", config.user_env),
        password=_secret("password_env", config.password_env),
    )


_PROVIDERS: dict[str, Callable[[Any], Provider]] = {
    "uk_grid": lambda config: UkGrid(config.base_url),
    "electricity_maps": _electricity_maps,
    "watttime": _watttime,
}


def _secret(key: str, variable: str) -> str:
    value = os.environ.get(variable, "").strip()
    if not value:
        raise ConfigError(
            f"carbon.{key}={variable}: the environment has no such variable. Run `export {variable}=...` first."
        )
    if not value.isascii() or not value.isprintable():
        raise ConfigError(f"carbon.{key}={variable}: what the environment holds there cannot be a token. Set it again.")
    return value


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "overwinter" / "carbon"
