import json

import pytest

from overwinter.errors import IntegrityError
from overwinter.metrics import EvaluationMetrics, ModelMetrics, read_metrics
from overwinter.records import to_json, write_record
from tests.support.metrics import candidate_metrics

SIDE = candidate_metrics("dense@torch")
MODEL = ModelMetrics(headline="accuracy", measures={"accuracy": 0.9}, epochs=3, size_bytes=7)
EVALUATION = EvaluationMetrics(
    dense=SIDE, chosen=SIDE, pays=False, saving=0.0, size_ratio=1.0, device="cpu", batch_size=32
)


@pytest.mark.parametrize("metrics", [EVALUATION, MODEL])
def test_metrics_round_trip(tmp_path, metrics):
    write_record(tmp_path / "metrics.json", metrics)
    assert read_metrics(tmp_path / "metrics.json", remedy="") == metrics


def test_a_measure_is_a_key_of_its_own(tmp_path):
    assert to_json(MODEL) == {"headline": "accuracy", "accuracy": 0.9, "epochs": 3, "size_bytes": 7}
    assert "quality" not in to_json(SIDE)
    assert to_json(SIDE)["accuracy"] == SIDE.quality


def test_numbers_of_a_stage_of_your_own_are_measures(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"confidence": 0.9, "chosen": "a"}))
    assert read_metrics(tmp_path / "metrics.json", remedy="") == ModelMetrics(measures={"confidence": 0.9})


def test_a_missing_figure_is_named(tmp_path):
    content = to_json(EVALUATION)
    del content["chosen"]["energy_per_response_low_j"]
    (tmp_path / "metrics.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=r"metrics\.json: chosen lacks energy_per_response_low_j\. Run it"):
        read_metrics(tmp_path / "metrics.json", remedy="Run it.")


def test_other_json_than_an_object_is_refused(tmp_path):
    (tmp_path / "metrics.json").write_text("[]")
    with pytest.raises(IntegrityError, match="is not a JSON object"):
        read_metrics(tmp_path / "metrics.json", remedy="Run it.")
