"""Search: points chosen batch by batch from the results so far, with Optuna's study on disk.

The points are chosen by Optuna's samplers, or by Gaussian processes (see `overwinter.sweep.proposing`):

- TPE for several objectives: Ozaki et al., "Multiobjective Tree-Structured Parzen Estimator", JAIR 73 (2022).
- NSGA-II: Deb et al., "A fast and elitist multiobjective genetic algorithm: NSGA-II", IEEE TEVC 6 (2002).

Every trial is in the study before it runs, and what it gave is there as soon as its batch has ended. A search that was
killed starts again with the trials that ended; those in flight run again first, and cost nothing where their stages
were done. The sampler is seeded anew for each batch from the seed and the number of trials that ended, so a search that
was interrupted goes on as it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.config.groups.search import SearchSettings
from overwinter.errors import ConfigError, IntegrityError
from overwinter.sweep.front import STUDY_FILE
from overwinter.sweep.goal import Goal, unknown_objectives
from overwinter.sweep.proposing import OVERRIDES, REFUSAL, propose
from overwinter.sweep.results import DONE, FAILED, REFUSED, check_plain
from overwinter.sweep.space import Job, Space

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.samplers import BaseSampler

_STUDY = "sweep"
_POINT, _SEARCH = "point", "search"
_ATTEMPTS = 30  # suggestions of points that are known already, in a row, before one is drawn from those left
_STALLED = 20  # trials in a row that turned out to be known points before the search ends

Outcome = Mapping[str, Any]  # of a point: its name, its status and its figures, as the launcher returns them
Launch = Callable[[Sequence[Job]], Sequence[Outcome]]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a search needs to know.

    Attributes:
        space: The points to choose from.
        goal: What is looked for.
        settings: The settings of the search.
        workers: The points that run at once, which is the size of a batch.
        ground: A digest of what all results depend on besides the keys that vary: code, data, other settings.
    """

    space: Space
    goal: Goal
    settings: SearchSettings
    workers: int
    ground: str


def run_search(plan: Plan, folder: Path, launch: Launch) -> int:
    """Run a search, or go on with one; return the number of its trials that have ended.

    It ends early if all points of the space are known, or if the launcher skipped or interrupted a point.

    Args:
        plan: The search.
        folder: The folder of `study.db`.
        launch: Runs a batch of jobs, and returns what each gave.

    Raises:
        ConfigError: the study in ``folder`` is of another search, or the points lack an objective.
    """
    with opened_study(plan, folder) as study:
        return search_in(study, plan, launch)


def search_in(study: Study, plan: Plan, launch: Launch) -> int:
    """Run a search in an open study; as of `run_search`."""
    return _Search(plan, study, launch).run()


class _Search:
    def __init__(self, plan: Plan, study: Study, launch: Launch) -> None:
        self._plan, self._study, self._launch = plan, study, launch
        self._known: set[Job] = set()
        self._points: set[str] = set()
        self._stalled = 0

    def run(self) -> int:
        batch = self._remember()
        while batch or (batch := self._next_batch()):
            if not self._run(batch):
                break
            batch = []
        return len(self._points)

    def _remember(self) -> list[Trial]:
        """Note the trials that ended; ask again for those that failed or were in flight."""
        from optuna.trial import TrialState

        for trial in self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED)):
            self._points.add(trial.user_attrs[_POINT])
            self._known.add(tuple(trial.user_attrs[OVERRIDES]))
        again: dict[Job, Mapping[str, Any]] = {}
        in_flight = self._study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        failed = self._study.get_trials(deepcopy=False, states=(TrialState.FAIL,))
        for trial in (*in_flight, *(each for each in failed if _POINT in each.user_attrs)):
            if OVERRIDES in trial.user_attrs:
                again[tuple(trial.user_attrs[OVERRIDES])] = trial.params
        for job, values in again.items():
            if job not in self._known:
                self._study.enqueue_trial(dict(values))
        for trial in in_flight:  # after they are in the queue, so that a kill in between loses nothing
            self._study.tell(trial.number, state=TrialState.FAIL)
        return self._queued()

    def _queued(self) -> list[Trial]:
        """Ask for the points in the queue; those that are known or there twice are dropped."""
        from optuna.trial import TrialState

        waiting = len(self._study.get_trials(deepcopy=False, states=(TrialState.WAITING,)))
        asked = [self._asked() for _ in range(waiting)]
        return [trial for trial in asked if trial is not None]

    def _next_batch(self) -> list[Trial]:
        """Ask for the next points; none if enough have ended, or no new one can be found."""
        if self._plan.settings.method == "grid":
            return self._grid_batch()
        wanted = self._plan.settings.trials - len(self._points)
        if wanted <= 0 or self._stalled >= _STALLED:
            return []
        # A method that does not learn gains nothing from waiting for results.
        size = wanted if self._plan.settings.method == "random" else min(wanted, self._plan.workers)
        self._study.sampler = make_sampler(self._plan.settings, ended=len(self._points))
        return [trial for _ in range(size) if (trial := self._new()) is not None]

    def _grid_batch(self) -> list[Trial]:
        for values in self._plan.space.points():
            if self._plan.space.job(values) not in self._known:
                self._study.enqueue_trial(values)
        return self._queued()

    def _new(self) -> Trial | None:
        """Ask until the point is new; None if there is none left."""
        if self._plan.settings.method == "gp":
            values = propose(self._plan.space, self._plan.goal, self._plan.settings, self._study, self._known)
            return self._enqueued(values)
        for _ in range(_ATTEMPTS):
            if (trial := self._asked()) is not None:
                return trial
        return self._enqueued(self._left())

    def _enqueued(self, values: dict[str, Any] | None) -> Trial | None:
        if values is None:
            return None
        self._study.enqueue_trial(values)
        return self._asked()

    def _asked(self) -> Trial | None:
        """Ask for a point; None if it is known, which costs nothing to tell."""
        from optuna.trial import TrialState

        trial = self._study.ask(self._plan.space.distributions())
        job = self._plan.space.job(trial.params)
        if job in self._known:
            self._study.tell(trial, state=TrialState.FAIL)
            return None
        trial.set_user_attr(OVERRIDES, list(job))
        self._known.add(job)
        return trial

    def _left(self) -> dict[str, Any] | None:
        """Draw a point of a space that can be counted from those not known yet."""
        import numpy as np

        if self._plan.space.size() is None:
            return None
        left = [values for values in self._plan.space.points() if self._plan.space.job(values) not in self._known]
        draw = np.random.default_rng([self._plan.settings.seed, len(self._points)])
        return left[draw.integers(len(left))] if left else None

    def _run(self, batch: Sequence[Trial]) -> bool:
        """Run a batch and tell what it gave; return whether the search goes on."""
        outcomes = self._launch([tuple(trial.user_attrs[OVERRIDES]) for trial in batch])
        kept = [self._tell(trial, outcome) for trial, outcome in zip(batch, outcomes, strict=True)]
        return all(kept)

    def _tell(self, trial: Trial, outcome: Outcome) -> bool:
        """Tell what a trial gave; return False for one that did not run, which the next start asks again."""
        status = outcome["status"]
        if status not in (DONE, REFUSED, FAILED):
            return False
        self._stalled = self._stalled + 1 if outcome["name"] in self._points else 0
        self._points.add(outcome["name"])
        trial.set_user_attr(_POINT, outcome["name"])
        values = self._values(outcome) if status != FAILED else None
        if status != FAILED:
            for limit, violation in self._violations(outcome).items():
                trial.set_constraint(limit, violation)
        self._study.tell(trial, values, state=_state(status, values))
        return True

    def _values(self, outcome: Outcome) -> list[float] | None:
        values = self._plan.goal.values(outcome)
        if values is None and outcome["status"] == DONE:
            missing = ", ".join(unknown_objectives(self._plan.goal, outcome))
            raise ConfigError(
                f"the points of this sweep have no {missing}, which hydra.sweeper.objectives names. Let them run to "
                "the stage evaluate (--until evaluate), or name other objectives."
            )
        return values

    def _violations(self, outcome: Outcome) -> dict[str, float]:
        """Return by how much a trial breaks each limit; a refusal by a gate or a budget is one more."""
        refused = 1.0 if outcome["status"] == REFUSED else 0.0
        return {REFUSAL: refused, **self._plan.goal.violations(outcome)}


def _state(status: str, values: Sequence[float] | None) -> Any:
    from optuna.trial import TrialState

    if status == FAILED:
        return TrialState.FAIL
    return TrialState.PRUNED if values is None else TrialState.COMPLETE


def make_sampler(settings: SearchSettings, *, ended: int) -> BaseSampler:
    """Return the sampler of the next batch.

    Args:
        settings: The settings of the search.
        ended: The number of trials that have ended.
    """
    import numpy as np
    from optuna.samplers import NSGAIISampler, RandomSampler, TPESampler

    seed = int(np.random.SeedSequence([settings.seed, ended]).generate_state(1)[0])
    if settings.method == "tpe":
        return TPESampler(seed=seed, n_startup_trials=_startup_trials(settings.trials), multivariate=True)
    if settings.method == "nsga2":
        return NSGAIISampler(
            seed=seed, population_size=_population_size(settings.trials), mutation_prob=_MUTATION_PROBABILITY
        )
    return RandomSampler(seed=seed)


# These were fixed on tables that are made up, by `python benchmarks/search.py --synthetic`.
_MUTATION_PROBABILITY = 0.4


def _startup_trials(trials: int) -> int:
    """Return how many points are drawn at random before TPE learns."""
    return max(1, min(10, trials // 6))


def _population_size(trials: int) -> int:
    """Return a size that leaves NSGA-II eight generations."""
    return max(4, trials // 8)


@contextmanager
def opened_study(plan: Plan, folder: Path) -> Iterator[Study]:
    """Open the study in a folder, or start one.

    Raises:
        ConfigError: Optuna is not installed, or the study is of another search.
        IntegrityError: the study is damaged, or not a regular file.
    """
    try:
        import optuna
    except ImportError:
        raise ConfigError("a search needs Optuna: pip install 'overwinter[sweeps]'.") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / STUDY_FILE
    with _explained(path):
        storage = optuna.storages.RDBStorage(f"sqlite:///{path}")
        _write_ahead(storage.engine)
        try:
            yield _study(plan, storage, folder)
        finally:
            storage.remove_session()
            storage.engine.dispose()


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Raise IntegrityError for a study that is no database of Optuna's, or not a regular file."""
    import sqlite3

    from optuna.exceptions import StorageInternalError
    from sqlalchemy.exc import SQLAlchemyError

    for suffix in ("", "-wal", "-shm", "-journal"):  # SQLite opens all of them
        check_plain(path.with_name(f"{path.name}{suffix}"))
    try:
        yield
    except (SQLAlchemyError, StorageInternalError, sqlite3.Error) as error:
        cause = getattr(error.__cause__ or error, "orig", None) or error.__cause__ or error
        raise IntegrityError(
            f"{path} cannot be used: {str(cause).splitlines()[0]}. If it is damaged, delete it; the points that are "
            "done are not run again. Or give the search another name (--name NAME)."
        ) from error


def _write_ahead(engine: Any) -> None:
    """Let SQLite append to a log instead of flushing each of the dozen commits of a trial; a kill loses nothing."""
    from sqlalchemy import event

    engine.dispose()  # connections that were opened without it

    @event.listens_for(engine, "connect")
    def _set(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")


def _study(plan: Plan, storage: Any, folder: Path) -> Study:
    import optuna

    about = {
        "objectives": list(plan.goal.objectives),
        "directions": plan.goal.directions,
        "space": {each.key: each.describe() for each in plan.space.parameters},
        "ground": plan.ground,
    }
    names = optuna.study.get_all_study_names(storage)
    if _STUDY not in names:
        study = optuna.create_study(storage=storage, study_name=_STUDY, directions=plan.goal.directions)
        study.set_user_attr(_SEARCH, about)
        return study
    study = optuna.load_study(storage=storage, study_name=_STUDY)
    if (before := study.user_attrs.get(_SEARCH)) is not None and before != about:
        raise ConfigError(
            f"{folder / STUDY_FILE} is of a search with another {', '.join(_differences(before, about))}. Give this "
            "one a name of its own (--name NAME)."
        )
    return study


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    if before["objectives"] != now["objectives"] or before["directions"] != now["directions"]:
        yield "list of objectives"
    keys = {**before["space"], **now["space"]}
    yield from (f"range of {key}" for key in keys if before["space"].get(key) != now["space"].get(key))
    if before["ground"] != now["ground"]:
        yield "configuration, code or data"
