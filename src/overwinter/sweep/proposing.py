"""The next point of a search by Gaussian processes: what a study knows, in their terms, and the points to choose from.

The first points are spread over the space, each value of each key about equally often.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import numpy as np

from overwinter.config.groups.search import SearchSettings
from overwinter.sweep.gaussian import Known, best_of, latin_shares
from overwinter.sweep.goal import Goal
from overwinter.sweep.space import Job, Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

OVERRIDES = "overrides"  # attribute of a trial
REFUSAL = "refused"  # constraint of a trial, above 0 if a gate or a budget refused the point
_LISTED = 4000  # points of a space that are all looked at
_DRAWN = 1000  # points of a larger space that are looked at, drawn anew for each choice
_NEAR = 500  # and points that differ from a known one in a single key


def propose(
    space: Space, goal: Goal, settings: SearchSettings, study: Study, known: Collection[Job]
) -> dict[str, Any] | None:
    """Return the values of the next point, or None if there is none left.

    Args:
        space: The points to choose from.
        goal: What is looked for.
        settings: The settings of the search.
        study: The trials so far; those that end are its own, those that run are predicted.
        known: The points that are not to be chosen again.
    """
    draw = np.random.default_rng([settings.seed, len(known)])
    trials = _trials(study)
    first = _first_points(space, settings)
    if len(known) < len(first) and space.job(first[len(known)]) not in known:
        return first[len(known)]
    candidates = [each for each in _candidates(space, trials, draw) if space.job(each) not in known]
    if not candidates:
        return None
    if not any(trial.values for trial in trials):
        return candidates[draw.integers(len(candidates))]
    places = np.array([space.places(each) for each in candidates])
    return candidates[best_of(places, _known(space, goal, trials), draw)]


def first_points(trials: int) -> int:
    """Return how many points are spread over the space before the processes choose."""
    return max(2, min(10, trials // 5))


def _first_points(space: Space, settings: SearchSettings) -> list[dict[str, Any]]:
    draw = np.random.default_rng(settings.seed)
    shares = latin_shares(first_points(settings.trials), len(space.parameters), draw)
    return [space.at(each) for each in shares]


def _trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that ended with a result or run, in an order that does not depend on when they ended."""
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.RUNNING)
    found = study.get_trials(deepcopy=False, states=states)
    return sorted(found, key=lambda trial: list(trial.user_attrs.get(OVERRIDES, ())))


def _known(space: Space, goal: Goal, trials: list[FrozenTrial]) -> Known:
    ended = [trial for trial in trials if trial.state.is_finished()]
    running = [trial for trial in trials if not trial.state.is_finished()]
    unknown = [float("nan")] * len(goal.objectives)
    keys = len(space.parameters)
    return Known(
        places=np.array([space.places(trial.params) for trial in ended]),
        losses=np.array([goal.losses(trial.values) if trial.values else unknown for trial in ended]),
        violations=np.array([_violation(trial) for trial in ended]),
        pending=np.array([space.places(trial.params) for trial in running]).reshape(-1, keys),
        ordered=np.array([each.ordered for each in space.parameters]),
    )


def _violation(trial: FrozenTrial) -> float:
    limits = dict(trial.constraints)
    refusal = limits.pop(REFUSAL, 0.0)
    return refusal if refusal > 0 else max(limits.values(), default=-1.0)


def _candidates(space: Space, trials: list[FrozenTrial], draw: np.random.Generator) -> list[dict[str, Any]]:
    """Return the points to choose from: all, or many drawn at random and near the known ones."""
    size = space.size()
    if size is not None and size <= _LISTED:
        return list(space.points())
    found = [space.at(shares) for shares in draw.uniform(size=(_DRAWN, len(space.parameters))).tolist()]
    for trial in draw.choice(np.array(trials, dtype=object), size=_NEAR if trials else 0):
        key = space.parameters[draw.integers(len(space.parameters))]
        found.append({**trial.params, key.key: key.at(draw.uniform())})
    return found
