"""The way from `overwinter run -m` through Hydra to the points of a batch and back; nothing runs."""

import json
import re
import shlex
from dataclasses import fields
from pathlib import Path

import pytest

from overwinter.cli import main
from overwinter.config import find_project
from overwinter.config.groups.sweep import SweepSettings
from overwinter.sweep import batches
from overwinter.sweep.batches import sweep_name, without_hydra
from overwinter.sweep.results import PointRecord, PointResult, SweepRecord, write_sweep

PAGE = Path(__file__).parents[2] / "docs" / "sweeps.md"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A project that is only read, and whose state is written."""
    root = tmp_path_factory.mktemp("sweep") / "project"
    assert main(["init", str(root)]) == 0
    return root


@pytest.fixture
def calls(made, monkeypatch):
    """Replace the running of points: each gets a status by its seed; return what was asked for."""
    asked = []

    def run_points(project, points, *, settings, on_event, overrides):
        asked.append((points, settings))
        statuses = {1: "done", 2: "refused", 3: "failed", 4: "skipped", 5: "interrupted"}
        figures = {"quality": 0.5, "energy_per_response_j": 1.0, "size_bytes": 1000}
        results = [PointResult(point=each, status=statuses.get(each.config.seed, "done"), **figures) for each in points]
        records = tuple(PointRecord.of(result) for result in results)
        for finished, result in enumerate(results, start=1):
            counts = {"finished": finished, "total": len(results), "spent_j": 0.0}
            end = {"point": result.point.name, "stage": "", "status": result.status, "result": result}
            on_event({"event": "point", **end, **counts})
        write_sweep(project, SweepRecord(name=settings.name, until=settings.until, commit="c", points=records))
        return results

    monkeypatch.setattr(batches, "run_points", run_points)
    monkeypatch.chdir(made)
    return asked


def test_options_reach_the_settings_and_points_have_no_hydra_in_them(calls, capsys):
    assert main(["run", "-m", "--json", "seed=1,2", "quantize=none", "--workers", "3", "--until", "train"]) == 0
    (points, settings) = calls[0]
    assert [point.overrides for point in points] == [("seed=1", "quantize=none"), ("seed=2", "quantize=none")]
    assert (settings.workers, settings.until, settings.budget) == (3, "train", None)
    shown = json.loads(capsys.readouterr().out)
    assert [point["status"] for point in shown["points"]] == ["done", "refused"]
    assert shown["name"] == settings.name
    assert not Path("multirun").exists()
    assert (Path(".overwinter/sweeps") / settings.name / "multirun.yaml").exists()


@pytest.mark.parametrize(("seeds", "code"), [("1,3", 1), ("1,4", 3), ("2,2", 3), ("1,5", 130), ("range(1,3)", 0)])
def test_the_exit_code_says_how_the_sweep_ended(calls, capsys, seeds, code):
    assert main(["run", "-m", f"seed={seeds}", "--name", "named"]) == code
    assert calls[0][1].name == "named"


def test_the_progress_of_a_search_counts_all_its_points_and_shows_what_varies(calls, capsys):
    pytest.importorskip("optuna")
    words = ["+sweep=tpe", "train.epochs=3", "sparsify.amount=0.5,0.6,0.7", "hydra.sweeper.trials=2"]
    assert main(["run", "-m", *words, "hydra.sweeper.at_least={accuracy: 0.1}", "--name", "counted"]) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if " done " in line]
    assert [line.split()[1] for line in lines] == ["1/2", "2/2"]
    assert all("sparsify.amount=" in line and "train.epochs" not in line for line in lines)


def test_any_sweeper_that_gives_batches_may_call_the_launcher(calls, capsys):
    words = ["hydra/sweeper=basic", "hydra.sweeper.max_batch_size=1", "hydra.launcher.budget=20 kJ"]
    main(["run", "-m", "seed=1,2", *words])
    assert [len(points) for points, _ in calls] == [1, 1]
    assert calls[0][1].budget == "20 kJ"


def test_the_command_line_replaces_values_of_a_ready_sweep(calls, capsys):
    assert main(["run", "-m", "+sweep=grid", "quantize=none", "sparsify.amount=0.6,0.7"]) == 0
    assert [point.overrides for point in calls[0][0]] == [
        ("sparsify.amount=0.6", "quantize=none"),
        ("sparsify.amount=0.7", "quantize=none"),
    ]


def test_all_points_are_checked_before_the_first_runs(calls, capsys):
    assert main(["run", "-m", "seed=1,-1"]) == 2
    assert "seed=-1" in capsys.readouterr().err
    assert not calls


@pytest.fixture
def configs(made):
    """The text of the project's config.yaml, which the test may damage."""
    path = made / "configs" / "config.yaml"
    text = path.read_text()
    yield path
    path.write_text(text)


@pytest.mark.parametrize("command", ["run", "plan"])
def test_a_configuration_that_is_not_yaml_is_refused(calls, configs, capsys, command):
    configs.write_text("garbage: [")
    assert main([command, "-m", "seed=1,2"]) == 2
    said = capsys.readouterr().err
    assert "cannot be composed" in said
    assert "Fix that file." in said
    assert not calls


def test_a_configuration_that_breaks_while_a_sweep_runs_costs_no_front(calls, configs, capsys, monkeypatch):
    def run_points(*words, **settings):
        results = inner(*words, **settings)
        configs.write_text("garbage: [")
        return results

    inner = batches.run_points
    monkeypatch.setattr(batches, "run_points", run_points)
    assert main(["run", "-m", "--json", "seed=6,7", "--name", "broken"]) == 0
    shown = capsys.readouterr()
    assert "no front" not in shown.err
    assert json.loads(shown.out)["front"]["points"]


def test_a_linked_folder_of_a_sweep_is_refused_before_anything_is_written(calls, made, tmp_path, capsys):
    link = made / ".overwinter" / "sweeps" / "linked"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(tmp_path)
    assert main(["run", "-m", "seed=1,2", "--name", "linked"]) == 4
    assert "is a link" in capsys.readouterr().err
    assert not calls
    assert not list(tmp_path.iterdir())


def test_options_of_a_sweep_without_one_are_refused(calls, capsys):
    assert main(["run", "seed=1", "--workers", "2"]) == 2
    assert "--workers belongs to a sweep" in capsys.readouterr().err


def test_the_commands_of_the_page_are_sweeps(calls, capsys):
    text = PAGE.read_text()
    every = re.findall(r"^overwinter (run -m .*)$", text, re.MULTILINE)
    commands = [command for command in every if "+sweep=" not in command]  # a search needs figures to learn from
    assert len(commands) >= 2
    for command in commands:
        assert main(shlex.split(command)) == 0
    keys = set(re.findall(r"`hydra\.launcher\.(\w+)`", text))
    assert keys == {field.name for field in fields(SweepSettings)}


def test_equal_sweeps_have_equal_names(made):
    project = find_project(made)
    name = sweep_name(project, ["a=1,2", "b=3"])
    assert name == sweep_name(project, ["b=3", "a=1,2", "hydra.launcher.workers=2"])
    assert name != sweep_name(project, ["a=1,2", "b=4"])


def test_a_ready_sweep_counts_with_its_content(made):
    project = find_project(made)
    path = project.configs / "sweep" / "own.yaml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("a: 1\n")
    before = sweep_name(project, ["+sweep=own"])
    path.write_text("a: 2\n")
    assert sweep_name(project, ["+sweep=own"]) != before
    path.unlink()


def test_hydras_own_overrides_are_no_part_of_a_point():
    words = ["seed=1", "+sweep=own", "hydra/launcher=overwinter", "hydra.sweep.dir=x", "~model.root"]
    assert without_hydra(words) == ["seed=1", "~model.root"]


def test_a_name_with_other_overrides_is_refused_and_keeps_what_it_has(made, monkeypatch, capsys):
    monkeypatch.chdir(made)
    project = find_project(made)
    write_sweep(project, SweepRecord(name="taken", until="train", commit="c", overrides=("seed=1,2",)))
    front = made / ".overwinter" / "sweeps" / "taken" / "front.json"
    front.write_text("{}")
    for words in (["run"], ["plan"]):
        assert main([*words, "-m", "seed=1,3", "--name", "taken"]) == 2
        assert "the sweep taken is of seed=1,2" in capsys.readouterr().err
    assert front.exists()
