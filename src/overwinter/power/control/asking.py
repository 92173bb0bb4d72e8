"""Asking a policy: whatever it raises or answers, what comes back is a decision that can be carried out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from overwinter.power.interface import Decision, Observation, PowerPolicy


def ask(policy: PowerPolicy, name: str, observation: Observation, notify: Callable[[str], None]) -> Decision:
    """Return the policy's decision; where it has none, the previous limits and no pause.

    Args:
        policy: decides.
        name: of the policy, for the message.
        observation: what it sees.
        notify: takes one line for the user.
    """
    try:
        decision = policy.decide(observation)
        wrong = nonsense(decision, {state.name for state in observation.devices})
    except Exception as error:  # noqa: BLE001 -- whatever a policy raises, the work goes on
        notify(f"power policy {name} failed ({error!r}); the previous limits hold")
        return Decision(reason="the policy failed")
    if wrong:
        notify(f"power policy {name} returns nonsense ({wrong}); the previous limits hold")
        return Decision(reason="the policy answered nonsense")
    return decision


def nonsense(decision: Any, devices: set[str]) -> str:
    """Return what is wrong with a policy's answer; empty: nothing."""
    if not isinstance(decision, Decision):
        return f"{type(decision).__name__} instead of a Decision"
    if decision.pause not in (True, False):
        return f"pause={decision.pause!r}"
    unknown = [device for device in decision.limits_w if device not in devices]
    if unknown:
        return f"a limit for {unknown[0]!r}, which is not here"
    figures = {**decision.limits_w, "review_s": decision.review_s, "clock_mhz": decision.clock_mhz}
    wrong = [f"{key}={value!r}" for key, value in figures.items() if value is not None and not _is_figure(value)]
    return wrong[0] if wrong else ""


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
