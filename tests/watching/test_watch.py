"""`overwinter.watch`: whatever way a script ends, its ledger entry tells it, and its joules are in it."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import overwinter
from overwinter.errors import ConfigError, OverwinterError, RefusedError
from overwinter.outputs import OutputError
from overwinter.pipeline.current import current_work

TINY = "0.3 s"  # a limit on time is exceeded after the same work on every machine


def worked(duration_s: float) -> Iterator[int]:
    """Items that take about a millisecond each, for a duration."""
    end_s = time.monotonic() + duration_s
    number = 0
    while time.monotonic() < end_s:
        yield number
        number += 1
        time.sleep(0.001)


def interrupted(number: int) -> None:
    """Send this process a signal, and wait until Python has handled it."""
    os.kill(os.getpid(), number)
    time.sleep(0.05)


def test_a_script_is_metered_and_recorded(executions, folder: Path):
    said: list[str] = []
    with overwinter.watch(project="resnet", name="fit", energy_json="energy.json", log=said.append) as run:
        assert overwinter.current_run() is run
        for _ in run.steps([1, 2, 3]):
            sum(range(200_000))
        with run.window("evaluation") as window:
            sum(range(200_000))
        run.metrics(accuracy=0.5)
    (entry,) = executions()
    assert (entry.stage, entry.project, entry.status, entry.exit_code) == ("watch: fit", "resnet", "done", 0)
    assert (entry.done, entry.total, entry.metrics) == (3, 3, {"accuracy": 0.5})
    assert run.record is not None
    assert run.record.execution == entry.id
    assert entry.energy_j == run.record.energy_j > window.close().energy_j > 0
    assert entry.carbon_g == pytest.approx(entry.energy_j / 3.6e6 * 475)  # the world's average, without a project
    assert json.loads((folder / "energy.json").read_text())["energy_j"] == entry.energy_j
    assert said[-1].startswith("fit: done: ")
    assert "modelled" in said[-1] or "measured" in said[-1]
    assert current_work() is None


def test_each_run_appends_a_row_in_codecarbon_s_format(executions, folder: Path):
    for error in (None, ValueError("nan")):
        with contextlib.suppress(ValueError), overwinter.watch(emissions_csv="emissions.csv"):
            if error:
                raise error
    rows = list(csv.DictReader((folder / "emissions.csv").read_text().splitlines()))
    assert [row["run_id"] for row in rows] == [entry.id for entry in executions()]
    assert [float(row["energy_consumed"]) for row in rows] == [entry.energy_j / 3.6e6 for entry in executions()]
    assert all(row["python_version"] for row in rows)
    (folder / "other.csv").write_text("a,b\n")
    with pytest.raises(ConfigError, match="other columns"), overwinter.watch(emissions_csv="other.csv"):
        pytest.fail("it ran")


def test_over_its_budget_the_run_stops_between_steps_with_its_checkpoint(executions):
    saved: list[int] = []
    seen: list[int] = []

    @overwinter.watch(budget=TINY, name="fit", checkpoint=lambda: saved.append(len(seen)))
    def fit() -> None:
        seen.extend(overwinter.current_run().steps(worked(30.0)))

    with pytest.raises(RefusedError, match=r"fit has spent 0\.\d+ s, over budget\.total=0\.3 s.*resumes"):
        fit()
    assert saved == [len(seen)]
    (entry,) = executions()
    assert (entry.status, entry.exit_code, entry.done, entry.total) == ("refused", 3, len(seen), None)
    assert 0.3 < entry.duration_s < 10


def test_a_total_that_is_too_small_does_not_end_the_budget(executions):
    @overwinter.watch(budget=TINY)
    def fit() -> None:
        for _ in overwinter.current_run().steps(worked(30.0), total=5):
            pass

    with pytest.raises(RefusedError):
        fit()
    assert executions()[0].total is None


def test_a_run_without_steps_that_exceeds_its_budget_says_so(executions):
    said: list[str] = []
    with overwinter.watch(budget="1 ms", log=said.append):
        time.sleep(0.01)
    assert "over budget.total=1 ms; a run is stopped between the steps" in said[0]
    (entry,) = executions()
    assert entry.status == "done"
    assert "over budget.total=1 ms" in entry.message


def test_nothing_is_reported_to_a_run_that_has_ended(executions):
    with overwinter.watch() as run:
        pass
    for late in (lambda: run.window("late"), lambda: run.step(1, 2), lambda: list(run.steps([1]))):
        with pytest.raises(OverwinterError, match="has ended"):
            late()
    assert run.read().report.energy_j == run.record.energy_j


def test_what_stopped_runs_have_spent_counts_when_the_next_one_resumes(executions):
    for _ in range(2):
        with pytest.raises(RefusedError), overwinter.watch(budget=TINY, name="fit", resumes=True) as run:
            for _ in run.steps(worked(30.0)):
                pass
    first, second = executions()
    assert "does not start" in second.message
    assert second.resumed_from == first.id
    assert second.resumed_duration_s == first.duration_s
    with overwinter.watch(budget=TINY, name="fit", project="another", resumes=True):
        pass
    with overwinter.watch(budget="1 h", name="fit", resumes=True) as run:
        pass
    assert run.record is not None
    assert run.record.resumed_duration_s >= first.duration_s
    assert run.record.duration_s > run.record.resumed_duration_s
    assert executions()[-1].duration_s < run.record.duration_s


def test_with_a_checkpoint_a_run_on_course_to_exceed_its_budget_stops_early(executions):
    @overwinter.watch(budget="15 s", checkpoint=list)
    def fit() -> None:
        for number in worked(30.0):  # a tenth of all steps is done after some 5 s
            overwinter.current_run().step(number * 100, 4_000_000)

    with pytest.raises(RefusedError, match="on course"):
        fit()
    assert executions()[0].duration_s < 15


@pytest.mark.parametrize(
    ("error", "status", "exit_code", "message"),
    [
        (ValueError("nan"), "failed", 1, "ValueError: nan"),
        (KeyboardInterrupt(), "interrupted", 130, "interrupted"),
        (SystemExit(5), "failed", 5, "the script ended with 5"),
        (SystemExit("no data"), "failed", 1, "the script ended with 'no data'"),
        (SystemExit(0), "done", 0, None),
        (StopIteration(), "failed", 1, "StopIteration: "),
        (GeneratorExit(), "failed", 1, "GeneratorExit: "),
    ],
)
def test_every_exception_passes_through_and_is_recorded(executions, error, status, exit_code, message):
    with pytest.raises(type(error)), overwinter.watch(energy_json="energy.json"):
        raise error
    (entry,) = executions()
    assert (entry.status, entry.exit_code, entry.message) == (status, exit_code, message)
    assert entry.energy_j is not None
    assert entry.sources
    assert Path("energy.json").exists()


def test_figures_of_any_library_are_kept_as_json(executions):
    import torch

    with overwinter.watch() as run:
        run.metrics(loss=torch.tensor(0.5), worst=float("nan"), epochs=3, model="bert")
        with pytest.raises(ConfigError, match="neither a number nor a text"):
            run.metrics(curve=[1.0, 2.0])
    assert executions()[0].metrics == {"loss": 0.5, "worst": "nan", "epochs": 3, "model": "bert"}


def test_files_are_named_from_where_the_run_begins(executions, folder: Path, monkeypatch: pytest.MonkeyPatch):
    (folder / "work").mkdir()
    with overwinter.watch(energy_json="energy.json", emissions_csv="emissions.csv"):
        monkeypatch.chdir(folder / "work")
    assert {path.name for path in folder.iterdir()} >= {"energy.json", "emissions.csv"}
    assert list((folder / "work").iterdir()) == []


def test_readings_are_streamed_and_a_stream_that_fails_stops_nothing(executions):
    seen: list[tuple[float | None, float]] = []
    said: list[str] = []

    def read(run: Any, spent: Any) -> None:
        seen.append((run.position[0], spent.report.energy_j))
        if len(seen) == 2:
            raise OSError("no such server")

    with overwinter.watch(on_reading=read, log=said.append) as run:
        for _ in run.steps(worked(1.8)):
            pass
    assert len(seen) == 2
    assert seen[0][0] is not None
    assert 0 < seen[0][1] < seen[1][1] < run.record.energy_j
    assert sum("on_reading failed" in text for text in said) == 1
    assert executions()[0].status == "done"


def test_a_function_is_watched_at_each_call(executions):
    @overwinter.watch(name="train")
    def train(epochs: int) -> int:
        """Train."""
        for _ in overwinter.current_run().steps(range(epochs)):
            pass
        return epochs

    assert (train(2), train(3), train.__doc__) == (2, 3, "Train.")
    assert [entry.done for entry in executions()] == [2, 3]


def test_a_function_whose_call_ends_before_its_work_is_refused():
    def batches() -> Iterator[int]:
        yield 1

    async def serve() -> None: ...

    for function in (batches, serve):
        with pytest.raises(ConfigError, match="generator or a coroutine"):
            overwinter.watch()(function)


def test_a_watch_inside_a_watch_is_refused_and_the_outer_one_continues(executions):
    with overwinter.watch(name="outer"):
        with (
            pytest.raises(ConfigError, match=r"watch: inner cannot be metered inside watch: outer.*count twice"),
            overwinter.watch(name="inner"),
        ):
            pass
        assert overwinter.current_run().title == "outer"
    assert [(entry.stage, entry.status) for entry in executions()] == [("watch: outer", "done")]
    with pytest.raises(ConfigError, match="No run is watched"):
        overwinter.current_run()


def test_a_forked_child_is_not_the_run(executions):
    with overwinter.watch():
        pid = os.fork()
        if pid == 0:
            os._exit(0 if current_work() is None else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"budget": "50 kilojoules"}, "budget.total='50 kilojoules'"),
        ({"power": "sttic"}, "Did you mean 'static'"),
        ({"carbon": "contry"}, "Did you mean 'country'"),
        ({"overrides": ["train.epochs=3"]}, "train.epochs=3.*energy, hardware"),
        ({"overrides": ["power.limit=5 m"], "power": "static"}, "power.limit"),
        ({"power": "budget_pacing"}, "needs a budget"),
        ({"energy_json": "no/such/folder/e.json"}, "cannot be written"),
        ({"energy_json": 5}, "energy_json=5 is not a path"),
        ({"checkpoint": "x.pt"}, "checkpoint='x.pt' is not a function"),
        ({"on_reading": [print]}, "on_reading=.* is not a function"),
        ({"log": "x"}, "log='x' is not a function"),
        ({"resumes": "no"}, "resumes='no' is neither True nor False"),
        ({"name": ""}, "name='' is empty"),
        ({"name": "a\nb"}, r"name='a\\nb' has a line break"),
        ({"project": "\x1b[2J"}, r"project='\\x1b\[2J' has .* invisible"),
        ({"carbon": ["country"]}, r"carbon=\['country'\] is not a text.*carbon='country'"),
        ({"overrides": "power=static"}, r"is one text. Give a list: overrides=\['power=static'\]"),
        ({"overrides": {"power": "static"}}, "is not a list of texts"),
        ({"overrides": [5]}, "is not a list of texts"),
        ({"overrides": ["carbon.country=DEU"]}, "selected option of carbon/ has no such key.*carbon=country"),
    ],
)
def test_a_wrong_setting_is_refused_before_anything_runs(executions, options: dict[str, Any], said: str):
    with pytest.raises((ConfigError, OutputError), match=said), overwinter.watch(**options):
        pytest.fail("it ran")
    assert executions() == []


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ({"total": -3, "done": 99}, "total=-3 is not a number of steps"),
        ({"total": 5, "done": 99}, "done=99 is more than total=5"),
        ({"done": -1}, "done=-1 is not a number of steps"),
        ({"done": float("nan")}, "done=nan is not a number of steps"),
        ({"total": float("nan")}, "total=nan is not a number of steps"),
    ],
)
def test_counts_of_steps_that_cannot_be_are_refused_before_the_first(executions, counts: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said), overwinter.watch() as run:
        next(run.steps([1, 2], **counts))


def test_arguments_without_a_name_are_refused_such_as_the_function_without_parentheses():
    watch: Any = overwinter.watch

    def fit() -> None: ...

    with pytest.raises(ConfigError, match=r"fit is not watched yet\. Write @overwinter\.watch\(\) above it"):
        watch(fit)
    with pytest.raises(ConfigError, match=r"'50 kJ' has no name\. .* watch\(budget='50 kJ'\)"):
        watch("50 kJ")


def test_settings_are_those_of_the_project_around_the_script_without_limits_on_its_stages(folder: Path):
    from overwinter.pipeline.creation import create_project
    from overwinter.watching.settings import supervision_for_script

    create_project(folder / "project")
    budget = folder / "project/configs/budget/default.yaml"
    budget.write_text(budget.read_text().replace("total: null", "total: 5 kJ").replace("train: null", "train: 4 kJ"))
    ledger = folder / "project/configs/ledger/default.yaml"
    ledger.write_text(ledger.read_text().replace("project: null", "project: wheat"))
    (folder / "project/notebooks").mkdir()
    os.chdir(folder / "project/notebooks")
    groups = supervision_for_script(power="static", overrides=["power.limit=150 W"])
    assert (groups.budget.total, groups.budget.stages, groups.ledger.project) == ("5 kJ", {}, "wheat")
    assert (groups.power.policy, groups.power.limit) == ("static", "150 W")
    assert supervision_for_script(budget="1 kJ").budget.total == "1 kJ"
    (folder / "project/grid.csv").write_text("time_utc,g_per_kwh\n2026-01-01T00:00:00Z,40\n2026-01-01T01:00:00Z,60\n")
    traced = supervision_for_script(carbon="trace", overrides=["carbon.path=grid.csv"])
    assert traced.carbon.path == str(folder / "project/grid.csv")


def test_a_program_of_hydra_keeps_its_own_state(folder: Path):
    from hydra import compose, initialize_config_dir

    (folder / "theirs").mkdir()
    (folder / "theirs/app.yaml").write_text("x: 1\n")
    with initialize_config_dir(str(folder / "theirs"), version_base=None):
        with overwinter.watch():
            pass
        assert compose("app").x == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_run_at_its_next_step_with_its_checkpoint(executions, number: int):
    saved: list[bool] = []
    expected = KeyboardInterrupt if number == signal.SIGINT else SystemExit
    before = signal.getsignal(number)

    @overwinter.watch(checkpoint=lambda: saved.append(True))
    def fit() -> None:
        for place in overwinter.current_run().steps(range(1000)):
            if place == 3:
                interrupted(number)

    with pytest.raises(expected) as end:
        fit()
    assert saved == [True]
    assert number == signal.SIGTERM or "Its checkpoint is saved: run the script again" in str(end.value)
    (entry,) = executions()
    assert (entry.status, entry.done, entry.total) == ("interrupted", 4, 1000)
    assert signal.getsignal(number) == before


def test_without_steps_a_signal_ends_the_run_at_once(executions):
    with (
        pytest.raises(KeyboardInterrupt, match="No checkpoint was saved now"),
        overwinter.watch(checkpoint=lambda: pytest.fail("in the middle of work")),
    ):
        interrupted(signal.SIGINT)
    assert executions()[0].status == "interrupted"


def test_a_signal_that_the_script_handles_itself_stays_the_script_s(executions, monkeypatch: pytest.MonkeyPatch):
    got: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, _: got.append(number))
    try:
        with overwinter.watch():
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.05)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert got == [signal.SIGTERM]
    assert executions()[0].status == "done"


def test_a_signal_that_the_script_was_started_to_ignore_is_ignored(executions):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with overwinter.watch() as run:
            for _ in run.steps([1, 2]):
                interrupted(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert executions()[0].status == "done"


def test_of_two_threads_that_open_a_watch_at_the_same_moment_one_runs_and_the_other_hears_why(executions):
    together, heard = threading.Barrier(2), threading.Event()
    said: list[str] = []

    def work() -> None:
        together.wait()
        try:
            with overwinter.watch():
                assert heard.wait(timeout=60)
        except Exception as error:  # noqa: BLE001 -- whatever the thread meets is judged below
            said.append(str(error))
            heard.set()

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(said) == 1
    assert "cannot be metered inside" in said[0]
    assert [entry.status for entry in executions()] == ["done"]


def test_it_runs_in_a_thread_too(executions):
    def work() -> None:
        with overwinter.watch() as run:
            list(run.steps([1]))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert executions()[0].status == "done"


def test_a_checkpoint_that_fails_is_named_by_the_refusal_which_then_promises_nothing(executions):
    full = OSError("disk full")

    def save() -> None:
        raise full

    with (
        pytest.raises(
            RefusedError, match=r"over budget.total.*\n.*could not be saved: OSError\('disk full'\)"
        ) as caught,
        overwinter.watch(budget=TINY, checkpoint=save) as run,
    ):
        for _ in run.steps(worked(30.0)):
            pass
    assert "resumes" not in "".join(traceback.format_exception(caught.value))
    assert caught.value.__cause__ is full
    (entry,) = executions()
    assert (entry.status, entry.exit_code) == ("refused", 3)
    assert "disk full" in entry.message


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_checkpoint_that_fails_is_reported_with_the_signal_that_stopped_the_run(executions, number: int):
    def save() -> None:
        raise OSError("disk full")

    @overwinter.watch(name="fit", checkpoint=save)
    def fit() -> None:
        for place in overwinter.current_run().steps(range(1000)):
            if place == 3:
                interrupted(number)

    with pytest.raises(OverwinterError, match=r"fit was interrupted at 4 of 1000\n.*OSError\('disk full'\)"):
        fit()
    assert executions()[0].status == "failed"


def test_a_warning_about_the_budget_names_the_run_once(executions):
    said: list[str] = []
    with overwinter.watch(budget=TINY, name="train", overrides=["budget.mode=warn"], log=said.append) as run:
        for _ in run.steps(worked(1.2)):
            pass
    assert said[0].startswith("train: has spent ")


def test_a_pause_of_the_power_policy_is_waited_out_and_a_signal_ends_it(executions):
    said: list[str] = []
    with overwinter.watch(log=said.append) as run:
        control: Any = SimpleNamespace(pause=SimpleNamespace(reason="dirty grid"), step=lambda done, total: None)
        run.control = control
        threading.Timer(0.3, lambda: setattr(control, "pause", None)).start()
        began_s = time.monotonic()
        run.step(1, 10)
        assert time.monotonic() - began_s >= 0.3
        control.pause = SimpleNamespace(reason="dirty grid")
        threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt, match="interrupted at 2 of 10"):
            run.step(2, 10)
        run.control = None
    assert [text for text in said if "paused" in text or "resumes" in text][:2] == [
        f"{run.title}: paused by the power policy: dirty grid",
        f"{run.title}: resumes",
    ]


def test_other_ranks_of_the_node_neither_meter_nor_record(executions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LOCAL_RANK", "1")
    with overwinter.watch(budget="1 uJ") as run:
        for _ in run.steps(range(3)):
            pass
        assert run.read().report.energy_j == 0
        assert run.window("part").close().energy_j == 0
    assert executions() == []


def test_the_default_name_is_the_script_s(executions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["/home/ada/train.py", "--lr", "1"])
    with overwinter.watch():
        pass
    assert executions()[0].stage == "watch: train.py"
