"""Construction of a served model's sleep levels and policy from the group `serve/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from overwinter.serving.sleep import SleepLevel, SleepLevels, SleepPolicy, open_policy

if TYPE_CHECKING:
    from overwinter.config.groups.serve import PowerDrawConfig, ServeConfig


def make_sleep_levels(serve: ServeConfig) -> SleepLevels:
    """Return the sleep levels, the top one `ready`, with the configured watts, wake times and wake joules.

    Going to `preforked` costs the joules of starting a process, the difference to a wake from `off`. Its time is left
    out: the few requests that arrive meanwhile wait as if the model was off.
    """
    power_draw = serve.power_draw
    levels = [SleepLevel(name="ready", power_w=power_draw.ready_w)]
    for name in serve.sleep.levels:
        wake_s = float(getattr(serve.sleep, f"{name}_wake_s"))
        power_w, wake_j = (
            float(getattr(power_draw, f"{name}_w")),
            wake_j_from(name, power_draw) + power_draw.off_w * wake_s,
        )
        sleep_j = prefork_j(power_draw) if name == "preforked" else 0.0
        levels.append(SleepLevel(name=name, power_w=power_w, wake_s=wake_s, wake_j=wake_j, sleep_j=sleep_j))
    return SleepLevels(levels)


def wake_j_from(level: str, power_draw: PowerDrawConfig) -> float:
    """Return the joules of one wake from a sleep level, above the draw of `off` in the same time."""
    return float(getattr(power_draw, f"{level}_wake_j"))


def prefork_j(power_draw: PowerDrawConfig) -> float:
    """Return the joules of starting a preforked process."""
    return max(0.0, power_draw.off_wake_j - power_draw.preforked_wake_j)


def make_policy(serve: ServeConfig, sleep_levels: SleepLevels) -> SleepPolicy:
    """Return the configured policy, with the latency limit and the windows applied.

    Raises:
        ConfigError: The policy is unknown, or an option is wrong.
    """
    sleep = serve.sleep
    policy = open_policy(
        sleep.policy, sleep_levels, seed=sleep.seed, options=dict(sleep.options), limit_p95_s=sleep.wake_p95_s
    )
    if not sleep.windows:
        return policy
    from overwinter.serving.sleep.scheduled import Scheduled
    from overwinter.serving.sleep.windows import parse_windows

    return Scheduled(policy, sleep_levels, windows=parse_windows(cast("list[Any]", sleep.windows)))
