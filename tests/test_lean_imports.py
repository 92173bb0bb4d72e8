"""Programs and modules that must start fast do not import torch; each in a fresh process."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LEAN = {
    "the command line": "import overwinter.cli; overwinter.cli.main(['compose', '--help'])",
    "composition": "from overwinter.config import find_project, compose; compose(find_project())",
    "the Hydra plugin": "import hydra_plugins.overwinter.plugin",
    "the launchers": "import hydra_plugins.overwinter.launcher, hydra_plugins.overwinter.slurm_launcher",
    "sweeps on Slurm": "import overwinter.slurm",
    "the pipeline": "import overwinter.pipeline",
    "the gate": "import overwinter.pipeline.gate, overwinter.budget",
    "the plan": "import overwinter.pipeline.plan, overwinter.pipeline.outlook",
    "energy": "import overwinter.energy",
    "carbon": "import overwinter.carbon",
    "power": "import overwinter.power",
    "ledger": "import overwinter.ledger",
    "bundle": "import overwinter.bundle",
    "runtime": "import overwinter.runtime",
    "serving": "import overwinter.serving",
    "the supervisor": "import overwinter.serving.supervisor",
    "report": "import overwinter.report",
}
HEAVY = ("torch", "sklearn", "codecarbon", "transformers")


@pytest.mark.parametrize("code", LEAN.values(), ids=LEAN.keys())
def test_it_loads_nothing_heavy(code):
    check = f"import sys; sys.exit(' '.join(sorted(set({HEAVY!r}) & set(sys.modules))) or None)"
    program = f"try:\n    {code}\nexcept SystemExit:\n    pass\n{check}"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_a_stage_program_refuses_a_wrong_setting_before_it_imports_torch():
    program = (
        "import runpy, sys; sys.argv[1:] = ['train.epochs=0']; runpy.run_path('stages/train.py', run_name='__main__')"
    )
    check = f"try:\n    {program}\nexcept SystemExit as end:\n    print(end.code, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.stdout == "2 False\n"
