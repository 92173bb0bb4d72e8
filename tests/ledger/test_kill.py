"""`kill -9` at any moment: the ledger knows within a second's worth of power what an outside observer saw.

The meter is simulated: joules are a function of the machine's monotonic clock, which parent and child share,
so that the observer reads the very meter that the killed process fed the ledger from.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from overwinter.ledger import Ledger

KILLS = 25  # 100 kills of real runs: benchmarks/kill.py
POWER_W = 250.0
INTERVAL_S = 0.1  # ten times as often as a real stage has to, so that the test can be ten times as strict

CHILD = """
import sys, threading, time
from pathlib import Path
from overwinter.ledger import Ledger

path, started_s, power_w, interval_s = Path(sys.argv[1]), *map(float, sys.argv[2:])
execution = Ledger.open(path).begin(stage="train", run_id="r", configuration_key="k")

def beat():
    while True:
        execution.heartbeat(energy_j=power_w * (time.monotonic() - started_s), uncertainty_j=1.0)
        time.sleep(interval_s)

threading.Thread(target=beat, daemon=True).start()
print("begun", flush=True)
while True:
    sum(range(1000))
"""


def killed_after(delay_s: float, path: Path) -> float:
    """Run the child, kill it ``delay_s`` after it began, and return the joules the observer saw then."""
    started_s = time.monotonic()
    arguments = [str(path), str(started_s), str(POWER_W), str(INTERVAL_S)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = ["nice", sys.executable, "-c", CHILD, *arguments]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        time.sleep(delay_s)
        observed_j = POWER_W * (time.monotonic() - started_s)
        child.send_signal(signal.SIGKILL)
    return observed_j


def test_a_killed_run_s_joules_are_known_to_within_a_second(path: Path):
    chance = random.Random(KILLS)
    with Ledger.open(path) as ledger:
        for kill in range(KILLS):
            observed_j = killed_after(chance.uniform(0.0, 0.4), path)
            (closed,) = ledger.reap()
            record = ledger.executions()[-1]
            assert (record.id, record.status) == (closed.id, "killed"), f"kill {kill}"
            assert record.energy_j is None or 0 <= record.energy_j <= observed_j
            unseen_j = observed_j - (record.energy_j or observed_j)
            assert unseen_j <= POWER_W * 1.0
            assert record.uncertainty_j is None or unseen_j <= record.uncertainty_j
        assert len(ledger.executions()) == KILLS
        assert sum(each.energy_j is not None for each in ledger.executions()) >= KILLS * 0.8
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
