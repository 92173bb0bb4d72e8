"""The jobs of a sweep before it runs are those that Hydra gives the launcher."""

from __future__ import annotations

import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from overwinter.config import find_project
from overwinter.errors import ConfigError
from overwinter.sweep.expanding import _expanded, expand, sweep_words


@pytest.fixture(scope="module")
def project():
    return find_project()


@pytest.fixture
def launched(monkeypatch):
    """Run the words through Hydra with a launcher that only notes its jobs."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path

    def run(project, folder, words):
        seen = []

        def noted(jobs, *_sweep, **_settings):
            seen.extend(tuple(job) for job in jobs)
            return []

        monkeypatch.setattr("overwinter.sweep.batches.run_batch", noted)
        GlobalHydra.instance().clear()
        try:
            hydra = Hydra.create_main_hydra2("overwinter", create_config_search_path(str(project.configs)))
            arguments = [*sweep_words(words), f"hydra.sweep.dir='{folder}'"]
            hydra.multirun(project.config_name, lambda _: None, arguments, with_log_configuration=False)
        finally:
            GlobalHydra.instance().clear()
        return seen

    return run


@pytest.mark.parametrize(
    "words",
    [
        ["train.epochs=1,2", "quantize=none,int8_dynamic", "seed=3"],
        ["seed=range(0,4)", "sparsify.skip=[a],[b,c]"],
        ["quantize=glob(int8*)", "hydra.launcher.workers=2"],
        ["budget.total='2 kJ','3 kJ'", "+extensions.a=1,2"],
        ["hydra/sweeper=basic", "seed=1"],
    ],
)
def test_the_jobs_are_those_that_hydra_launches(project, launched, tmp_path, words):
    assert list(expand(project, words).jobs) == launched(project, tmp_path, words)


def test_the_settings_of_the_launcher_are_read_and_checked(project):
    words = ["seed=1,2", "hydra.launcher.workers=2", "hydra.launcher.until=hibernate", "hydra.launcher.budget='2 kJ'"]
    settings = expand(project, words).settings
    assert (settings.workers, settings.until, settings.budget) == (2, "hibernate", "2 kJ")
    with pytest.raises(ConfigError, match=r"hydra\.launcher\.workers=0"):
        expand(project, ["seed=1,2", "hydra.launcher.workers=0"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=1"], "several values"),
        (["seed=1,2", "seed=3"], "seed"),
        (["quantize=glob(nothing*)"], "no values"),
        (["train.epochs"], "train.epochs"),
        (["seed=1,2", "hydra.launcher.wokers=2"], "wokers"),
    ],
)
def test_what_is_no_sweep_is_refused(project, words, message):
    with pytest.raises(ConfigError, match=message):
        expand(project, words)


SEARCH = {"_target_": "x.OverwinterSweeper", "method": "tpe", "trials": 12, "seed": 3, "params": {"seed": "0,1,2"}}


def _searched(project, *words, **settings):  # of another sweeper than Hydra knows
    with initialize_config_dir(str(project.configs), version_base=None):
        loader = GlobalHydra.instance().config_loader()
        return _expanded(words, {**SEARCH, **settings}, {}, loader)


def test_a_search_is_planned_from_different_points_of_its_space(project):
    made = _searched(project, "sparsify.amount=interval(0.2,0.8)", "threads=int(interval(1,4))", "quantize=none")
    assert made.drawn
    assert len(set(made.jobs)) == 12
    assert made == _searched(
        project, "sparsify.amount=interval(0.2,0.8)", "threads=int(interval(1,4))", "quantize=none"
    )
    for job in made.jobs:
        values = dict(each.split("=") for each in job)
        assert values["quantize"] == "none"
        assert 0.2 <= float(values["sparsify.amount"]) <= 0.8
        assert int(values["threads"]) in range(1, 5)
        assert int(values["seed"]) in range(3)


def test_a_search_of_a_small_space_has_no_more_points_than_that(project):
    assert sorted(_searched(project).jobs) == [("seed=0",), ("seed=1",), ("seed=2",)]


def test_a_logarithmic_interval_is_drawn_evenly_over_its_logarithm(project):
    made = _searched(project, "train.learning_rate=tag(log, interval(0.00001, 0.1))", trials=200)
    drawn = [float(job[-1].split("=")[1]) for job in made.jobs]
    assert 60 < sum(value < 0.001 for value in drawn) < 140
    assert all(0.00001 <= value <= 0.1 for value in drawn)


def test_a_search_of_the_whole_grid_has_all_its_points(project):
    made = _searched(project, "quantize=none,int8_dynamic", method="grid")
    assert (made.drawn, len(made.jobs)) == (False, 6)


def test_a_sweeper_that_cannot_be_planned_is_named():
    with pytest.raises(ConfigError, match="AxSweeper"):
        _expanded(["seed=1,2"], {"_target_": "x.AxSweeper"}, {}, None)
