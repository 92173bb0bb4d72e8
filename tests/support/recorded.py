"""Projects with recorded outputs, in a Git repository, as a run and a commit leave them."""

import json
import subprocess
from pathlib import Path

import yaml

from overwinter.config import Project
from overwinter.ledger import Ledger
from overwinter.metrics import EvaluationMetrics
from overwinter.records import to_json
from tests.support.energy_records import energy_record
from tests.support.metrics import candidate_metrics

STAGES = {
    "train": {"needs": []},
    "sparsify": {"needs": ["train"]},
    "evaluate": {"needs": ["train", "sparsify"]},
}
PARAMS = {
    "configs_digest": "1",
    "device": "cpu",
    "data": {"split_seed": 0},
    "model": {"channels": [8]},
    "task": {"name": "classification", "output": None, "loss": None, "label_smoothing": 0.0},
    "train": {"epochs": 16},
    "sparsify": {"amount": 0.8},
    "evaluate": {"confidence": 0.95},
    "hardware": {"cpu_w_per_thread": 4.0},
    "pipeline": {"stages": STAGES},
}
MACHINE = "A CPU, 2 threads"
CHOSEN = {
    "quality": 0.97,
    "quality_low": 0.95,
    "quality_high": 0.98,
    "size_bytes": 50_000,
    "latency_p50_s": 2e-4,
    "energy_per_response_j": 40e-6,
    "energy_per_response_low_j": 39e-6,
    "energy_per_response_high_j": 41e-6,
    "samples": 12,
}


class Recorded:
    """A project whose outputs a test writes and commits; an existing one, or a new one in a new repository."""

    def __init__(self, root: Path, *, new: bool = False, nested: bool = False) -> None:
        self.root = root
        self.project = Project(root=root, configs=root / "configs", config_name="config")
        self.ledger = Ledger.open(root / ".overwinter" / "ledger.sqlite")
        self.params = PARAMS
        if new:
            self.write(".dvc/config", "[core]\n")
            self.write(".gitignore", ".overwinter/\n")
            (root / "configs").mkdir()
        if new and not nested:
            self.git("init", "-q", "-b", "main")

    def git(self, *words: str) -> str:
        command = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *words]
        return subprocess.run(command, cwd=self.root, check=True, capture_output=True, text=True).stdout.strip()

    def write(self, path: str, content: object) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content if isinstance(content, str) else json.dumps(content))

    def record(self, run: str, *, params: dict | None = None, joules: float = 100.0, **chosen: object) -> None:
        """Write the outputs of a run of all stages."""
        self.params = PARAMS | (params or {})
        self.write("params.yaml", yaml.safe_dump(self.params, sort_keys=False))
        for stage in STAGES:
            self.energy(stage, run, energy_j=joules)
        for stage in ("train", "sparsify"):
            self.write(f"outputs/{stage}/metrics.json", {"headline": "accuracy", "accuracy": 0.99})
        self.evaluation(**chosen)
        self.lock()

    def energy(self, stage: str, run: str, **values: object) -> None:
        record = energy_record(stage=stage, execution=f"{run}-{stage}", **{"machine": MACHINE} | values)
        self.write(f"outputs/{stage}/energy.json", to_json(record))

    def evaluation(self, *, device: str = "cpu", batch_size: int = 32, **chosen: object) -> None:
        metrics = EvaluationMetrics(
            dense=candidate_metrics("dense@torch"),
            chosen=candidate_metrics("int8@onnxruntime", **{**CHOSEN, **chosen}),
            pays=True,
            saving=0.5,
            size_ratio=2.0,
            device=device,
            batch_size=batch_size,
        )
        self.write("outputs/evaluate/metrics.json", to_json(metrics))

    def lock(self) -> None:
        entries = {
            "train": {"outs": [{"path": "outputs/train/model", "md5": "1"}]},
            "sparsify": {"deps": [{"path": "outputs/train/model", "md5": "1"}]},
            "evaluate": {"deps": [{"path": "outputs/train/model", "md5": "1"}]},
        }
        for stage, entry in entries.items():
            entry["params"] = {"params.yaml": {key: self.params[key] for key in (stage, "device")}}
        self.write("dvc.lock", yaml.safe_dump({"schema": "2.0", "stages": entries}))

    def commit(self, name: str) -> str:
        self.git("add", "-A")
        self.git("commit", "-qm", name)
        self.git("tag", name)
        return self.git("rev-parse", "HEAD")
