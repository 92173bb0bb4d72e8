"""The policy `none`."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.decisions import as_before
from overwinter.power.settings import PowerConfig


@dataclass
class NoCapPowerConfig(PowerConfig):
    """Nothing is limited."""

    def open(self) -> NoCap:
        """Make the policy."""
        return NoCap()


@dataclass(frozen=True, kw_only=True)
class NoCap:
    """Nothing is limited."""

    def decide(self, observation: Observation) -> Decision:  # noqa: ARG002  the protocol's signature
        """Leave every limit as it was."""
        return as_before("no power cap")
