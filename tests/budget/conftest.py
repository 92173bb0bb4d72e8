"""Budgets as a configuration gives them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from overwinter.budget import Budget, parse_budget
from overwinter.config.groups.budget import BudgetConfig
from overwinter.ledger import ExecutionRecord
from overwinter.metrics import CandidateMetrics, EvaluationMetrics

CONFIGS = Path(__file__).parents[2] / "configs" / "budget"


@pytest.fixture(scope="session")
def config() -> Callable[..., BudgetConfig]:
    """Return configs/budget/default.yaml under its schema, with other values in it."""
    base = OmegaConf.merge(OmegaConf.structured(BudgetConfig), OmegaConf.load(CONFIGS / "default.yaml"))

    def made(**values: Any) -> BudgetConfig:
        made_config = OmegaConf.to_object(OmegaConf.merge(base, values))
        assert isinstance(made_config, BudgetConfig)
        return made_config

    return made


@pytest.fixture(scope="session")
def budget(config: Callable[..., BudgetConfig]) -> Callable[..., Budget]:
    return lambda **values: parse_budget(config(**values))


@pytest.fixture(scope="session")
def evaluation() -> Callable[..., EvaluationMetrics]:
    """Return dense against chosen: each joules per response, their bounds, and whether they were measured."""

    def one(
        name: str, joules: float, low: float | None = None, high: float | None = None, measured: bool = True
    ) -> Any:
        return CandidateMetrics(
            name=name,
            headline="accuracy",
            quality=0.9,
            size_bytes=1000,
            latency_p50_s=0.001,
            energy_per_response_j=joules,
            energy_per_response_low_j=joules if low is None else low,
            energy_per_response_high_j=joules if high is None else high,
            measured=measured,
        )

    def made(dense: tuple[Any, ...] = (1.0,), chosen: tuple[Any, ...] = (0.5,)) -> EvaluationMetrics:
        return EvaluationMetrics(
            dense=one("dense@torch", *dense),
            chosen=one("int8@torch", *chosen),
            pays=True,
            saving=0.5,
            size_ratio=1.0,
            device="cpu",
        )

    return made


@pytest.fixture(scope="session")
def record() -> Callable[..., ExecutionRecord]:
    def made(**values: Any) -> ExecutionRecord:
        nothing = dict.fromkeys(ExecutionRecord.__dataclass_fields__)
        usual = {"id": "a", "stage": "train", "configuration_key": "key-1", "status": "done", "host": "here"}
        usual |= {"started_utc": datetime(2026, 7, 1, tzinfo=UTC), "duration_s": 10.0}
        usual |= {"resumed_j": 0.0, "resumed_carbon_g": 0.0, "resumed_duration_s": 0.0}
        return ExecutionRecord(**{**nothing, **usual, **values})

    return made
