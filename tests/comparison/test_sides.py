"""What a name on the command line means, read from real repositories."""

import subprocess

import pytest

from overwinter.comparison import open_side
from overwinter.energy import read_energy
from overwinter.errors import ConfigError, OverwinterError
from overwinter.files import read_json
from overwinter.sweep.results import PointRecord, SweepRecord, write_sweep
from tests.support.recorded import Recorded


@pytest.fixture
def history(recorded):
    """Two revisions, and a workspace that is unlike both."""
    recorded.record("one", energy_per_response_j=40e-6)
    recorded.commit("first")
    recorded.record("two", energy_per_response_j=41e-6)
    recorded.commit("second")
    recorded.record("three", energy_per_response_j=42e-6)
    return recorded


def opened(recorded, name):
    return open_side(recorded.project, name, recorded.ledger)


def joules(recorded, name):
    return opened(recorded, name).evaluation.chosen.energy_per_response_j


@pytest.mark.parametrize(
    ("name", "energy_j"),
    [("first", 40e-6), ("HEAD~1", 40e-6), ("main", 41e-6), ("HEAD", 41e-6), ("workspace", 42e-6)],
)
def test_a_revision_is_read_from_git_and_the_workspace_from_its_files(history, name, energy_j):
    before = history.git("status", "--porcelain"), history.git("rev-parse", "HEAD")
    assert joules(history, name) == energy_j
    assert (history.git("status", "--porcelain"), history.git("rev-parse", "HEAD")) == before


def test_a_commit_is_found_by_its_beginning_and_named_once(history):
    commit = history.git("rev-parse", "first")
    assert opened(history, commit[:9]).title == commit[:9]
    assert opened(history, "first").title == f"first ({commit[:7]})"


def test_a_folder_of_the_repository_is_read_relative_to_it(history):
    nested = Recorded(history.root / "pipelines" / "case", new=True, nested=True)
    nested.record("nested", energy_per_response_j=7e-6)
    nested.commit("nested")
    assert joules(nested, "nested") == 7e-6
    assert joules(history, "nested") == 42e-6
    with pytest.raises(OverwinterError, match=r"first \(\w+\) has no metrics"):
        opened(nested, "first")


def test_an_experiment_is_found_by_its_name(history):
    baseline, saved = (history.git("rev-parse", name) for name in ("second", "first"))
    ref = f"refs/exps/{baseline[:2]}/{baseline[2:]}/tidy-otter"
    history.git("update-ref", ref, saved)
    assert joules(history, "tidy-otter") == 40e-6
    older = history.git("rev-parse", "first")
    history.git("update-ref", f"refs/exps/{older[:2]}/{older[2:]}/tidy-otter", baseline)
    assert joules(history, "tidy-otter") == 40e-6  # the one that started from HEAD
    history.git("commit", "-qm", "empty", "--allow-empty")
    with pytest.raises(ConfigError, match="2 experiments are called 'tidy-otter'"):
        opened(history, "tidy-otter")


def test_a_point_of_a_sweep_is_its_experiment(history):
    baseline, saved = (history.git("rev-parse", name) for name in ("second", "first"))
    history.git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/point-0a1b2c3d", saved)
    done = PointRecord(name="0a1b2c3d", overrides=(), keys={}, status="done", experiment="point-0a1b2c3d")
    failed = PointRecord(name="ffff0000", overrides=(), keys={}, status="failed", message="it broke")
    write_sweep(history.project, SweepRecord(name="mine", until="evaluate", commit=baseline, points=(done, failed)))
    for name in ("0a1b2c3d", "mine/0a1b2c3d", "point-0a1b2c3d"):
        assert joules(history, name) == 40e-6
    with pytest.raises(ConfigError, match=r"mine/ffff0000 has no experiment: it is failed\. it broke"):
        opened(history, "mine/ffff0000")
    for name in ("mine/12345678", "../mine/0a1b2c3d", "other/0a1b2c3d"):
        with pytest.raises(ConfigError, match="no revision"):
            opened(history, name)


def test_dvcs_own_bookkeeping_is_no_experiment(history):
    history.git("update-ref", "refs/exps/exec/EXEC_BASELINE", history.git("rev-parse", "first"))
    with pytest.raises(ConfigError, match="no revision"):
        opened(history, "EXEC_BASELINE")


def test_an_unknown_name_is_refused_with_the_nearest(history):
    with pytest.raises(ConfigError, match=r"'frist' is no revision.* Did you mean 'first'\?"):
        opened(history, "frist")
    with pytest.raises(ConfigError, match="no revision"):
        opened(history, "--all")


def test_a_shallow_clone_says_how_to_get_the_history(history, tmp_path):
    clone = tmp_path / "clone"
    url = history.root.as_uri()
    subprocess.run(["git", "clone", "-q", "--depth", "1", "--no-tags", url, clone], check=True, capture_output=True)
    shallow = Recorded(clone)
    assert joules(shallow, "HEAD") == 41e-6
    with pytest.raises(ConfigError, match=r"shallow clone.*\n?.*fetch-depth: 0"):
        opened(shallow, "HEAD~1")


def test_a_revision_before_any_run_is_refused(recorded):
    recorded.write("README.md", "hello")
    recorded.commit("empty")
    with pytest.raises(OverwinterError, match=r"empty \(\w+\) has no metrics of a run") as caught:
        opened(recorded, "empty")
    assert caught.value.exit_code == 1


def test_outside_of_a_repository_only_the_workspace_has_figures(tmp_path, monkeypatch):
    plain = Recorded(tmp_path / "plain", new=True)
    (plain.root / ".git").rename(plain.root / "no_git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    plain.record("one")
    assert joules(plain, "workspace") == 40e-6
    with pytest.raises(OverwinterError, match="not a git repository"):
        opened(plain, "HEAD")


def executed(recorded, run_id, stage, *, status="done"):
    folder = recorded.root / "outputs" / stage
    documents = {}
    if status == "done":
        documents = {
            "energy": read_energy(folder / "energy.json"),
            "metrics": read_json(folder / "metrics.json", remedy=""),
        }
    execution = recorded.ledger.begin(stage=stage, run_id=run_id, configuration_key="k")
    execution.finish(status=status, exit_code=0, **documents)


def test_a_run_of_the_ledger_has_the_figures_of_the_stages_that_it_executed(history):
    executed(history, "20260101-aaaa", "evaluate")
    executed(history, "20260102-bbbb", "train", status="failed")
    side = opened(history, "20260101")
    assert side.evaluation.chosen.energy_per_response_j == 42e-6
    assert list(side.energy) == ["evaluate"]
    assert side.params is None
    assert any("not those it reused" in note for note in side.notes)
    with pytest.raises(OverwinterError, match="none of its stages ended"):
        opened(history, "20260102")
    with pytest.raises(ConfigError, match="2 runs of the ledger begin with '2026'"):
        opened(history, "2026")


def test_two_runs_of_one_sweep_have_titles_of_their_own(history):
    ids = [f"main4/20261130-09{second}-0a1b2c" for second in ("0629", "0805")]
    for run_id in ids:
        executed(history, run_id, "evaluate")
    sides = [opened(history, run_id[:20]) for run_id in ids]
    assert [side.title for side in sides] == [f"run {run_id}" for run_id in ids]
