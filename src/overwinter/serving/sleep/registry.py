"""Sleep policies by name: the built-in ones, and those of other packages."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from overwinter.errors import ConfigError, nearest
from overwinter.registries import SLEEP_POLICIES
from overwinter.serving.sleep.interface import SleepPolicy
from overwinter.serving.sleep.latency import WithinLatency
from overwinter.serving.sleep.levels import SleepLevels

Factory = Callable[..., SleepPolicy]


def open_policy(
    name: str,
    sleep_levels: SleepLevels,
    *,
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
    limit_p95_s: float | None = None,
) -> SleepPolicy:
    """Return a sleep policy.

    Args:
        name: A built-in policy, or an entry point in the group `overwinter.sleep_policies`: a callable that takes
            the sleep levels and the options.
        sleep_levels: The sleep levels and their costs.
        seed: The random seed of a policy with an argument `seed`.
        options: The policy's own keyword arguments.
        limit_p95_s: The limit on the 95th percentile of the time that requests wait for a wake.

    Raises:
        ConfigError: The policy or an option is unknown, or an option is missing or wrong.
    """
    policy = _call(name, SLEEP_POLICIES.find(name), sleep_levels, seed, dict(options or {}))
    return policy if limit_p95_s is None else WithinLatency(policy, sleep_levels, limit_s=limit_p95_s)


def policy_names() -> list[str]:
    """Return the names of all policies, including those of plug-ins."""
    return SLEEP_POLICIES.names()


def scheduled(sleep_levels: SleepLevels, *, windows: Any, outside: str = "break_even", seed: int = 0) -> SleepPolicy:
    """Return a policy that keeps the model ready in windows, and another one outside them."""
    from overwinter.serving.sleep.scheduled import Scheduled
    from overwinter.serving.sleep.windows import parse_windows

    parsed = parse_windows(windows)
    return Scheduled(open_policy(outside, sleep_levels, seed=seed), sleep_levels, windows=parsed)


def _call(name: str, factory: Factory, sleep_levels: SleepLevels, seed: int, options: dict[str, Any]) -> SleepPolicy:
    parameters = list(inspect.signature(factory).parameters.values())[1:]
    known = [parameter.name for parameter in parameters if parameter.kind != parameter.VAR_KEYWORD]
    if "seed" in known:
        options.setdefault("seed", seed)
    unknown = [option for option in options if option not in known]
    if unknown and len(known) == len(parameters):
        known_names = f"Known: {', '.join(known)}." if known else "It has none."
        raise ConfigError(
            f"The sleep policy {name!r} has no option {unknown[0]!r}. {known_names}{nearest(unknown[0], known)}"
        )
    for parameter in parameters:
        if parameter.name in known and parameter.default is parameter.empty and parameter.name not in options:
            raise ConfigError(f"The sleep policy {name!r} needs the option {parameter.name!r}.")
    return factory(sleep_levels, **options)
