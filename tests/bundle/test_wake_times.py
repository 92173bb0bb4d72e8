import pytest

from overwinter.bundle import WakeTimes, measure_wake
from overwinter.errors import OverwinterError


def test_a_fresh_process_wakes_the_bundle(hibernate):
    times = measure_wake(hibernate().folder, repeats=2)
    assert len(times.durations_s) == 2
    assert all(0.01 < duration_s < 60 for duration_s in times.durations_s)


def test_what_does_not_wake_is_an_error_that_says_why(hibernate):
    bundle = hibernate()
    (bundle.payload / "model.onnx").write_bytes(b"")
    with pytest.raises(OverwinterError, match=r"does not wake in a fresh process: .*0 bytes instead of"):
        measure_wake(bundle.folder, repeats=1)


def test_the_median_is_the_middle():
    assert WakeTimes(durations_s=(0.3, 0.1, 9.0)).median_s == 0.3
