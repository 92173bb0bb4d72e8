"""The policy `none`."""

from __future__ import annotations

from dataclasses import dataclass

from overwinter.power.interface import Decision, Observation
from overwinter.power.policies.decisions import as_before
from overwinter.power.settings import PowerConfig


@dataclass
class NoCapPowerConfig(PowerConfig):
    """No power limits."""

    def open(self) -> NoCap:
        """Create the policy."""
        return NoCap()


@dataclass(frozen=True, kw_only=True)
class NoCap:
    """A policy that limits nothing."""

    def decide(self, observation: Observation) -> Decision:  # noqa: ARG002  the protocol's signature
        """Keep every limit as it was."""
        return as_before("no power cap")
