"""Cost of a server while every model is asleep: memory, and CPU time over ten minutes.

Nothing else needs to rest meanwhile: what is counted is the supervisor's own. Run it from the repository after
`overwinter run`: `python benchmarks/server_idle.py [SECONDS]`.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import sys
import time
from pathlib import Path
from typing import Any

from common import write_result
from overwinter.bundle import wake
from server_common import BUNDLE, ask, question, samples, server

ASLEEP = {"level": "off"}


def main() -> None:
    """Wake the model once, put it to sleep, wait, and write the result."""
    idle_s = float(sys.argv[1]) if len(sys.argv) > 1 else 600.0
    model = wake(BUNDLE)
    with server() as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        status, _ = ask(connection, "/v2/models/model/infer", question(samples(model.bundle, 1)[0]))
        assert status == 200
        ask(connection, "/overwinter/models/model/level", json.dumps(ASLEEP).encode())
        connection.close()
        before = _own(port)
        begin_s = time.perf_counter()
        time.sleep(idle_s)
        waited_s = time.perf_counter() - begin_s
        after = _own(port)
    result = {
        "idle_s": waited_s,
        "resident_bytes": after["resident_bytes"],
        "cpu_s": after["cpu_s"] - before["cpu_s"],
        "core_share": (after["cpu_s"] - before["cpu_s"]) / waited_s,
        "threads": after["threads"],
        "gpu_handles": after["gpu_handles"],
        "note": "a worker has answered before; the CPU time includes answering one status request",
    }
    print(json.dumps(result, indent=2))
    print(write_result("server_idle", result))


def _own(port: int) -> dict[str, Any]:
    """Return what the supervisor uses."""
    _, status = ask(http.client.HTTPConnection("127.0.0.1", port, timeout=60), "/overwinter/status")
    process = Path(f"/proc/{status['supervisor']['pid']}")
    assert status["models"]["model"]["workers"] == []
    opened = []
    for handle in (process / "fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # the listing's own, closed by now
            opened.append(str(handle.readlink()))
    return status["supervisor"] | {
        "threads": len(list((process / "task").iterdir())),
        "gpu_handles": sum(place.startswith(("/dev/nvidia", "/dev/kfd", "/dev/dri")) for place in opened),
    }


if __name__ == "__main__":
    main()
