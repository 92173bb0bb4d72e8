import json

import numpy as np
import torch
from torch.utils.data import Dataset

from overwinter.config.groups import EvaluateConfig
from overwinter.data import InMemory, Split
from overwinter.data.collation import Collation
from overwinter.evaluation import (
    BatchCost,
    Candidate,
    Quality,
    choose,
    compare_speed,
    comparison,
    draw_batches,
    verdict,
)
from overwinter.records import to_json
from overwinter.runtime import Readiness
from overwinter.tasks import Measure

BATCHES = {size: [np.zeros((size, 2), np.float32)] for size in (1, 4)}
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
    prompt_tokens=None,
    written_tokens=None,
    repeats=4,
    max_repeats=4,
    precision=0.02,
    sample_duration_s=0.002,
    threads=1,
    confidence=0.95,
)


def _candidates(make_meter, make_session, speeds_s, device="cpu", peak_gpu_memory_bytes=None):
    sessions = {name: make_session(cpu_s) for name, cpu_s in speeds_s.items()}
    figures = compare_speed(
        sessions,
        BATCHES,
        SETTINGS,
        meter=make_meter(),
        seed=0,
        progress=lambda *_: None,
        device=device,
    )
    return [
        Candidate(
            variant=name.split("@")[0],
            runtime=name.split("@")[1],
            simplicity=simplicity,
            quality=Quality(
                headline=Measure(name="accuracy"),
                figures={"accuracy": 0.98, "worst_class_accuracy": 0.9},
                worst_class="seven",
                interval=(0.97, 0.99),
                loss_interval=(-0.001, 0.002),
            ),
            size_bytes=4000 // (simplicity + 1),
            cost=BatchCost(batch_size=4, figures=figures[name]),
            loading=Readiness(load_s=0.25, peak_memory_bytes=50_000_000, peak_gpu_memory_bytes=peak_gpu_memory_bytes),
        )
        for simplicity, name in enumerate(sessions)
    ]


def _judged(candidates):
    return choose(candidates, max_quality_loss=0.01)


def _written(record):
    return json.loads(json.dumps(to_json(record), allow_nan=False))


def test_a_variant_that_is_faster_is_chosen_and_reported(make_meter, make_session):
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0008, "int8_static@onnxruntime": 0.0001})
    choice = _judged(candidates)
    metrics = _written(choice.metrics(device="cpu"))
    assert metrics["chosen"]["name"] == "int8_static@onnxruntime"
    assert metrics["dense"]["name"] == "dense@torch"
    assert metrics["pays"] is True
    assert (metrics["chosen"]["headline"], metrics["chosen"]["accuracy"], metrics["batch_size"]) == (
        "accuracy",
        0.98,
        4,
    )
    assert metrics["saving"] > 0.7
    assert metrics["size_ratio"] == 2
    assert _written(choice.served(device="cpu")) == {
        "variant": "int8_static",
        "runtime": "onnxruntime",
        "device": "cpu",
    }
    entry = _written(comparison(candidates))["candidates"]["int8_static@onnxruntime"]
    assert set(entry["at_batch"]) == {"1", "4"}
    assert entry["at_batch"]["4"].items() <= entry.items()
    assert entry["measured"] is False
    assert (entry["worst_class"], entry["worst_class_accuracy"]) == ("seven", 0.9)
    assert (entry["accuracy_loss_low"], entry["accuracy_loss_high"]) == (-0.001, 0.002)
    assert (entry["load_s"], entry["peak_memory_bytes"]) == (0.25, 50_000_000)
    assert entry["at_batch"]["1"]["responses_per_s"] > 0
    assert 0 < entry["energy_above_idle_per_response_j"] < entry["energy_per_response_j"]
    line = candidates[1].describe()
    assert line.startswith("int8_static@onnxruntime: accuracy 98.00 % (between 97.00 % and 99.00 %); ")
    assert "2.00 kB; loads in 0.25 s and 50.0 MB of memory" in line
    lines = verdict(candidates, choice, max_quality_loss=0.02)
    assert line in lines
    message = "\n".join(lines)
    assert "int8_static@onnxruntime is chosen" in message
    assert "modelled" in message
    assert "accuracy loss against dense between -0.10 points and 0.20 points" in message


def test_the_metrics_are_few_and_plain(make_meter, make_session):
    """Metrics as `dvc exp show` displays them: it drops lists."""
    choice = _judged(_candidates(make_meter, make_session, {"dense@torch": 0.0001}))
    metrics = _written(choice.metrics(device="cpu"))
    plain = [*metrics.pop("dense").values(), *metrics.pop("chosen").values(), *metrics.values()]
    assert all(isinstance(each, int | float | str) for each in plain)
    assert len(plain) <= 30
    dense = choice.metrics(device="cpu").dense
    assert dense.energy_per_response_low_j <= dense.energy_per_response_j <= dense.energy_per_response_high_j


def test_on_a_gpu_its_joules_and_memory_stand_beside_the_hosts(make_meter, make_session, monkeypatch):
    for setting in ("_IDLE_S", "_MIN_COUNTED_S"):
        monkeypatch.setattr(f"overwinter.evaluation.gpu_joules.{setting}", 0.001)
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0001}, "cuda", 7_000_000)
    entry = candidates[0].to_json()
    assert 0 < entry["gpu_energy_per_response_j"] < entry["energy_per_response_j"]
    assert (entry["measured"], entry["peak_gpu_memory_bytes"]) == (False, 7_000_000)
    message = "\n".join(verdict(candidates, _judged(candidates), max_quality_loss=0.02))
    assert "50.0 MB of memory; 7.00 MB of the GPU's" in message
    assert "% measured on the GPU, the CPU's modelled, batch 4" in message
    (on_the_cpu,) = _candidates(make_meter, make_session, {"dense@torch": 0.0001})
    assert set(entry) - set(on_the_cpu.to_json()) == {"gpu_energy_per_response_j", "peak_gpu_memory_bytes"}


def test_where_nothing_is_faster_the_verdict_says_so(make_meter, make_session):
    candidates = _candidates(make_meter, make_session, {"dense@torch": 0.0001, "int8_static@onnxruntime": 0.0008})
    choice = _judged(candidates)
    assert choice.metrics(device="cpu").pays is False
    assert "compression does not pay" in verdict(candidates, choice, max_quality_loss=0.02)[2]


def test_what_may_be_chosen_and_is_unclear_is_sampled_on(make_meter, make_session, monkeypatch):
    reported = {}

    class Unclear:
        def __init__(self, **settings):
            reported.update(settings)

        def __call__(self, samples):
            taken = samples["int8@torch", 4]
            return [("int8@torch", 4)] if len(taken) < 50 else []

    monkeypatch.setattr("overwinter.evaluation.comparing.Narrowing", Unclear)
    sessions = {name: make_session(1e-5) for name in ("dense@torch", "int8@torch", "ruined@torch")}
    figures = compare_speed(
        sessions,
        BATCHES,
        SETTINGS,
        meter=make_meter(),
        seed=0,
        progress=lambda *_: None,
        contenders=["dense@torch", "int8@torch"],
    )
    assert reported["contenders"] == ["dense@torch", "int8@torch"]
    assert (reported["batch_size"], reported["max_samples"], reported["precision"]) == (4, 4, 0.02)
    taken = {name: found[4].samples for name, found in figures.items()}
    assert taken["int8@torch"] > max(taken["dense@torch"], taken["ruined@torch"])


def split(samples):
    return Split(samples, name="test")


def test_a_batch_is_made_of_real_samples_repeated_where_there_are_too_few():
    inputs = torch.arange(3, dtype=torch.float32)[:, None]
    batches = draw_batches(split(InMemory(inputs, torch.zeros(3, dtype=torch.int64))), [1, 8], seed=0)
    (one,), (many,) = batches[1], batches[8]
    assert (one.shape, many.shape) == ((1, 1), (8, 1))
    assert set(many[:, 0]) == {0.0, 1.0, 2.0}


class Sentences(Dataset):
    """Samples whose lengths differ, which the data set pads."""

    def __len__(self):
        return 20

    def __getitem__(self, at):
        return torch.arange(at + 1), 0


def padded(samples):
    tokens = torch.nn.utils.rnn.pad_sequence([each for each, _ in samples], batch_first=True)
    return tokens, torch.zeros(len(samples), dtype=torch.int64)


def test_of_inputs_whose_lengths_differ_several_batches_are_drawn_each_padded_by_itself():
    varying = Split(Sentences(), name="test", collation=Collation(own=padded))
    batches = draw_batches(varying, [1, 4], seed=0)
    assert len(batches[1]) == len(batches[4]) == 8
    assert len({batch.shape for batch in batches[1]}) > 2
    assert {len(batch) for batch in batches[4]} == {4}
