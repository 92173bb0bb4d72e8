"""Time of the first response from each sleep level.

Rungs are measured in turns with a bare script that loads the same file into ONNX Runtime and responses once. Run
it from the repository after `overwinter run`: `python benchmarks/server_wake.py [REPEATS]`.
"""

from __future__ import annotations

import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from common import write_result
from overwinter.bundle import wake
from server_common import BUNDLE, ask, logits, question, samples, server

BARE = """
import json, sys
import numpy as np
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], sess_options=options, providers=["CPUExecutionProvider"])
sample = np.load(sys.argv[2])
print(session.run(None, {session.get_inputs()[0].name: sample})[0].tolist(), flush=True)
"""
LEVELS = ("off", "preforked", "parked")
SETTLED_S = 0.6  # for a pre-forked worker to finish its imports


def main() -> None:
    """Measure, and write the result."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 50
    model = wake(BUNDLE)
    sample = samples(model.bundle, 1)
    expected = model.run(sample)
    with server() as port, tempfile.TemporaryDirectory() as folder:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        np.save(Path(folder) / "sample.npy", sample)
        durations_s: dict[str, list[float]] = {name: [] for name in ("bare", *LEVELS)}
        for _ in range(repeats):
            durations_s["bare"].append(_bare(Path(folder) / "sample.npy", expected))
            for level in LEVELS:
                durations_s[level].append(_from_level(connection, level, sample, expected))
        _, status = ask(connection, "/overwinter/status")
    times = {name: _summary(values) for name, values in durations_s.items()}
    times["ratio_off_to_bare"] = {"p50": times["off"]["p50_s"] / times["bare"]["p50_s"]}
    result = {
        "repeats": repeats,
        "after_wakes_resident_bytes": status["supervisor"]["resident_bytes"],
        "first_response": times,
        "note": "first response over HTTP, the worker at the level; bare: from starting Python to the response",
    }
    print(json.dumps(result, indent=2))
    print(write_result("server_wake", result))


def _bare(sample: Path, expected: np.ndarray) -> float:
    begin_s = time.perf_counter()
    command = [sys.executable, "-c", BARE, str(BUNDLE / "payload" / "model.onnx"), str(sample)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        response = json.loads(process.stdout.readline())
        duration_s = time.perf_counter() - begin_s
    assert np.allclose(response, expected, atol=1e-4)
    return duration_s


def _from_level(connection: http.client.HTTPConnection, level: str, sample: np.ndarray, expected: np.ndarray) -> float:
    ask(connection, "/overwinter/models/model/level", json.dumps({"level": "ready"}).encode())
    ask(connection, "/overwinter/models/model/level", json.dumps({"level": level}).encode())
    time.sleep(SETTLED_S if level == "preforked" else 0.05)
    body = question(sample[0])
    begin_s = time.perf_counter()
    status, response = ask(connection, "/v2/models/model/infer", body)
    duration_s = time.perf_counter() - begin_s
    assert status == 200, response
    assert np.allclose(logits(response), expected, atol=1e-4)
    return duration_s


def _summary(durations_s: list[float]) -> dict[str, float]:
    return {
        "p50_s": statistics.median(durations_s),
        "p95_s": float(np.quantile(durations_s, 0.95)),
        "least_s": min(durations_s),
    }


if __name__ == "__main__":
    main()
