"""A search in a project: from Hydra's arguments to the front in the sweep's folder; the launcher is a function."""

import pytest
from omegaconf import OmegaConf

from overwinter.config import find_project
from overwinter.config.groups.search import SearchSettings
from overwinter.errors import ConfigError
from overwinter.sweep.batches import sweep_name
from overwinter.sweep.front import read_front
from overwinter.sweep.results import SweepRecord, sweep_folder, write_sweep
from overwinter.sweep.searching import search_project
from tests.sweep.points import record

pytest.importorskip("optuna")
ARGUMENTS = ["sparsify.amount=0.5,0.7", "+sweep=tpe", "train.epochs=3"]


def hydra(target="hydra_plugins.overwinter.launcher.OverwinterLauncher"):
    launcher = {"_target_": target, "name": "mine", "until": "evaluate", "workers": 1}
    return OmegaConf.create({"launcher": launcher, "overrides": {"task": ARGUMENTS}})


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))  # where sweeps are kept
    return find_project()


def searched(project, settings, arguments=ARGUMENTS, counts=None):
    counts = [] if counts is None else counts
    jobs, records = [], []

    def launch(batch, ended, total):
        counts.append((ended, total))
        jobs.extend(batch)
        records.extend(record(f"p{len(records)}", 0.9 + len(records) / 100, 1.0 + len(records)) for _ in batch)
        write_sweep(project, SweepRecord(name="mine", until="evaluate", commit="0", points=tuple(records)))
        figures = {"quality": records[-1].quality, "energy_per_response_j": records[-1].energy_per_response_j}
        return [{"name": records[-1].name, "status": "done", **figures} for _ in batch]

    search_project(arguments, settings, hydra(), loader=None, launch=launch)
    return jobs


def test_params_and_arguments_make_the_space_and_the_front_is_kept(project):
    jobs = searched(project, SearchSettings(trials=8, params={"quantize": "none,int8_static", "train.epochs": "9"}))
    assert len(set(jobs)) == 4
    assert all("train.epochs=3" in job and "+sweep=tpe" not in job for job in jobs)
    front = read_front(sweep_folder(project, "mine"))
    assert front.objectives == ("quality", "energy_per_response_j")
    assert [point.name for point in front.points] == ["p3", "p2", "p1", "p0"]
    assert (sweep_folder(project, "mine") / "study.db").exists()


def test_started_again_with_another_fixed_setting_it_is_refused(project):
    searched(project, SearchSettings(trials=1))
    with pytest.raises(ConfigError, match="another configuration, code or data"):
        searched(project, SearchSettings(trials=2), [*ARGUMENTS[:1], "train.epochs=4"])


@pytest.mark.parametrize(
    ("settings", "arguments", "message"),
    [
        (SearchSettings(method="anneal"), ARGUMENTS, "hydra.sweeper.method='anneal' is unknown"),
        (SearchSettings(objectives=["speed"]), ARGUMENTS, "hydra.sweeper.objectives='speed' is unknown"),
        (SearchSettings(trials=0), ARGUMENTS, "hydra.sweeper.trials=0 must be at least 1"),
        (SearchSettings(), ["train.epochs=3"], "needs a key with several values"),
        (SearchSettings(), ["train.epoch=3,4"], "train.epoch"),
    ],
)
def test_what_is_wrong_is_refused_before_any_work(project, settings, arguments, message):
    with pytest.raises(ConfigError, match=message):
        searched(project, settings, arguments)


def test_the_number_of_trials_is_no_part_of_the_name(project):
    names = {sweep_name(project, [*ARGUMENTS, f"hydra.sweeper.trials={trials}"]) for trials in (20, 40)}
    assert names == {sweep_name(project, ARGUMENTS)}
    assert sweep_name(project, [*ARGUMENTS, "hydra.sweeper.seed=1"]) not in names


def test_another_launcher_is_refused():
    with pytest.raises(
        ConfigError, match="needs the figures that hydra/launcher=overwinter, or overwinter_slurm, returns"
    ):
        search_project(ARGUMENTS, SearchSettings(), hydra("hydra.BasicLauncher"), loader=None, launch=lambda *_: [])


def test_a_batch_is_counted_among_all_points_of_the_search_and_of_earlier_starts(project):
    counts = []
    searched(project, SearchSettings(trials=1), counts=counts)
    searched(project, SearchSettings(trials=40), counts=counts)
    assert counts == [(0, 1), (1, 2)]
