"""The ladder and the policy of a served model, from the group `serve/`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from overwinter.serving.sleep import Ladder, Rung, SleepPolicy, open_policy

if TYPE_CHECKING:
    from overwinter.config.groups.serve import DrawsConfig, ServeConfig


def make_ladder(serve: ServeConfig) -> Ladder:
    """Return the rungs, the top one `ready`, with the configured watts, wake times and wake joules.

    Going to `preforked` costs the joules of starting a process: what a wake from `off` costs more. Its time is
    left out: the few requests that come meanwhile wait as if the model had been off.
    """
    draws = serve.draws
    rungs = [Rung(name="ready", power_w=draws.ready_w)]
    for name in serve.sleep.rungs:
        wake_s = float(getattr(serve.sleep, f"{name}_wake_s"))
        power_w, wake_j = float(getattr(draws, f"{name}_w")), wake_j_from(name, draws) + draws.off_w * wake_s
        sleep_j = prefork_j(draws) if name == "preforked" else 0.0
        rungs.append(Rung(name=name, power_w=power_w, wake_s=wake_s, wake_j=wake_j, sleep_j=sleep_j))
    return Ladder(rungs)


def wake_j_from(rung: str, draws: DrawsConfig) -> float:
    """Return the joules of one wake from a rung, above what `off` draws meanwhile."""
    return float(getattr(draws, f"{rung}_wake_j"))


def prefork_j(draws: DrawsConfig) -> float:
    """Return the joules of starting a process that waits on `preforked`."""
    return max(0.0, draws.off_wake_j - draws.preforked_wake_j)


def make_policy(serve: ServeConfig, ladder: Ladder) -> SleepPolicy:
    """Return the policy: the configured one, within the latency limit, and under the windows.

    Raises:
        ConfigError: it is unknown, or an option is wrong.
    """
    sleep = serve.sleep
    policy = open_policy(
        sleep.policy, ladder, seed=sleep.seed, options=dict(sleep.options), limit_p95_s=sleep.wake_p95_s
    )
    if not sleep.windows:
        return policy
    from overwinter.serving.sleep.scheduled import Scheduled
    from overwinter.serving.sleep.windows import parse_windows

    return Scheduled(policy, ladder, windows=parse_windows(cast("list[Any]", sleep.windows)))
