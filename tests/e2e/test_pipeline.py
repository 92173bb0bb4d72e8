"""The main job, through the real commands."""

import json
from pathlib import Path

STAGES = ["train", "sparsify", "quantize", "evaluate", "hibernate"]


def test_a_new_project_runs_to_a_bundle_that_wakes(space):
    assert all(space.json(f"{stage}/gate.json") == {"stage": stage, "pass": True} for stage in STAGES)
    energy = space.json("train/energy.json")
    assert energy["energy_j"] > 0
    assert energy["uncertainty_j"] > 0
    assert {part["source"] for part in energy["components"]} <= {
        "modelled",
        "rapl",
        "nvml-counter",
        "nvml-power",
    }
    assert "answers as recorded" in space("overwinter", "bundle", "wake", "outputs/hibernate/bundle").stdout


def test_a_second_repro_has_nothing_to_do(space):
    assert "Data and pipelines are up to date." in space("dvc", "repro").stdout


def test_dvc_shows_metrics_parameters_and_plots(space):
    metrics = json.loads(space("dvc", "metrics", "show", "--json").stdout)
    assert metrics[""]["data"]["outputs/train/metrics.json"]["data"]["accuracy"] > 0.2
    space("overwinter", "compose", "train.epochs=3")
    assert "train.epochs" in space("dvc", "params", "diff").stdout
    assert "index.html" in space("dvc", "plots", "show").stdout
    drawn = (space.root / "dvc_plots" / "index.html").read_text()
    assert "outputs_train_power_csv" in drawn
    assert '"facet": {"row": {"field": "device"' in drawn
    assert '<script src="../.dvc/tmp/vega.js">' in drawn
    assert (space.root / ".dvc/tmp/vega.js").exists()


def test_an_override_runs_only_what_depends_on_it_and_plain_dvc_makes_the_same_bytes(space, fresh):
    done = space.run("sparsify.amount=0.25")
    assert space.states(done) == {"train": "reused", **dict.fromkeys(STAGES[1:], "run")}
    assert space.json("sparsify/metrics.json")["parameters"] < space.json("train/metrics.json")["parameters"]

    fresh("dvc", "exp", "run", "-S", "sparsify.amount=0.25")
    assert fresh.models() == space.models()
    assert (fresh.root / "params.yaml").read_bytes() == (space.root / "params.yaml").read_bytes()


def test_without_quantization_the_sparse_model_stays_and_going_back_restores_from_the_cache(space):
    before = space.models()
    done = space.run("quantize=none")
    assert space.states(done) == {"train": "reused", "sparsify": "reused", **dict.fromkeys(STAGES[2:], "run")}
    assert set(space.states(space.run()).values()) == {"reused"}
    assert space.models() == before
    planned = json.loads(space("overwinter", "plan", "--json", "quantize=none").stdout)["forecasts"]
    assert {name: each["basis"] for name, each in planned.items()} == dict.fromkeys(STAGES[2:], "restored")


def test_a_changed_configs_folder_stops_dvc_with_the_command_to_run(space):
    default = space.root / "configs" / "train" / "default.yaml"
    default.write_text(default.read_text().replace("learning_rate: 0.003", "learning_rate: 0.002"))
    done = space("dvc", "repro", check=False)
    assert done.returncode != 0
    assert "overwinter compose" in done.stderr + done.stdout
    assert "Running stage 'train'" not in done.stdout


def test_a_stage_by_hand_works_in_a_scratch_folder(space):
    before = space.models()
    done = space("python", "stages/train.py", "threads=1", "train.epochs=1")
    folder = done.stdout.rsplit("scratch results are in ", 1)[1].strip()
    assert json.loads(Path(folder, "metrics.json").read_text())["epochs"] == 1
    assert space.models() == before
    assert "up to date" in space("dvc", "repro").stdout


def test_hydra_answers_its_own_flags(space):
    assert "epochs: 2" in space("python", "stages/train.py", "--cfg", "job", "--package", "train").stdout
    assert "sparsify" in space("python", "stages/train.py", "--help").stdout


def test_a_tracker_without_its_server_is_refused_before_anything_is_said_or_changed(untouched):
    params = (untouched.root / "params.yaml").read_bytes()
    done = untouched("overwinter", "run", "train.epochs=3", "--track", "mlflow", check=False, MLFLOW_TRACKING_URI="")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert (untouched.root / "params.yaml").read_bytes() == params


def test_plan_names_the_parameter_and_what_follows(untouched):
    done = untouched("overwinter", "plan", "--json", "sparsify.amount=0.25")
    planned = {stage["name"]: stage for stage in json.loads(done.stdout)["stages"]}
    assert not planned["train"]["runs"]
    assert planned["sparsify"]["reasons"] == ["sparsify.amount: 0.5 -> 0.25"]
    assert planned["quantize"]["reasons"] == ["sparsify runs"]
    assert untouched("overwinter", "plan").returncode == 0
