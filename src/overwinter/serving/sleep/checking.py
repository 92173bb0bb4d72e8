"""Checks of `serve.sleep` that need the policies themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.errors import ConfigError
from overwinter.serving.sleep.ladder import Ladder, Rung
from overwinter.serving.sleep.registry import open_policy

if TYPE_CHECKING:
    from overwinter.config.groups.serve import SleepConfig


def check_sleep(sleep: SleepConfig) -> None:
    """Open the policy on a ladder of the same rungs, so that its own checks speak before anything is served.

    Raises:
        ConfigError: the policy, one of its options or a window cannot be used.
    """
    count = len(sleep.rungs)
    rungs = [Rung(name=rung, power_w=float(count - place)) for place, rung in enumerate(["ready", *sleep.rungs])]
    try:
        open_policy(
            sleep.policy, Ladder(rungs), seed=sleep.seed, options=dict(sleep.options), limit_p95_s=sleep.wake_p95_s
        )
        if sleep.windows:
            from overwinter.serving.sleep.windows import parse_windows

            parse_windows([vars(window) for window in sleep.windows])
    except ConfigError as error:
        raise ConfigError(f"serve.sleep: {error}") from None
