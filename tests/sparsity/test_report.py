import json

import pytest

from overwinter.sparsity import LayerReport, SparsityReport


def test_it_is_json_and_counts_over_all_layers():
    layers = (LayerReport(name="a", before=10, after=5), LayerReport(name="b", before=30, after=3, density_asked=0.2))
    report = SparsityReport(method="magnitude", unit="weights", asked=0.8, layers=layers, left_alone={"c": "because"})
    assert report.reached == pytest.approx(0.8)
    content = json.loads(json.dumps(report.to_json()))
    assert content["layers"]["b"] == {
        "before": 30,
        "after": 3,
        "removed_share": 0.9,
        "density_asked": 0.2,
        "density_saved": pytest.approx(0.1),
        "output_error": None,
    }
    assert content["left_alone"] == {"c": "because"}


def test_nothing_touched_is_nothing_reached():
    report = SparsityReport(method="channels", unit="channels", asked=0.5, layers=(), left_alone={})
    assert report.reached == 0.0
