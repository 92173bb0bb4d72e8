"""How much figures vary when the same thing is measured again, from the ledger's repeated executions.

The interval of one run's own samples lacks what is the same for all of them: the state of the machine, the idle power
that was read at the start. Only repetitions show that.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from overwinter.comparison.statistics import Noise, repeat_noise
from overwinter.errors import OverwinterError
from overwinter.ledger import ExecutionRecord, Filter, Ledger
from overwinter.ledger.records import DONE
from overwinter.metrics import CandidateMetrics, evaluation_metrics

ENERGY = "energy_per_response_j"
LATENCY = "latency_p50_s"


@dataclass(frozen=True, kw_only=True)
class Noises:
    """The noise of each figure; a missing one is not known.

    Attributes:
        production: Stage -> noise of the joules to produce its outputs.
        any_production: Noise of the joules to produce any stage's outputs, for stages without repetitions.
        repeated: Figure of `CandidateMetrics` -> candidate -> repeated measurements of it, per evaluation.
    """

    production: Mapping[str, Noise] = field(default_factory=dict)
    any_production: Noise | None = None
    repeated: Mapping[str, Mapping[str, Sequence[Sequence[float]]]] = field(default_factory=dict)

    def response(self, figure: str, *candidates: str) -> Noise | None:
        """Return the noise of a figure of responses; None if it is not known.

        Args:
            figure: A figure of `CandidateMetrics`.
            candidates: The candidates whose repetitions count; those of all, if these have too few.
        """
        groups = self.repeated.get(figure, {})
        own = [each for name in dict.fromkeys(candidates) for each in groups.get(name, ())]
        return repeat_noise(own) or repeat_noise(each for some in groups.values() for each in some)


def read_noises(ledger: Ledger, *, evaluation: str | None) -> Noises:
    """Return the noise of the figures that the ledger has repetitions of.

    Executions repeat each other if they ran to the end, uninterrupted, on the same machine with the same parameters
    and inputs. A ledger that cannot be read gives no noise: it has reported so.

    Args:
        ledger: The project's ledger.
        evaluation: The stage that measures responses; None: no stage does.
    """
    try:
        done = [each for each in ledger.executions(Filter(status=DONE)) if _is_whole(each)]
        which = Filter(status=DONE, stage=evaluation)
        evaluated = [] if evaluation is None else ledger.executions(which, documents=True)
    except OverwinterError:
        return Noises()
    groups = {stage: _energies(done, stage) for stage in sorted({each.stage for each in done})}
    production = {stage: repeat_noise(each) for stage, each in groups.items()}
    return Noises(
        production={stage: noise for stage, noise in production.items() if noise is not None},
        any_production=repeat_noise(energies for each in groups.values() for energies in each),
        repeated={name: _figures(evaluated, name) for name in (ENERGY, LATENCY)},
    )


def _is_whole(execution: ExecutionRecord) -> bool:
    return bool(execution.configuration_key) and execution.resumed_from is None and bool(execution.energy_j)


def _energies(executions: Iterable[ExecutionRecord], stage: str) -> list[list[float]]:
    groups: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    for each in executions:
        if each.stage == stage and each.energy_j is not None:
            groups[each.host, each.configuration_key].append(each.energy_j)
    return list(groups.values())


def _figures(executions: Iterable[ExecutionRecord], name: str) -> dict[str, list[list[float]]]:
    groups: defaultdict[tuple[str, str, str], list[float]] = defaultdict(list)
    for each in executions:
        for candidate in _candidates(each.metrics):
            groups[candidate.name, each.host, each.configuration_key].append(getattr(candidate, name))
    found: defaultdict[str, list[list[float]]] = defaultdict(list)
    for (candidate_name, _, _), values in groups.items():
        found[candidate_name].append(values)
    return dict(found)


def _candidates(metrics: Mapping[str, Any] | None) -> list[CandidateMetrics]:
    """Return dense and, if it is another one, the chosen candidate; none of metrics that another version wrote."""
    try:
        found = evaluation_metrics(metrics or {}, where="the ledger", remedy="")
    except OverwinterError:
        return []
    if found is None:
        return []
    return [found.dense] if found.dense.name == found.chosen.name else [found.dense, found.chosen]
