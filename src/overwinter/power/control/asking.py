"""Validated decisions of a policy, also when it raises or returns something invalid."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from overwinter.power.interface import Decision, Observation, PowerPolicy


def ask(policy: PowerPolicy, name: str, observation: Observation, notify: Callable[[str], None]) -> Decision:
    """Return the policy's decision; if it fails or is invalid, the previous limits without a pause.

    Args:
        policy: the policy.
        name: name of the policy, for messages.
        observation: input of the policy.
        notify: reports one line to the user.
    """
    try:
        decision = policy.decide(observation)
        wrong = defect(decision, {state.name for state in observation.devices})
    except Exception as error:  # noqa: BLE001 -- a failing policy must not stop the work
        notify(f"power policy {name} failed ({error!r}); the previous limits hold")
        return Decision(reason="the policy failed")
    if wrong:
        notify(f"power policy {name} returned an invalid decision ({wrong}); the previous limits hold")
        return Decision(reason="the policy's decision was invalid")
    return decision


def defect(decision: Any, devices: set[str]) -> str:
    """Return the defect of a policy's decision; empty if it is valid."""
    if not isinstance(decision, Decision):
        return f"{type(decision).__name__} instead of a Decision"
    if decision.pause not in (True, False):
        return f"pause={decision.pause!r}"
    unknown = [device for device in decision.limits_w if device not in devices]
    if unknown:
        return f"a limit for the unknown device {unknown[0]!r}"
    figures = {**decision.limits_w, "review_s": decision.review_s, "clock_mhz": decision.clock_mhz}
    wrong = [f"{key}={value!r}" for key, value in figures.items() if value is not None and not _is_figure(value)]
    return wrong[0] if wrong else ""


def _is_figure(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0
