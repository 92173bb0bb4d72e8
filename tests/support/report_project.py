"""A project whose pipeline has run once, made of files alone: no stage is executed."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from overwinter.config import Project
from overwinter.energy.report import Component
from overwinter.ledger import Ledger
from overwinter.records import write_record
from tests.support.energy_records import energy_record

ROOT = Path(__file__).parents[2]
RUN = "20261130-120000-abcdef"
STAGES_J = {"train": 100.0, "sparsify": 60.0, "quantize": 20.0, "evaluate": 200.0, "hibernate": 20.0}
FIGURES_OF = {
    "train": {"headline": "accuracy", "accuracy": 0.991, "size_bytes": 529224},
    "sparsify": {"headline": "accuracy", "accuracy": 0.989, "size_bytes": 136680},
    "hibernate": {"size_bytes": 51507},
}
CANDIDATES_J = {  # VARIANT@RUNTIME -> joules per response in batches of 1 and of 32
    "dense@torch": (1.4e-3, 4.5e-4),
    "dense@onnxruntime": (3.0e-4, 1.4e-4),
    "sparse@torch": (8.0e-4, 2.0e-4),
    "sparse@onnxruntime": (1.5e-4, 4.3e-5),
    "int8_static@onnxruntime": (8.4e-5, 2.5e-5),
}


def make_report_project(root: Path, *, wasted_j: float = 0.0) -> Project:
    """Return a project in ``root`` with the outputs, the events and the ledger of one run.

    Args:
        root: A folder.
        wasted_j: Joules of an earlier execution of train that failed.
    """
    project = Project(root=root, configs=ROOT / "configs", config_name="config")
    (root / ".dvc").mkdir(parents=True)
    (root / ".dvc" / "config").write_text(f"[hydra]\nenabled = true\nconfig_dir = {project.configs}\n")
    shutil.copyfile(ROOT / "params.yaml", project.params)
    with Ledger.open(root / ".overwinter" / "ledger.sqlite") as ledger:
        if wasted_j:
            failed = ledger.begin(stage="train", run_id="earlier", configuration_key="other")
            energy = energy_record(energy_j=wasted_j)
            failed.finish(
                status="failed", exit_code=1, energy=energy, metrics=None, message="NaN", artifact_digest=None
            )
        read: dict[str, str] = {}
        for stage, energy_j in STAGES_J.items():
            run_stage(project, ledger, stage, energy_j, read)
            read = {**read, stage: f"digest of {stage}"}
    _write_comparison(project.outputs / "evaluate")
    _write_events(project)
    return project


def run_stage(
    project: Project, ledger: Ledger, stage: str, energy_j: float, read: Mapping[str, str], digest: str | None = None
) -> None:
    """Write the outputs of a stage and its execution.

    Args:
        project: The project.
        ledger: Its ledger.
        stage: The stage.
        energy_j: Its joules, three quarters of them measured.
        read: The digests of the results that it read, by stage.
        digest: The digest of its own result.
    """
    folder = project.outputs / stage
    folder.mkdir(parents=True, exist_ok=True)
    execution = ledger.begin(stage=stage, run_id=RUN, configuration_key=stage, inputs=read)
    parts = (("gpu:0", 0.75, "nvml-counter"), ("cpu", 0.25, "modelled"))
    energy = energy_record(
        stage=stage,
        execution=execution.id,
        energy_j=energy_j,
        uncertainty_j=energy_j / 10,
        measured_fraction=0.75,
        machine="a processor, 2 threads",
        components=tuple(
            Component(
                device=device,
                energy_j=share * energy_j,
                uncertainty_j=share * energy_j / 10,
                source=source,
                average_w=share * energy_j / 10,
                peak_w=share * energy_j / 5,
            )
            for device, share, source in parts
        ),
    )
    write_record(folder / "energy.json", energy)
    metrics = FIGURES_OF.get(stage, {"variants": 1})
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "gate.json").write_text(json.dumps({"stage": stage, "pass": True}))
    report = {"stage": stage, "passed": True, "mode": "stop", "modelled": False, "reasons": [], "warnings": []}
    (folder / "gate_report.json").write_text(json.dumps(report))
    rows = [
        f"{second},{device},{share * energy_j / 10:.3f},{'300' if share > 0.5 else ''},{400 + second}"
        for second in range(10)
        for device, share, _ in parts
    ]
    (folder / "power.csv").write_text("\n".join(["time_s,device,power_w,limit_w,intensity_g_per_kwh", *rows]) + "\n")
    execution.finish(
        status="done",
        exit_code=0,
        energy=energy,
        metrics=metrics,
        message=None,
        artifact_digest=digest or f"digest of {stage}",
    )


def _write_comparison(folder: Path) -> None:
    candidates = {name: _candidate(name, *joules) for name, joules in CANDIDATES_J.items()}
    (folder / "comparison.json").write_text(json.dumps({"candidates": candidates}))
    dense, chosen = (_few(name, candidates[name]) for name in ("dense@onnxruntime", "int8_static@onnxruntime"))
    saving = 1 - chosen["energy_per_response_j"] / dense["energy_per_response_j"]
    metrics = {"dense": dense, "chosen": chosen, "pays": True, "saving": saving, "size_ratio": 11.0}
    (folder / "metrics.json").write_text(json.dumps({**metrics, "device": "cpu", "batch_size": 32}))


def _candidate(name: str, one_j: float, many_j: float) -> dict[str, Any]:
    return {
        "accuracy": 0.99,
        "accuracy_low": 0.98,
        "accuracy_high": 0.995,
        "broken_limits": [],
        "size_bytes": 526340 if name.startswith("dense") else 47750,
        "latency_p50_s": 0.001,
        "latency_p95_s": 0.002,
        **_joules(many_j),
        "measured": False,
        "at_batch": {"1": _joules(one_j), "32": _joules(many_j)},
    }


def _joules(energy_j: float) -> dict[str, float]:
    return {
        "energy_per_response_j": energy_j,
        "energy_per_response_low_j": 0.98 * energy_j,
        "energy_per_response_high_j": 1.02 * energy_j,
    }


def _few(name: str, figures: dict[str, Any]) -> dict[str, Any]:
    kept = ("accuracy", "size_bytes", "latency_p50_s", "measured", *_joules(0.0))
    return {"name": name, "headline": "accuracy", "samples": 6, **{key: figures[key] for key in kept}}


def _write_events(project: Project) -> None:
    events: list[dict[str, Any]] = []
    for stage in ("train", "sparsify"):
        whole_j = STAGES_J[stage]
        events.append({"event": "start", "stage": stage, "time_s": 0.0})
        for done in range(1, 11):  # the best at half of the joules
            figures = {"epoch": float(done), "loss": 1.0 / done, "validation_accuracy": min(done, 5) / 5.0}
            progress = {"done": done, "total": 10, "figures": figures, "energy_j": whole_j * done / 10}
            events.append({"event": "progress", "stage": stage, "time_s": float(done), **progress})
        events.append({"event": "end", "stage": stage, "time_s": 11.0, "exit_code": 0, "message": ""})
    runs = project.state / "runs"
    runs.mkdir(parents=True)
    (runs / f"{RUN}.events").write_text("".join(json.dumps(event) + "\n" for event in events))
