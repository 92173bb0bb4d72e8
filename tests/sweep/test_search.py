"""Searches ask, tell, and go on where they were killed; the launcher is a function that counts what it ran."""

from contextlib import suppress

import pytest

from overwinter.config.groups.search import SearchSettings
from overwinter.errors import ConfigError, IntegrityError
from overwinter.sweep.front import STUDY_FILE
from overwinter.sweep.goal import FigureLimit, Goal
from overwinter.sweep.search import Plan, opened_study, run_search
from overwinter.sweep.space import read_space

optuna = pytest.importorskip("optuna")
SPACE = read_space(["amount=0.1,0.2,0.4,0.6,0.8,0.9", "bits=x,y,z", "rate=tag(log,interval(0.001,1))", "seed=3"])
SMALL = read_space(["a=1,2,3", "b=x,y"])


class Killed(BaseException):
    """What stands for SIGKILL: nothing in the search catches it."""


class Launcher:
    """Counts jobs; dies before or within the batch after ``dies_after`` jobs, once."""

    def __init__(self, dies_after=None, status="done"):
        self.jobs, self.batches, self._dies_after, self._status = [], [], dies_after, status

    def __call__(self, jobs):
        if self._dies_after is not None and len(self.jobs) + len(jobs) > self._dies_after:
            self._dies_after = None
            raise Killed
        self.jobs += jobs
        self.batches.append(len(jobs))
        return [self.outcome(job) for job in jobs]

    def outcome(self, job):
        values = dict(word.split("=") for word in job)
        numbers = [float(value) for value in values.values() if value.replace(".", "").isdigit()]
        figures = {"quality": 1.0 - max(numbers) / 10, "energy_per_response_j": 1.0 / (1 + sum(numbers))}
        return {"name": " ".join(job), "status": self._status, **figures}


def plan(space=SPACE, *, workers=1, ground="", limits=(), **settings):
    goal = Goal(
        objectives=("quality", "energy_per_response_j"), headline="accuracy", higher_is_better=True, limits=limits
    )
    return Plan(space=space, goal=goal, settings=SearchSettings(**settings), workers=workers, ground=ground)


@pytest.mark.parametrize("method", ["gp", "tpe", "nsga2", "random"])
def test_it_runs_as_many_points_as_asked_for_all_different(tmp_path, method):
    launch = Launcher()
    assert run_search(plan(method=method, trials=6, workers=3), tmp_path, launch) == 6
    assert len(set(launch.jobs)) == len(launch.jobs) == 6
    assert launch.batches == ([6] if method == "random" else [3, 3])
    assert all(job[0] == "seed=3" for job in launch.jobs)


@pytest.mark.parametrize("method", ["gp", "tpe", "random", "grid"])
def test_it_ends_when_all_points_of_the_space_are_known(tmp_path, method):
    launch = Launcher()
    assert run_search(plan(SMALL, method=method, trials=40, workers=4), tmp_path, launch) == 6
    assert sorted(launch.jobs) == sorted(SMALL.job(values) for values in SMALL.points())


def test_a_grid_runs_all_its_points_in_order_at_once(tmp_path):
    launch = Launcher()
    run_search(plan(SMALL, method="grid", trials=1), tmp_path, launch)
    assert launch.batches == [6]
    assert launch.jobs == [SMALL.job(values) for values in SMALL.points()]


@pytest.mark.parametrize(("method", "kill_at"), [("gp", 5), ("tpe", 5), ("nsga2", 4), ("random", 0), ("grid", 0)])
def test_a_killed_search_goes_on_and_runs_what_an_undisturbed_one_would(tmp_path, method, kill_at):
    space = SPACE if method != "grid" else read_space(["a=range(1,5)", "b=x,y"])
    whole, killed = Launcher(), Launcher(dies_after=kill_at)
    search = plan(space, method=method, trials=8, workers=1, seed=5)
    run_search(search, tmp_path / "whole", whole)
    with suppress(Killed):
        run_search(search, tmp_path / "killed", killed)
    before = list(killed.jobs)
    assert run_search(search, tmp_path / "killed", killed) == 8
    assert killed.jobs[: len(before)] == before
    assert len(killed.jobs) == len(set(killed.jobs)) == 8
    if method != "nsga2":  # its population is counted over all trials, those in flight included
        assert set(killed.jobs) == set(whole.jobs)


def test_finished_again_it_runs_nothing_and_more_trials_go_on(tmp_path):
    launch = Launcher()
    run_search(plan(trials=3), tmp_path, launch)
    run_search(plan(trials=3), tmp_path, launch)
    assert len(launch.jobs) == 3
    assert run_search(plan(trials=5), tmp_path, launch) == 5
    assert len(set(launch.jobs)) == 5


def test_the_points_that_were_in_flight_run_again_first(tmp_path):
    class Dying(Launcher):
        def __call__(self, jobs):
            self.asked = jobs
            raise Killed

    dying, launch = Dying(), Launcher()
    with suppress(Killed):
        run_search(plan(trials=6, workers=4), tmp_path, dying)
    run_search(plan(trials=6, workers=4), tmp_path, launch)
    assert launch.jobs[:4] == list(dying.asked)


@pytest.mark.parametrize("status", ["skipped"])
def test_a_point_that_did_not_run_ends_the_search_and_is_asked_again(tmp_path, status):
    stopped, launch = Launcher(status=status), Launcher()
    assert run_search(plan(trials=3), tmp_path, stopped) == 0
    assert len(stopped.jobs) == 1
    assert run_search(plan(trials=3), tmp_path, launch) == 3
    assert launch.jobs[0] == stopped.jobs[0]


def test_failed_points_count_and_are_tried_again_at_the_next_start(tmp_path):
    failing, launch = Launcher(status="failed"), Launcher()
    assert run_search(plan(trials=4), tmp_path, failing) == 4
    assert run_search(plan(trials=4), tmp_path, launch) == 4
    assert sorted(launch.jobs) == sorted(failing.jobs)


def test_refused_points_and_broken_limits_are_told_as_constraints(tmp_path):
    class Refusing(Launcher):
        def outcome(self, job):
            found = super().outcome(job)
            if job[-1] == "b=x":
                return {"name": found["name"], "status": "refused"}
            return found

    limit = FigureLimit(figure="quality", bound=0.75, lower=True, text="accuracy >= 0.75")
    search = plan(SMALL, trials=6, limits=(limit,))
    run_search(search, tmp_path, Refusing())
    with opened_study(search, tmp_path) as study:
        states = {trial.user_attrs["point"]: trial for trial in study.trials if "point" in trial.user_attrs}
        best = {trial.user_attrs["point"] for trial in study.best_trials}
    assert {name for name, trial in states.items() if trial.state.name == "PRUNED"} == {"a=1 b=x", "a=2 b=x", "a=3 b=x"}
    assert states["a=1 b=x"].constraints["refused"] > 0
    assert states["a=3 b=y"].constraints["accuracy >= 0.75"] == pytest.approx((0.75 - 0.7) / 0.75)
    assert best == {"a=1 b=y", "a=2 b=y"}


def test_jobs_that_turn_out_to_be_one_point_do_not_go_on_for_ever(tmp_path):
    class Same(Launcher):
        def outcome(self, job):
            return {**super().outcome(job), "name": "one"}

    launch = Same()
    assert run_search(plan(trials=40), tmp_path, launch) == 1
    assert 20 <= len(launch.jobs) <= 40


def test_points_without_an_objective_are_refused_with_what_to_do(tmp_path):
    class Short(Launcher):
        def outcome(self, job):
            return {**super().outcome(job), "energy_per_response_j": None}

    with pytest.raises(ConfigError, match=r"no energy_per_response_j.*--until evaluate"):
        run_search(plan(trials=4), tmp_path, Short())


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (plan(read_space(["a=1,2,4", "b=x,y"])), "range of a"),
        (plan(SMALL, ground="new code"), "configuration, code or data"),
        (
            Plan(
                space=SMALL,
                goal=Goal(objectives=("size_bytes", "quality"), headline="accuracy", higher_is_better=True),
                settings=SearchSettings(),
                workers=1,
                ground="",
            ),
            "list of objectives",
        ),
    ],
)
def test_a_study_of_another_search_is_not_continued(tmp_path, other, named):
    run_search(plan(SMALL, trials=2), tmp_path, Launcher())
    with pytest.raises(ConfigError, match=f"{STUDY_FILE} is of a search with another {named}"):
        run_search(other, tmp_path, Launcher())


@pytest.mark.parametrize("damage", ["text", "truncated", "link", "folder"])
def test_a_damaged_study_is_named_with_what_to_do(tmp_path, damage):
    launch, folder = Launcher(), tmp_path / "sweep"
    run_search(plan(trials=2), folder, launch)
    path = folder / STUDY_FILE
    content = path.read_bytes()
    path.unlink()
    if damage == "folder":
        path.mkdir()
    elif damage == "link":
        (tmp_path / "other.db").write_bytes(content)
        path.symlink_to(tmp_path / "other.db")
    else:
        path.write_bytes(b'{"a": 1}' * 100 if damage == "text" else content[: len(content) // 2])
    with pytest.raises(IntegrityError, match=r"study.db.*--name NAME") as raised:
        run_search(plan(trials=4), folder, launch)
    assert "\n" not in str(raised.value)
    assert len(launch.jobs) == 2
