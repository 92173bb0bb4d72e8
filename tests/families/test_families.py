"""Each family of models goes through every stage, or is refused in words; never an internal error.

On fewer samples and with fewer quantizers and runtimes than benchmarks/families.py.
"""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # programs outside the package, whose models a saved model names

from family_models.catalog import FAMILIES  # noqa: E402 - found by the line above
from family_walk import FAILED, REFUSED, Walk  # noqa: E402


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # transformers' own
@pytest.mark.filterwarnings("ignore:Exporting aten:UserWarning")  # of the older exporter; outputs are compared
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_goes_through_or_is_told_why_not(name, tmp_path):
    walk = Walk(
        family=FAMILIES[name],
        folder=tmp_path,
        samples=200,
        quantizers=("int8_weight_only",),
        runtimes=("torch", "onnxruntime"),
    )
    walk.run()
    # So few samples teach little, and may leave a variant far from dense: that is for the benchmark to judge.
    failed = {step: became.words for step, became in walk.steps.items() if became.outcome in (FAILED, REFUSED)}
    assert not failed, failed
    assert {"train", "sparsify", "int8_weight_only"} <= set(walk.steps)
