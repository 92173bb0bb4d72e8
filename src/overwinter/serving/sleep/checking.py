"""Checks of `serve.sleep` that need the policies themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.errors import ConfigError
from overwinter.serving.sleep.levels import SleepLevel, SleepLevels
from overwinter.serving.sleep.registry import open_policy

if TYPE_CHECKING:
    from overwinter.config.groups.serve import SleepConfig


def check_sleep(sleep: SleepConfig) -> None:
    """Open the policy with the configured sleep levels, so that its own checks run before anything is served.

    Raises:
        ConfigError: The policy, one of its options or a window is not valid.
    """
    count = len(sleep.levels)
    levels = [
        SleepLevel(name=level, power_w=float(count - place)) for place, level in enumerate(["ready", *sleep.levels])
    ]
    try:
        open_policy(
            sleep.policy,
            SleepLevels(levels),
            seed=sleep.seed,
            options=dict(sleep.options),
            limit_p95_s=sleep.wake_p95_s,
        )
        if sleep.windows:
            from overwinter.serving.sleep.windows import parse_windows

            parse_windows([vars(window) for window in sleep.windows])
    except ConfigError as error:
        raise ConfigError(f"serve.sleep: {error}") from None
