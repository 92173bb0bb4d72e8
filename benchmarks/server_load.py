"""20,000 requests from 32 clients while the worker is put to sleep and killed 100 times: none lost, none wrong.

Every request must get a correct response, or a 503 with the time to retry. Run it from the repository
after `overwinter run`: `python benchmarks/server_load.py [REQUESTS] [CLIENTS] [DISTURBANCES]`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from common import write_result
from overwinter.bundle import wake
from overwinter.runtime import Array
from server_common import BUNDLE, ask, logits, question, samples, server

LEVELS = ("parked", "preforked", "off")
QUESTIONS = 64
SEED = 0


@dataclass
class Load:
    """State shared by the clients."""

    port: int
    questions: list[bytes]
    expected: Array
    left: int
    outcomes: Counter[str] = field(default_factory=Counter)
    waits_s: list[float] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def take(self) -> int | None:
        """Return the number of the next request; None when all are taken."""
        with self.lock:
            self.left -= 1
            return self.left if self.left >= 0 else None


def main() -> None:
    """Load the server, disturb it, and write the result."""
    given = [int(word) for word in sys.argv[1:]]
    requests, clients, disturbances = given + [20_000, 32, 100][len(given) :]
    model = wake(BUNDLE)
    inputs = samples(model.bundle, QUESTIONS)
    with server() as port:
        load = Load(port, [question(sample) for sample in inputs], model.run(inputs), requests)
        begin_s = time.perf_counter()
        threads = [threading.Thread(target=_client, args=(load,)) for _ in range(clients)]
        for thread in threads:
            thread.start()
        disturbed = _disturb(load, requests, disturbances)
        for thread in threads:
            thread.join()
        duration_s = time.perf_counter() - begin_s
        _, status = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "/overwinter/status")
    result = {
        "requests": requests,
        "clients": clients,
        "disturbances": disturbed,
        "outcomes": dict(load.outcomes),
        "duration_s": duration_s,
        "wait_s": {f"p{share}": float(np.percentile(load.waits_s, share)) for share in (50, 95, 99, 100)},
        "status": status["models"]["model"],
    }
    print(json.dumps(result, indent=2))
    print(write_result("server_load", result))
    if sum(load.outcomes.values()) != requests or set(load.outcomes) - {"right", "503 with Retry-After"}:
        raise SystemExit("A request was lost or answered wrongly.")


def _client(load: Load) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=120)
    while (number := load.take()) is not None:
        begin_s = time.perf_counter()
        try:
            outcome = _outcome(load, connection, number % QUESTIONS)
        except (OSError, http.client.HTTPException, ValueError) as error:
            outcome = f"lost: {type(error).__name__}"
            connection.close()
        with load.lock:
            load.outcomes[outcome] += 1
            load.waits_s.append(time.perf_counter() - begin_s)


def _outcome(load: Load, connection: http.client.HTTPConnection, place: int) -> str:
    connection.request("POST", "/v2/models/model/infer", load.questions[place])
    reply = connection.getresponse()
    content = json.loads(reply.read())
    if reply.status == 200:
        return "right" if np.allclose(logits(content), load.expected[place], atol=1e-4) else "wrong"
    clear = reply.status == 503 and reply.headers["Retry-After"] is not None
    return "503 with Retry-After" if clear else f"{reply.status}: {content}"


def _disturb(load: Load, requests: int, count: int) -> Counter[str]:
    """Put to sleep and kill in turns, spread evenly over the requests; return what was done."""
    rng = np.random.default_rng(SEED)
    connection = http.client.HTTPConnection("127.0.0.1", load.port, timeout=120)
    done: Counter[str] = Counter()
    for number in range(count):
        while load.left > requests * (1 - (number + 1) / (count + 1)):
            time.sleep(0.002)
        level = str(rng.choice(LEVELS))
        done[_kill(connection) if number % 2 else _sleep(connection, level)] += 1
    return done


def _sleep(connection: http.client.HTTPConnection, level: str) -> str:
    status, _ = ask(connection, "/overwinter/models/model/level", json.dumps({"level": level}).encode())
    return f"sleep: {level}" if status == 200 else f"sleep: {level} ({status})"


def _kill(connection: http.client.HTTPConnection) -> str:
    for _ in range(1000):
        _, status = ask(connection, "/overwinter/status")
        for worker in status["models"]["model"]["workers"]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker, signal.SIGKILL)
                return "kill"
        time.sleep(0.005)
    return "nothing to kill"


if __name__ == "__main__":
    main()
