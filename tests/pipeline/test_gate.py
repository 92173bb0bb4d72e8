"""The gate after evaluate: it judges any figure of the chosen candidate, whatever metrics.json leaves out."""

from pathlib import Path

import pytest

from overwinter.config import Project, find_project, load_config
from overwinter.errors import IntegrityError
from overwinter.files import write_json
from overwinter.metrics import Comparison, EvaluationMetrics
from overwinter.pipeline.gate import _judged
from overwinter.records import write_record
from tests.support.energy_records import energy_record
from tests.support.metrics import candidate_metrics

ROOT = Path(__file__).parents[2]


@pytest.fixture
def judged(tmp_path):
    config = load_config(find_project(ROOT))
    project = Project(root=tmp_path, configs=ROOT / "configs", config_name="config")
    for stage in ("train", "sparsify", "quantize", "evaluate"):
        write_record(tmp_path / "outputs" / stage / "energy.json", energy_record(stage=stage))
        write_json(tmp_path / "outputs" / stage / "metrics.json", {"accuracy": 0.9})
    metrics = EvaluationMetrics(
        dense=candidate_metrics("dense@a"),
        chosen=candidate_metrics("int8@a"),
        pays=True,
        saving=0.5,
        size_ratio=4.0,
        device="cpu",
    )
    write_record(tmp_path / "outputs/evaluate/metrics.json", metrics)

    def with_limits(**limits):
        config.budget.quality.at_least = limits
        return _judged("evaluate", config, project)

    return with_limits


def left(tmp_path, **figures):
    candidates = {"dense@a": {"accuracy": 0.9}, "int8@a": {"accuracy": 0.9, **figures}}
    write_record(tmp_path / "outputs/evaluate/comparison.json", Comparison(candidates=candidates))


@pytest.mark.parametrize(("agreement", "passed"), [(0.98, True), (0.96, False)])
def test_a_figure_of_the_chosen_candidate_is_judged(judged, tmp_path, agreement, passed):
    left(tmp_path, agreement_with_dense=agreement)
    assert judged(agreement_with_dense=0.97).passed is passed


def test_without_the_comparison_nothing_is_judged(judged):
    with pytest.raises(IntegrityError, match=r"comparison\.json is missing.*dvc repro evaluate"):
        judged(agreement_with_dense=0.97)
