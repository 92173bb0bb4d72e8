"""Savings that a hibernating server reports, compared with those measured from outside.

    python benchmarks/hibernation_saving.py [--window-s 20] [--replay-s 180] [--seed 0]

Run it from the repository after `overwinter run`. An observer reads from /proc what the server and its workers cost:
CPU seconds, and proportional memory over time. Joules are modelled from them (watts of a busy thread, 0.375 W per GiB):
no counter is read, and on a CPU a resident model draws hardly anything, so the saving is small; what is looked at is
whether the server's own account of it is right.

1. Draws: the server is put at each sleep level, and the observer says what it draws there; a sleep level that draws no
   less than the one above is left out. To a wake goes all that a sleep costs: leaving, starting, and what the first
   response costs more than others.
2. Replay: requests at random moments, of a server that never sleeps (twice: what differs is in doubt) and of two that
   hibernate by `break_even` with these draws, at every sleep level and on `off` alone. Observed saving: the difference
   of what the observer saw. Claimed saving: of the hibernating server. A claim that does not hold is shown.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import math
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import write_result
from overwinter.bundle import wake
from overwinter.energy.machine import this_machine, thread_power_w
from server_common import BUNDLE, ask, question, samples, server

MEMORY_W_PER_GIB = 0.375
THREAD_W_IN_DOUBT = 4.0  # configs/hardware
TICKS_PER_S = 100
LEVELS = ("ready", "parked", "preforked", "off")
NEVER = ("serve.sleep.policy=fixed", "++serve.sleep.options.timeout_s=1000000")
WAKES = 10
RESPONSE_S = 1.0  # after which all work for a request has ended
SETTLE_S = 3.0  # a worker that has just started still imports what the next wake needs


class Observer:
    """Watches a process and its children from outside."""

    def __init__(self, pid: int, thread_w: float) -> None:
        self._pid, self._thread_w = pid, thread_w

    def cpu_s(self) -> float:
        """Return the CPU seconds of the process, its children, and those that it has waited for."""
        return _waited_s(self._pid) + sum(map(_living_s, (self._pid, *self._children())))

    def memory_w(self) -> float:
        """Return the modelled watts of the memory that they hold now, shared pages by their share."""
        held = sum(_proportional_bytes(pid) for pid in (self._pid, *self._children()))
        return MEMORY_W_PER_GIB * held / 2**30

    @contextlib.contextmanager
    def watching(self, period_s: float = 0.25) -> Iterator[dict[str, float]]:
        """Yield a dictionary that holds the joules and seconds of the work inside, after it ends."""
        seen = {"memory_j": 0.0}
        over = threading.Event()

        def look() -> None:
            last_s = time.monotonic()
            while not over.wait(period_s):
                now_s = time.monotonic()
                seen["memory_j"] += self.memory_w() * (now_s - last_s)
                last_s = now_s

        looking = threading.Thread(target=look)
        begin_s, begin_cpu_s = time.monotonic(), self.cpu_s()
        looking.start()
        try:
            yield seen
        finally:
            over.set()
            looking.join()
            seen["duration_s"] = time.monotonic() - begin_s
            seen["cpu_s"] = self.cpu_s() - begin_cpu_s
            seen["energy_j"] = seen["memory_j"] + seen["cpu_s"] * self._thread_w

    def _children(self) -> list[int]:
        listed = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text(encoding="ascii")
        return [int(pid) for pid in listed.split()]


def main() -> None:
    """Measure, print, and write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--window-s", type=float, default=20.0, help="of watching at each sleep level")
    parser.add_argument("--replay-s", type=float, default=180.0, help="of requests, for each server")
    parser.add_argument("--seed", type=int, default=0, help="of their moments")
    arguments = parser.parse_args()
    thread_w, reason = thread_power_w(
        this_machine(), cpu_tdp_w=None, cpu_threads=None, cpu_w_per_thread=THREAD_W_IN_DOUBT
    )
    body = question(samples(wake(BUNDLE).bundle, 1)[0])
    power_draw = measured_power_draw(arguments.window_s, body, thread_w)
    moments_s = moments(arguments.replay_s, arguments.seed)
    content: dict[str, Any] = {
        "kind": f"modelled: {thread_w:g} W per busy thread ({reason}), {MEMORY_W_PER_GIB} W per GiB",
        "power_draw": power_draw,
        "requests": len(moments_s),
    }
    settings = [*NEVER, *overrides(power_draw, LEVELS)]
    awake, again = (replayed(moments_s, arguments.replay_s, body, thread_w, settings) for _ in range(2))
    content["never_asleep"] = awake
    doubt_j = math.hypot(awake["energy_j"] - again["energy_j"], power_draw["request_uncertainty_j"])
    content["observed_uncertainty_j"] = doubt_j  # of one server to the next, with nothing else changed
    for name, levels in (("every_level", LEVELS), ("off_alone", ("ready", "off"))):
        asleep = replayed(moments_s, arguments.replay_s, body, thread_w, overrides(power_draw, levels))
        content[name] = asleep | compared(asleep, awake, doubt_j)
    print(json.dumps(content, indent=2))
    print(f"wrote results/{write_result('hibernation_saving', content).name}")


def compared(asleep: dict[str, Any], awake: dict[str, Any], doubt_j: float) -> dict[str, Any]:
    """Return the saving as it was seen and as it was claimed."""
    observed_j, claimed_j = awake["energy_j"] - asleep["energy_j"], asleep["claimed_j"]
    uncertainty_j = math.hypot(asleep["claimed_uncertainty_j"], doubt_j)
    return {
        "observed_saving_j": observed_j,
        "share_of_never_asleep": observed_j / awake["energy_j"],
        "claim_holds": abs(observed_j - claimed_j) <= 2 * uncertainty_j,
    }


def measured_power_draw(window_s: float, body: bytes, thread_w: float) -> dict[str, float]:
    """Return watts at each sleep level and during a wake, their standard uncertainty.

    And what a request's joules vary by.
    """
    with server(*NEVER) as port:
        connection, observer = observed(port, thread_w)
        response(connection, body)
        watts: dict[str, float] = {}
        doubts_w = []
        for level in LEVELS:
            put(connection, level)
            time.sleep(SETTLE_S)
            windows_w = [watch(observer, window_s / 4) for _ in range(4)]
            watts[f"{level}_w"] = statistics.fmean(windows_w)
            doubts_w.append(statistics.stdev(windows_w) / 2)
        put(connection, "ready")
        time.sleep(SETTLE_S)
        requests_j = [asked(connection, observer, body) - RESPONSE_S * watts["ready_w"] for _ in range(WAKES)]
        request_j = statistics.fmean(requests_j)
        wakes_j = {
            level: [cycle(connection, observer, body, level, watts) - request_j for _ in range(WAKES)]
            for level in LEVELS[1:]
        }
    return {
        **watts,
        **{f"{level}_wake_j": max(0.0, statistics.fmean(joules)) for level, joules in wakes_j.items()},
        "uncertainty_w": max(*doubts_w, 1e-4),
        "wake_uncertainty_j": max(map(statistics.stdev, wakes_j.values())),
        "request_j": request_j,
        "request_uncertainty_j": statistics.stdev(requests_j) * math.sqrt(2 * WAKES),
    }


def overrides(power_draw: dict[str, float], levels: Sequence[str]) -> list[str]:
    """Return the power draw as the server is reported them.

    And those of the sleep levels that draw less than the one above.
    """
    settings = [f"serve.power_draw.{key}={value}" for key, value in power_draw.items() if not key.startswith("request")]
    lower = [
        level for above, level in itertools.pairwise(levels) if power_draw[f"{level}_w"] < power_draw[f"{above}_w"]
    ]
    settings += [f"serve.sleep.levels=[{','.join(lower)}]"]
    return ["serve.power_draw.source='an observer, modelled'", *settings]


def moments(duration_s: float, seed: int) -> list[float]:
    """Return when requests come: bursts of a few, with long gaps between them."""
    rng = np.random.default_rng(seed)
    found, now_s = [], 1.0
    while now_s < duration_s:
        found.append(now_s)
        now_s += float(rng.exponential(1.0 if rng.random() < 0.7 else duration_s / 3))
    return found


def replayed(
    moments_s: list[float], duration_s: float, body: bytes, thread_w: float, settings: list[str]
) -> dict[str, Any]:
    """Return what a server costs, seen from outside, and what it says itself."""
    with server(*settings) as port:
        connection, observer = observed(port, thread_w)
        response(connection, body)
        before = status(connection)
        with observer.watching() as seen:
            begin_s = time.monotonic()
            for moment_s in [*moments_s, duration_s]:
                time.sleep(max(0.0, begin_s + moment_s - time.monotonic()))
                if moment_s < duration_s:
                    response(connection, body)
        after = status(connection)
    claimed_j = after["saved_j"]["value"] - before["saved_j"]["value"]
    return {
        **seen,
        "wakes": after["wakes"] - before["wakes"],
        "state_s": {level: after["state_s"][level] - before["state_s"][level] for level in after["state_s"]},
        "claimed_j": claimed_j,
        "claimed_uncertainty_j": after["saved_j"]["standard_uncertainty"],
    }


def observed(port: int, thread_w: float) -> tuple[http.client.HTTPConnection, Observer]:
    """Return a connection to the server, and an observer of it."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    _, content = ask(connection, "/overwinter/status")
    return connection, Observer(content["supervisor"]["pid"], thread_w)


def status(connection: http.client.HTTPConnection) -> dict[str, Any]:
    """Return what the server says of the model."""
    connection.close()
    content: dict[str, Any] = ask(connection, "/overwinter/status")[1]["models"]["model"]
    return content


def response(connection: http.client.HTTPConnection, body: bytes) -> None:
    """Ask once, on a connection of its own: the server closes one that is silent for as long as the gaps are."""
    connection.close()
    code, _ = ask(connection, "/v2/models/model/infer", body)
    assert code == 200


def put(connection: http.client.HTTPConnection, level: str) -> None:
    """Put the model at a sleep level."""
    code, content = ask(connection, "/overwinter/models/model/level", json.dumps({"level": level}).encode())
    assert code == 200, content


def watch(observer: Observer, duration_s: float) -> float:
    """Return the watts while nothing is asked."""
    with observer.watching() as seen:
        time.sleep(duration_s)
    return seen["energy_j"] / seen["duration_s"]


def cycle(
    connection: http.client.HTTPConnection, observer: Observer, body: bytes, level: str, watts: dict[str, float]
) -> float:
    """Return the joules of going to a sleep level and answering from there, without those of sleeping.

    To `preforked` leads the start of a process, which the server counts by itself: it is over before the watch begins.
    """
    put(connection, "ready")
    time.sleep(SETTLE_S / 2)
    if level == "preforked":
        put(connection, level)
        time.sleep(SETTLE_S)
    before = status(connection)["state_s"]
    with observer.watching(0.02) as seen:
        put(connection, level)
        response(connection, body)
        time.sleep(RESPONSE_S)
    after = status(connection)["state_s"]
    rested_j = sum(
        (after[state] - before[state]) * watts["off_w" if state == "waking" else f"{state}_w"] for state in after
    )
    return seen["energy_j"] - rested_j


def asked(connection: http.client.HTTPConnection, observer: Observer, body: bytes) -> float:
    """Return the joules in the `RESPONSE_S` after a request of a ready model."""
    with observer.watching(0.02) as seen:
        response(connection, body)
        time.sleep(RESPONSE_S)
    return seen["energy_j"]


def _waited_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[13]) + int(fields[14])) / TICKS_PER_S  # cutime and cstime of proc(5), the third field first


def _living_s(pid: int) -> float:
    """Return the CPU seconds of a process by its threads' nanoseconds; a tick of `stat` would be 10 ms."""
    spent_ns = 0
    for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            spent_ns += int(task.read_text(encoding="ascii").split()[0])
    return spent_ns / 1e9


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:")), 0)


if __name__ == "__main__":
    main()
