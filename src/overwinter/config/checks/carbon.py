"""Checks of the options of the group `carbon/` that may fail to answer, and the typing of their fall-backs."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from overwinter.config.checks.ranges import check_choice
from overwinter.config.groups.carbon import (
    ElectricityMapsCarbonConfig,
    FallibleCarbonConfig,
    LiveCarbonConfig,
    TraceCarbonConfig,
    WattTimeCarbonConfig,
)
from overwinter.errors import ConfigError

_MOST_TIMEOUT_S = 2.0
_KINDS = ("average", "marginal")
_FIXED = ("constant", "country")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def check_live_carbon(carbon: Any, key: str = "carbon") -> None:
    """Check an option of the group; those that always answer pass.

    Args:
        carbon: the typed group.
        key: where it stands.

    Raises:
        ConfigError: the first value that cannot be used, with its key.
    """
    if not isinstance(carbon, FallibleCarbonConfig):
        return
    if isinstance(carbon, TraceCarbonConfig):
        _check_trace(carbon, key)
    if isinstance(carbon, LiveCarbonConfig):
        _check_service(carbon, key)
    options = typed_fallbacks(carbon, key)
    if not options or options[-1].source not in _FIXED:
        raise ConfigError(f"{key}.fallback must end with one of {', '.join(_FIXED)}, which always answer.")
    for name, option in zip(carbon.fallback, options, strict=True):
        check_live_carbon(option, f"{key}.fallback.{name}")


def _check_trace(carbon: TraceCarbonConfig, key: str) -> None:
    check_choice(f"{key}.kind", carbon.kind, _KINDS)
    if not Path(carbon.path).is_file():
        raise ConfigError(f"{key}.path={carbon.path!r} is not there. Name a CSV file with time_utc,g_per_kwh.")


def _check_service(carbon: LiveCarbonConfig, key: str) -> None:
    _check_url(f"{key}.base_url", carbon.base_url)
    if not 0 < carbon.timeout_s <= _MOST_TIMEOUT_S:
        raise ConfigError(f"{key}.timeout_s={carbon.timeout_s} must be above 0 and at most {_MOST_TIMEOUT_S:g}.")
    if not carbon.refresh_s > 0:
        raise ConfigError(f"{key}.refresh_s={carbon.refresh_s} must be above 0.")
    if not carbon.max_age_s >= carbon.refresh_s:
        raise ConfigError(f"{key}.max_age_s={carbon.max_age_s} must be at least {key}.refresh_s={carbon.refresh_s}.")
    _check_names(carbon, key)


def typed_fallbacks(carbon: FallibleCarbonConfig, key: str = "carbon") -> list[Any]:
    """Return the fall-backs, each in the schema of its option.

    Raises:
        ConfigError: one of them names no option, or has a wrong or missing key.
    """
    return [_typed(node, f"{key}.fallback.{name}") for name, node in carbon.fallback.items()]


def _typed(node: Any, key: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    from overwinter.config.groups import SCHEMAS

    if not isinstance(node, Mapping):
        raise ConfigError(
            f"{key}={node!r} must be an option of the group carbon/, such as {{source: country, country: FRA}}."
        )
    try:
        merged = OmegaConf.merge(OmegaConf.structured(SCHEMAS["carbon"](node)), dict(node))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}: {str(error.msg or error).splitlines()[0]}") from None
    missing = sorted(OmegaConf.missing_keys(merged))
    if missing:
        raise ConfigError(
            f"No value for {', '.join(f'{key}.{name}' for name in missing)}. Take the option's file as it is."
        )
    return OmegaConf.to_object(merged)


def _check_url(key: str, url: str) -> None:
    parts = urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOCAL
    if not parts.hostname or not (parts.scheme == "https" or local):
        raise ConfigError(f"{key}={url!r} must begin with https://, or tokens would travel for everybody to read.")
    if parts.username or parts.password or parts.query:
        raise ConfigError(f"{key} must hold no name, password or query: the configuration is committed.")


def _check_names(carbon: LiveCarbonConfig, key: str) -> None:
    names: dict[str, str] = {}
    if isinstance(carbon, ElectricityMapsCarbonConfig):
        _require(f"{key}.zone", carbon.zone, "FR")
        names = {"token_env": carbon.token_env}
    if isinstance(carbon, WattTimeCarbonConfig):
        _require(f"{key}.region", carbon.region, "CAISO_NORTH")
        names = {"user_env": carbon.user_env, "password_env": carbon.password_env}
    for name, variable in names.items():
        if not _VARIABLE.fullmatch(variable):
            # Not repeated: it may be the token itself.
            raise ConfigError(
                f"{key}.{name} must name an environment variable, such as {name.removesuffix('_env').upper()}."
            )


def _require(key: str, value: str, example: str) -> None:
    if not value.strip():
        raise ConfigError(f"{key} is empty. Name one, such as {example}.")
