"""From events to the curves of the real libraries, and what happens when one fails or is missing."""

import subprocess
import sys

import pytest

import overwinter
from overwinter.errors import ConfigError
from overwinter.tracking import Tracking, open_tracking

EVENT = {"event": "progress", "stage": "train", "done": 2.0, "total": 8, "time_s": 1.0, "energy_j": 12.5}
EVENT |= {"carbon_g": 0.25, "duration_s": 3.0, "figures": {"loss": 0.75, "note": "text", "gap": float("nan")}}


class Kept:
    def __init__(self, *, failing=False):
        self.points, self.closed, self.failing = [], False, failing

    def log(self, figures, *, step):
        if self.failing:
            raise OSError("no connection")
        self.points.append((step, figures))

    def close(self):
        self.closed = True


def test_the_numbers_of_a_progress_event_are_points_at_the_work_done():
    kept = Kept()
    tracking = Tracking({"kept": kept}, log=print)
    tracking({"event": "start", "stage": "train", "time_s": 0.0})
    tracking(EVENT)
    tracking.close()
    figures = {"train/energy_j": 12.5, "train/carbon_g": 0.25, "train/duration_s": 3.0, "train/loss": 0.75}
    assert kept.points == [(2, figures)]
    assert kept.closed


def test_a_tracker_that_fails_is_reported_once_and_the_others_go_on():
    good, lines = Kept(), []
    tracking = Tracking({"bad": Kept(failing=True), "good": good}, log=lines.append)
    tracking(EVENT)
    tracking(EVENT)
    assert len(good.points) == 2
    assert lines == ["bad gets no more figures: no connection"]


def test_an_unknown_tracker_is_refused_with_the_known_ones(tmp_path):
    with pytest.raises(ConfigError, match=r"track='tensorbord' is unknown.*mlflow, tensorboard"):
        open_tracking(["tensorbord"], folder=tmp_path, run="r", log=print)


def scalars(folder):
    """Return the points of each curve that TensorBoard reads in a folder."""
    reading = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    read = reading.EventAccumulator(str(folder))
    read.Reload()
    tags = read.Tags()["tensors"]
    return {tag: [(each.step, each.tensor_proto.float_val[0]) for each in read.Tensors(tag)] for tag in tags}


def test_tensorboard_reads_what_was_written(tmp_path):
    pytest.importorskip("tensorboard")
    tracking = open_tracking(["tensorboard"], folder=tmp_path, run="r", log=print)
    tracking(EVENT)
    tracking.close()
    assert scalars(tmp_path / "tensorboard" / "r")["train/energy_j"] == [(2, 12.5)]


def test_mlflow_has_the_metrics_of_its_run(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", tmp_path.as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a folder needs no server
    mlflow.set_tracking_uri(None)
    tracking = open_tracking(["mlflow"], folder=tmp_path, run="r", log=print)
    tracking(EVENT)
    tracking.close()
    (run,) = mlflow.MlflowClient().search_runs([mlflow.get_experiment_by_name("overwinter").experiment_id])
    assert (run.info.run_name, run.info.status) == ("r", "FINISHED")
    assert run.data.metrics["train/energy_j"] == 12.5
    assert run.data.metrics["train/loss"] == 0.75


def test_mlflow_without_a_server_says_what_to_set(tmp_path, monkeypatch):
    pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(ConfigError, match="MLFLOW_TRACKING_URI"):
        open_tracking(["mlflow"], folder=tmp_path, run="r", log=print)


def test_a_watched_script_has_its_curves_in_tensorboard(tmp_path, monkeypatch):
    pytest.importorskip("tensorboard")
    monkeypatch.chdir(tmp_path)
    with overwinter.watch(name="fit", track=["tensorboard"], log=lambda _text: None) as run:
        for _ in run.steps(range(5)):
            pass
        run.metrics(accuracy=0.5)
    (folder,) = (tmp_path / ".overwinter" / "tensorboard").iterdir()
    curves = scalars(folder)
    assert curves["fit/energy_j"][-1] == (5, pytest.approx(run.record.energy_j))
    assert curves["fit/accuracy"][-1] == (5, 0.5)


def test_switched_off_no_library_is_loaded(tmp_path):
    program = (
        "import sys, overwinter\n"
        "with overwinter.watch(log=lambda text: None): pass\n"
        "print(sorted(set(sys.modules) & {'tensorboard', 'mlflow'}))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
