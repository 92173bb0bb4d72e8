import json

import numpy as np

from overwinter.config.groups import EvaluateConfig
from overwinter.evaluation import Candidate, choose, compare_speed, comparison, report, verdict

SETTINGS = EvaluateConfig(
    version=1,
    runtimes=["torch"],
    batch_sizes=[1, 4],
    choose_at_batch_size=4,
    max_quality_loss=0.01,
    repeats=4,
    sample_duration_s=0.002,
    threads=1,
    confidence=0.95,
)


def _candidates(make_meter, make_session, speeds_s):
    sessions = {name: make_session(cpu_s) for name, cpu_s in speeds_s.items()}
    figures = compare_speed(
        sessions, np.zeros((8, 2), np.float32), SETTINGS, meter=make_meter(), seed=0, progress=lambda *_: None
    )
    return [
        Candidate(
            form=name.split("@")[0],
            runtime=name.split("@")[1],
            simplicity=simplicity,
            accuracy=0.98,
            size_bytes=4000 // (simplicity + 1),
            figures=figures[name],
        )
        for simplicity, name in enumerate(sessions)
    ]


def _judged(candidates):
    return choose([candidate.option(4) for candidate in candidates], max_quality_loss=0.01)


def test_a_form_that_is_faster_is_chosen_and_reported(make_meter, make_session):
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0008, "int8_static@onnxruntime": 0.0001})
    choice = _judged(candidates)
    metrics = json.loads(json.dumps(report(candidates, choice, 4), allow_nan=False))
    assert metrics["chosen"]["name"] == "int8_static@onnxruntime"
    assert metrics["dense"]["name"] == "dense@torch"
    assert metrics["pays"] is True
    assert metrics["saving"] > 0.7
    assert metrics["size_ratio"] == 2
    entry = metrics["candidates"]["int8_static@onnxruntime"]
    every = json.loads(json.dumps(comparison(candidates), allow_nan=False))
    assert set(every["dense@torch"]) == {"1", "4"}
    assert every["int8_static@onnxruntime"]["4"] == entry
    assert entry["measured"] is False
    said = verdict(candidates, choice, 4)
    assert "int8_static@onnxruntime is chosen" in said
    assert "modelled" in said


def test_where_nothing_is_faster_the_verdict_says_so(make_meter, make_session):
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0001, "int8_static@onnxruntime": 0.0008})
    choice = _judged(candidates)
    assert report(candidates, choice, 4)["pays"] is False
    assert "compression does not pay" in verdict(candidates, choice, 4)
