"""Random histories of a project against a plain model of them: what was wasted is right to the joule.

The model keeps, beside every result and checkpoint, the executions that it rests on, from the moment it is made. The
ledger knows its rows and looks at the files. Joules are whole numbers, so that sums are exact.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from overwinter.ledger import (
    SCRATCH,
    Execution,
    Ledger,
    Spent,
    checkpoint_folder,
    kept_in,
    totals,
    wasted,
)
from overwinter.records import to_json
from tests.support.energy_records import energy_record

_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None  # every row is flushed to its disk
_STAGES = ("train", "sparsify")
_outcomes = st.sampled_from(["done", "done", "done", "failed", "refused", "interrupted", "killed"])
_params = st.integers(1, 3)
_joules = st.integers(0, 1000)


@dataclass(frozen=True)
class _Result:
    content: str
    execution: str


@dataclass
class _Model:
    """What the user would write down."""

    energies_j: dict[str, int] = field(default_factory=dict)
    stages: dict[str, str] = field(default_factory=dict)
    rests_on: dict[str, set[str]] = field(default_factory=dict)  # by content: all executions that it rests on
    workspace: dict[str, _Result | None] = field(default_factory=lambda: dict.fromkeys(_STAGES))
    latest: dict[tuple[str, str | None], str] = field(default_factory=dict)  # by stage and experiment: content
    cache: dict[str, _Result] = field(default_factory=dict)
    checkpoints: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    under: dict[tuple[str, str], set[str]] = field(default_factory=dict)  # what a checkpoint's inputs rest on
    scratch: dict[str, str] = field(default_factory=dict)  # folder: content

    def in_use(self) -> set[str]:
        contents = set(self.scratch.values())
        for stage in _STAGES:
            result = self.workspace[stage]
            contents |= {result.content} if result else {self.latest.get((stage, None), "")}
        contents |= {content for (_, experiment), content in self.latest.items() if experiment not in (None, SCRATCH)}
        used = set().union(*(self.rests_on.get(content, set()) for content in contents))
        for key, chain in self.checkpoints.items():
            used |= {*chain, *self.under[key]}
        return used


class Histories(RuleBasedStateMachine):
    """A project of two stages."""

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=_MEMORY))
        self.state = self.root / ".overwinter"
        self.ledger = Ledger.open(self.state / "ledger.sqlite")
        self.model = _Model()

    def teardown(self) -> None:
        self.ledger.close()
        shutil.rmtree(self.root)

    @rule(
        train=_params,
        sparsify=_params,
        outcomes=st.tuples(_outcomes, _outcomes),
        joules=st.tuples(_joules, _joules),
        saves=st.booleans(),
    )
    def run(self, train: int, sparsify: int, outcomes: tuple[str, str], joules: tuple[int, int], saves: bool) -> None:
        """`overwinter run`: what the workspace holds is reused, what the cache holds restored, the rest made."""
        self._pipeline((train, sparsify), outcomes, joules, saves, None, dict(self.model.workspace))

    @rule(
        name=st.sampled_from(["calm-owl", "red-fox"]),
        train=_params,
        sparsify=_params,
        outcomes=st.tuples(_outcomes, _outcomes),
        joules=st.tuples(_joules, _joules),
        saves=st.booleans(),
    )
    def run_temporary_experiment(
        self,
        name: str,
        train: int,
        sparsify: int,
        outcomes: tuple[str, str],
        joules: tuple[int, int],
        saves: bool,
    ) -> None:
        """`dvc exp run --temp`: begun with what the workspace holds, which it leaves alone."""
        self._pipeline((train, sparsify), outcomes, joules, saves, name, dict(self.model.workspace))

    @rule(params=_params, outcome=_outcomes, joules=_joules, saves=st.booleans())
    def try_a_stage(self, params: int, outcome: str, joules: int, saves: bool) -> None:
        """`python stages/train.py train.epochs=3`: into a scratch folder, whatever the workspace holds."""
        made = self._execute("train", params, None, outcome, joules, saves, SCRATCH)
        if made is not None:
            folder = f"train-{len(self.model.energies_j)}"
            self._lay(self.state / "scratch" / folder, made.execution)
            self.model.scratch[folder] = made.content

    @rule()
    def clear_scratch(self) -> None:
        shutil.rmtree(self.state / "scratch", ignore_errors=True)
        self.model.scratch.clear()

    @rule()
    def collect_garbage(self) -> None:
        """`dvc gc --workspace`: what can be restored changes, what is in use does not."""
        used = {result.content for result in self.model.workspace.values() if result}
        self.model.cache = {key: each for key, each in self.model.cache.items() if each.content in used}

    @rule(stage=st.sampled_from(_STAGES))
    def remove_checkpoints(self, stage: str) -> None:
        for key in [key for key in self.model.checkpoints if key[0] == stage]:
            shutil.rmtree(checkpoint_folder(self.state, *key))
            del self.model.checkpoints[key]

    @invariant()
    def right_to_the_joule(self) -> None:
        records = self.ledger.executions()
        thrown = wasted(records, kept_in(self.state))
        used = self.model.in_use()
        assert {each.id for each in thrown} == set(self.model.energies_j) - used
        assert sum(each.energy_j or 0 for each in thrown) == sum(
            energy_j for name, energy_j in self.model.energies_j.items() if name not in used
        )
        for each in totals(records, "stage"):
            own = [name for name, stage in self.model.stages.items() if stage == each.name]
            assert each.energy_j == sum(self.model.energies_j[name] for name in own)

    @invariant()
    def a_checkpoint_costs_what_it_rests_on(self) -> None:
        for (stage, key), chain in self.model.checkpoints.items():
            earlier = self.ledger.earlier(stage=stage, configuration_key=key)
            assert earlier.energy_j == sum(self.model.energies_j[name] for name in chain)
            assert list(earlier.executions) == chain

    def _pipeline(
        self,
        params: tuple[int, int],
        outcomes: tuple[str, str],
        joules: tuple[int, int],
        saves: bool,
        experiment: str | None,
        place: dict[str, _Result | None],
    ) -> None:
        before: _Result | None = None
        for stage, value, outcome, energy_j in zip(_STAGES, params, outcomes, joules, strict=True):
            key = _key(stage, value, before)
            there = place[stage]
            if there is None or there.content != f"made by {key}":
                made = self.model.cache.get(key)
                if made is None:
                    self._put(stage, None, experiment)  # DVC wipes the outputs before a stage runs
                    made = self._execute(stage, value, before, outcome, energy_j, saves, experiment)
                if made is None:
                    return
                self.model.cache[key] = made
                self._put(stage, made, experiment)
                there = made
            before = there

    def _put(self, stage: str, result: _Result | None, experiment: str | None) -> None:
        if experiment is not None:
            return
        folder = self.root / "outputs" / stage
        shutil.rmtree(folder, ignore_errors=True)
        self.model.workspace[stage] = result
        if result is not None:
            self._lay(folder, result.execution)

    def _lay(self, folder: Path, execution: str) -> None:
        folder.mkdir(parents=True)
        (folder / "energy.json").write_text(json.dumps(to_json(energy_record(execution=execution))))

    def _execute(
        self,
        stage: str,
        params: int,
        before: _Result | None,
        outcome: str,
        energy_j: int,
        saves: bool,
        experiment: str | None,
    ) -> _Result | None:
        model, key = self.model, _key(stage, params, before)
        resumed = self.ledger.earlier(stage=stage, configuration_key=key) if (stage, key) in model.checkpoints else None
        execution = self.ledger.begin(
            stage=stage,
            run_id="run",
            configuration_key=key,
            experiment=experiment,
            workload="w",
            inputs={_STAGES[0]: before.content} if before else {},
            resumed=resumed,
        )
        model.energies_j[execution.id], model.stages[execution.id] = energy_j, stage
        chain = [*model.checkpoints.get((stage, key), []), execution.id]
        inputs = model.rests_on[before.content] if before else set()
        self._check_resumed(execution, resumed, chain)
        if outcome != "done":
            self._end_badly(execution, outcome, energy_j)
            if saves or (stage, key) in model.checkpoints:
                folder = checkpoint_folder(self.state, stage, key)
                folder.mkdir(parents=True, exist_ok=True)
                (folder / "step-1.json").touch()
                model.checkpoints[stage, key], model.under[stage, key] = chain, inputs
            return None
        content = f"made by {key}"
        execution.heartbeat(energy_j=energy_j)
        execution.finish(status="done", exit_code=0, artifact_digest=content)
        shutil.rmtree(checkpoint_folder(self.state, stage, key), ignore_errors=True)
        model.checkpoints.pop((stage, key), None)
        model.rests_on.setdefault(content, set()).update({*chain, *inputs})
        self._spread()  # the same content again: whatever rests on it, rests on this too
        model.latest[stage, experiment] = content
        return _Result(content, execution.id)

    def _spread(self) -> None:
        """Give what was made from a model the executions that made this model again."""
        model = self.model
        for record in self.ledger.executions():
            if record.status == "done" and record.artifact_digest is not None:
                for content in (record.inputs or {}).values():
                    model.rests_on[record.artifact_digest] |= model.rests_on[content]
        for key in model.under:
            for record in self.ledger.executions():
                if (record.stage, record.configuration_key) == key:
                    for content in (record.inputs or {}).values():
                        model.under[key] = model.under[key] | model.rests_on[content]

    def _check_resumed(self, execution: Execution, resumed: Spent | None, chain: list[str]) -> None:
        expected = sum(self.model.energies_j[name] for name in chain[:-1])
        assert (resumed.energy_j if resumed else 0) == expected

    def _end_badly(self, execution: Execution, outcome: str, energy_j: int) -> None:
        execution.heartbeat(energy_j=energy_j)
        if outcome != "killed":
            execution.finish(status=outcome, exit_code=1)
            return
        (record,) = [each for each in self.ledger.executions() if each.id == execution.id]
        assert self.ledger._close_as_killed(record)


def _key(stage: str, params: int, before: _Result | None) -> str:
    words: list[Any] = [stage, params, before.content if before else None]
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


Histories.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestHistories = Histories.TestCase
