import json

import numpy as np

from overwinter.config.groups import EvaluateConfig
from overwinter.evaluation import (
    Candidate,
    Quality,
    choose,
    compare_speed,
    comparison,
    describe,
    report,
    verdict,
)

SETTINGS = EvaluateConfig(
    version=1,
    runtimes=["torch"],
    batch_sizes=[1, 4],
    choose_at_batch_size=4,
    max_quality_loss=0.01,
    max_losses={},
    corruptions=[],
    measures={},
    measure_loading=False,
    repeats=4,
    most_repeats=4,
    precision=0.02,
    sample_duration_s=0.002,
    threads=1,
    confidence=0.95,
)


def _candidates(make_meter, make_session, speeds_s, device="cpu", peak_gpu_memory_bytes=None):
    sessions = {name: make_session(cpu_s) for name, cpu_s in speeds_s.items()}
    figures = compare_speed(
        sessions,
        np.zeros((8, 2), np.float32),
        SETTINGS,
        meter=make_meter(),
        seed=0,
        progress=lambda *_: None,
        device=device,
    )
    return [
        Candidate(
            form=name.split("@")[0],
            runtime=name.split("@")[1],
            simplicity=simplicity,
            quality=Quality(
                scores={"accuracy": 0.98, "worst_class_accuracy": 0.9},
                worst_class="seven",
                accuracy_ci=(0.97, 0.99),
                accuracy_loss_ci=(-0.001, 0.002),
            ),
            size_bytes=4000 // (simplicity + 1),
            load_s=0.25,
            peak_memory_bytes=50_000_000,
            figures=figures[name],
            peak_gpu_memory_bytes=peak_gpu_memory_bytes,
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
    assert (entry["worst_class"], entry["worst_class_accuracy"]) == ("seven", 0.9)
    assert entry["accuracy_loss_ci"] == [-0.001, 0.002]
    assert (entry["load_s"], entry["peak_memory_bytes"]) == (0.25, 50_000_000)
    assert set(entry["answers_per_s_at_batch"]) == {"1", "4"}
    assert entry["answers_per_s_at_batch"]["4"] == entry["answers_per_s"] > 0
    assert 0 < entry["energy_above_idle_per_answer_j"] < entry["energy_per_answer_j"]
    line = describe(candidates[1], 4)
    assert line.startswith("int8_static@onnxruntime: accuracy 98.00 % (between 97.00 and 99.00 %); ")
    assert "2.00 kB; loads in 0.25 s and 50.0 MB of memory" in line
    said = verdict(candidates, choice, 4)
    assert "int8_static@onnxruntime is chosen" in said
    assert "modelled" in said
    assert "between -0.10 and 0.20 % of accuracy lost" in said


def test_on_a_gpu_its_joules_and_memory_stand_beside_the_hosts(make_meter, make_session, monkeypatch):
    for setting in ("_IDLE_S", "_SHORTEST_COUNTED_S"):
        monkeypatch.setattr(f"overwinter.evaluation.gpu_joules.{setting}", 0.001)
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0001}, "cuda", 7_000_000)
    entry = report(candidates, _judged(candidates), 4)["dense"]
    assert 0 < entry["gpu_energy_per_answer_j"] < entry["energy_per_answer_j"]
    assert (entry["measured"], entry["peak_gpu_memory_bytes"]) == (False, 7_000_000)
    assert "50.0 MB of memory; 7.00 MB of the GPU's" in describe(candidates[0], 4)
    assert "% measured on the GPU, the CPU's modelled, batch 4" in verdict(candidates, _judged(candidates), 4)
    on_the_cpu = report(plain := _candidates(make_meter, make_session, {"dense@torch": 0.0001}), _judged(plain), 4)
    assert set(entry) - set(on_the_cpu["dense"]) == {"gpu_energy_per_answer_j", "peak_gpu_memory_bytes"}


def test_where_nothing_is_faster_the_verdict_says_so(make_meter, make_session):
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0001, "int8_static@onnxruntime": 0.0008})
    choice = _judged(candidates)
    assert report(candidates, choice, 4)["pays"] is False
    assert "compression does not pay" in verdict(candidates, choice, 4)


def test_what_may_be_chosen_and_is_unclear_is_sampled_on(make_meter, make_session, monkeypatch):
    told = {}

    class Unclear:
        def __init__(self, **settings):
            told.update(settings)

        def __call__(self, samples):
            taken = samples["int8@torch", 4]
            return [("int8@torch", 4)] if len(taken) < 50 else []

    monkeypatch.setattr("overwinter.evaluation.comparing.Narrowing", Unclear)
    sessions = {name: make_session(1e-5) for name in ("dense@torch", "int8@torch", "ruined@torch")}
    figures = compare_speed(
        sessions,
        np.zeros((8, 2), np.float32),
        SETTINGS,
        meter=make_meter(),
        seed=0,
        progress=lambda *_: None,
        contenders=["dense@torch", "int8@torch"],
    )
    assert told["contenders"] == ["dense@torch", "int8@torch"]
    assert (told["batch_size"], told["most_samples"], told["precision"]) == (4, 4, 0.02)
    taken = {name: found[4].samples for name, found in figures.items()}
    assert taken["int8@torch"] > max(taken["dense@torch"], taken["ruined@torch"])
