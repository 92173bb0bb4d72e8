"""A project without results, and ledgers of machines on which its stages have run."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from overwinter.config import Project, find_project
from overwinter.config.composing_many import Composer
from overwinter.energy import EnergyRecord
from overwinter.energy.report import Component
from overwinter.ledger import Ledger, ledger_path
from overwinter.pipeline.prefix import prefix_keys
from tests.support.energy_records import energy_record

ROOT = Path(__file__).parents[2]
STAGES = ("train", "sparsify", "quantize", "evaluate", "hibernate")
HERE, THERE = "here", "there"


@dataclass(frozen=True)
class Machines:
    """The project, and what writes ledgers for it.

    Attributes:
        composer: Composes the project's configurations; its own ledger is that of the machine `here`.
        patch: Changes the name of the host.
    """

    composer: Composer
    patch: pytest.MonkeyPatch
    _keys: dict[tuple[str, ...], Mapping[str, str]] = field(default_factory=dict)

    @property
    def project(self) -> Project:
        """Return the project."""
        return self.composer.project

    @property
    def own(self) -> Path:
        """Return the project's own ledger."""
        return ledger_path(self.project.root)

    @property
    def other(self) -> Path:
        """Return the ledger of the machine `there`."""
        return self.project.root / "there.sqlite"

    def ran(
        self, path: Path, *overrides: str, joules: float, host: str = HERE, device: str = "cpu", only: str = ""
    ) -> None:
        """Record one execution of each stage, of as many joules and a tenth as many seconds."""
        self.patch.setattr(platform, "node", lambda: host)
        with Ledger.open(path) as ledger:
            for stage in [only] if only else STAGES:
                key = self._prefixes(overrides)[stage]
                execution = ledger.begin(stage=stage, run_id="run", configuration_key=key, prefix_key=key)
                execution.finish(status="done", exit_code=0, energy=energy_of(stage, joules, device))
        self.patch.setattr(platform, "node", lambda: HERE)

    def _prefixes(self, overrides: tuple[str, ...]) -> Mapping[str, str]:
        if overrides not in self._keys:
            made = self.composer.compose(overrides)
            self._keys[overrides] = prefix_keys(made.config, self.project, made.parameters)
        return self._keys[overrides]


def energy_of(stage: str, joules: float, device: str) -> EnergyRecord:
    """Return an energy.json: a GPU's joules are measured, a CPU's are modelled."""
    source = "nvml-counter" if device.startswith("gpu") else "modelled"
    part = Component(device=device, energy_j=joules, uncertainty_j=1.0, source=source, average_w=10.0, peak_w=10.0)
    return energy_record(
        stage=stage,
        energy_j=joules,
        duration_s=joules / 10,
        measured_fraction=float(source != "modelled"),
        carbon_g=joules * 100 / 3.6e6,
        components=(part,),
    )


@pytest.fixture(scope="session")
def composer_of_machines(tmp_path_factory: pytest.TempPathFactory) -> Composer:
    """A project without results, whose configurations are composed once for all tests."""
    root = tmp_path_factory.mktemp("machines")
    (root / ".dvc").mkdir()
    (root / ".dvc" / "config").write_text(f"[hydra]\n    config_dir = {ROOT / 'configs'}\n")
    (root / "stages").mkdir()
    for name in STAGES:
        (root / "stages" / f"{name}.py").touch()
    return Composer(find_project(root))


@pytest.fixture
def machines(composer_of_machines: Composer, monkeypatch: pytest.MonkeyPatch) -> Iterator[Machines]:
    """The project, as the current folder, without any ledger."""
    root = composer_of_machines.project.root
    monkeypatch.chdir(root)
    monkeypatch.setattr(platform, "node", lambda: HERE)
    for name in ("DVC_ROOT", "DVC_STAGE"):
        monkeypatch.delenv(name, raising=False)
    made = Machines(composer_of_machines, monkeypatch)
    yield made
    for folder in (made.own.parent, root / "deploy"):
        shutil.rmtree(folder, ignore_errors=True)
    for path in (*root.glob("*.sqlite*"), *root.glob("*.csv")):
        path.unlink()
