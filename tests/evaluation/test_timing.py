import numpy as np
import pytest

from overwinter.evaluation.joules import CpuJoules
from overwinter.evaluation.timing import Sample, TimingPlan, _to_repeat, measure_speed

BATCHES = {size: [np.zeros((size, 4), np.float32)] for size in (1, 4)}
PLAN = TimingPlan(repeats=3, sample_duration_s=0.002, seed=0)


def test_cpu_time_per_response_is_found(make_meter, make_session):
    sessions = {"slow": make_session(0.0004), "fast": make_session(0.0001)}
    samples = measure_speed(sessions, BATCHES, PLAN, CpuJoules(make_meter()), lambda done, total: None)
    assert set(samples) == {("slow", 1), ("slow", 4), ("fast", 1), ("fast", 4)}
    for (name, _), taken in samples.items():
        per_response_s = np.median([sample.cpu_s / sample.responses for sample in taken])
        assert sessions[name].cpu_s <= per_response_s < 1.5 * sessions[name].cpu_s


def test_every_sample_fills_its_duration_and_knows_its_calls(make_meter, make_session):
    samples = measure_speed({"a": make_session(0.0001)}, BATCHES, PLAN, CpuJoules(make_meter()), lambda *_: None)
    for (_, size), taken in samples.items():
        assert len(taken) >= PLAN.repeats
        for sample in taken:
            assert sample.wall_s > 0.5 * PLAN.sample_duration_s
            assert sample.responses == size * len(sample.latencies_s)
            assert sample.wall_s == pytest.approx(sum(sample.latencies_s))


def test_sessions_take_turns_in_an_order_that_the_seed_decides(make_meter, make_session):
    def order(seed):
        turns = []
        sessions = {name: make_session(0.0001) for name in "abcd"}
        for name, session in sessions.items():
            session.run = lambda inputs, name=name, run=session.run: turns.append(name) or run(inputs)
        plan = TimingPlan(repeats=4, sample_duration_s=0.0001, seed=seed)
        measure_speed(sessions, {1: BATCHES[1]}, plan, CpuJoules(make_meter()), lambda *_: None)
        changes = [a for a, b in zip(turns, [*turns[1:], ""], strict=True) if a != b]
        return changes[4:]  # after the warm-ups

    first = order(0)
    assert len(first) >= 8, "blocks of one session after another would give 4"
    assert sorted(first[:4]) != first[:4] or sorted(first[4:8]) != first[4:8]


def test_progress_ends_at_the_total(make_meter, make_session):
    messages = []
    measure_speed(
        {"a": make_session(1e-5)}, BATCHES, PLAN, CpuJoules(make_meter()), lambda *step: messages.append(step)
    )
    assert messages[0] == (1, 6)
    assert messages[-1] == (6, 6)


def test_a_refusal_in_progress_gets_out(make_meter, make_session):
    def refuse(done, total):
        raise RuntimeError("over budget")

    with pytest.raises(RuntimeError, match="over budget"):
        measure_speed({"a": make_session(1e-5)}, BATCHES, PLAN, CpuJoules(make_meter()), refuse)


def test_batches_of_several_lengths_take_turns_and_every_sample_holds_all_of_them(make_meter, make_session):
    session, lengths = make_session(1e-5), []
    session.run = lambda inputs, run=session.run: lengths.append(inputs["tokens"].shape[1]) or run(inputs["tokens"])
    batches = {1: [{"tokens": np.zeros((1, length), np.int64)} for length in (3, 5, 9)]}
    samples = measure_speed({"a": session}, batches, PLAN, CpuJoules(make_meter()), lambda *_: None)
    assert {len(sample.latencies_s) % 3 for sample in samples["a", 1]} == {0}
    assert lengths[:6] == [3, 5, 9, 3, 5, 9]


def _samples(quiet, disturbed):
    def sample(foreign_s):
        return Sample(
            responses=1,
            wall_s=0.05,
            cpu_s=0.05,
            energy_j=None,
            latencies_s=np.array([0.05]),
            foreign_s=foreign_s,
        )

    return [sample(0.0)] * quiet + [sample(1.0)] * disturbed


def test_only_what_was_disturbed_is_taken_again():
    assert _to_repeat({("a", 1): _samples(10, 0), ("b", 1): _samples(7, 3)}, 10) == [("b", 1)]


def test_on_a_machine_that_is_never_quiet_nothing_is():
    assert _to_repeat({("a", 1): _samples(1, 9), ("b", 1): _samples(2, 8)}, 10) == []
