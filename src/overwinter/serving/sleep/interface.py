"""The interface of a sleep policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """A sleep level, and until when to stay there.

    Attributes:
        level: The position of the sleep level; 0 is the top, `ready`.
        until_s: The time of the next decision; infinite: stay there until the next request.
        reason: The reason, one of a few fixed words (the label of a metric).
    """

    level: int
    until_s: float
    reason: str


class SleepPolicy(Protocol):
    """A policy that decides how deep an idle model sleeps, only from past events.

    All times are UNIX time in seconds (a trace may start at 0), and never run backwards from call to call.
    """

    def began_idle(self, time_s: float) -> None:
        """Record that the last running request was answered, or that serving began."""

    def arrived(self, time_s: float) -> None:
        """Record a request, whether the model is idle or busy."""

    def decide(self, time_s: float) -> Decision:
        """Return the sleep level to stay on; called only while idle. A level above the present one means: wake now."""

    def state(self) -> dict[str, Any]:
        """Return the state to keep over sleep and restarts, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state`.

        Raises:
            IntegrityError: ``state`` is not from this policy.
        """
