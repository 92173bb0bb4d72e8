"""Each family of models goes through every stage, or is refused in words; never an internal error.

On fewer samples and with fewer quantizers and runtimes than benchmarks/families.py.
"""

import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "benchmarks"))  # programs outside the package, whose models a saved model names

import family_page  # noqa: E402 - found by the line above
from family_models.catalog import FAMILIES  # noqa: E402
from family_walk import FAILED, PASSED, REFUSED, Walk  # noqa: E402

RECORD = json.loads((ROOT / "benchmarks" / "results" / "families.json").read_text(encoding="utf-8"))
AT_LEAST = 22  # of 24, through every stage and every runtime that claims a variant


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # transformers' own
@pytest.mark.filterwarnings("ignore:Exporting aten:UserWarning")  # of the older exporter; outputs are compared
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_goes_through_or_is_refused_in_words(name, tmp_path):
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


def test_the_record_has_every_family_and_no_internal_error():
    assert list(RECORD["families"]) == list(FAMILIES)
    verdicts = [row["verdict"] for row in RECORD["families"].values()]
    assert FAILED not in verdicts
    assert verdicts.count(PASSED) >= AT_LEAST


def test_the_page_shows_the_record():
    page = (ROOT / "docs" / "model-families.md").read_text(encoding="utf-8")
    assert page == family_page.rendered(RECORD)
