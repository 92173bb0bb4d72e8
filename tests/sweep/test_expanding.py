"""The jobs of a sweep before it runs are those that Hydra gives the launcher."""

from __future__ import annotations

import pytest

from overwinter.config import find_project
from overwinter.errors import ConfigError
from overwinter.sweep.expanding import expand, sweep_words


@pytest.fixture(scope="module")
def project():
    return find_project()


@pytest.fixture
def launched(monkeypatch):
    """Run the words through Hydra with a launcher that only notes its jobs."""
    from hydra._internal.hydra import Hydra
    from hydra._internal.utils import create_config_search_path
    from hydra.core.global_hydra import GlobalHydra

    from hydra_plugins.overwinter.launcher import OverwinterLauncher

    def run(project, folder, words):
        seen = []

        def noted(self, job_overrides, initial_job_idx):
            seen.extend(tuple(job) for job in job_overrides)
            return []

        monkeypatch.setattr(OverwinterLauncher, "launch", noted)
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
