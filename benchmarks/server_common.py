"""Shared code of the server's benchmarks: a server in its own process, and its requests."""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.bundle import Bundle
from overwinter.runtime import Array

BUNDLE = Path("outputs/hibernate/bundle")


@contextlib.contextmanager
def server(*overrides: str, bundle: Path = BUNDLE) -> Iterator[int]:
    """Serve a bundle as `model`; give the port."""
    command = [
        sys.executable,
        "-m",
        "overwinter.cli",
        "serve",
        "--model",
        f"model={bundle}",
        "serve.port=0",
        *overrides,
    ]
    with (
        tempfile.TemporaryFile("w+") as log,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True) as process,
    ):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            log.seek(0)
            raise SystemExit(log.read())
        try:
            yield int(line.rsplit(":", 1)[1])
        finally:
            process.terminate()


def samples(bundle: Bundle, count: int) -> Array:
    """Return model inputs (count, ...), float32."""
    return np.random.default_rng(0).standard_normal((count, *bundle.signature.sample_shape)).astype(np.float32)


def question(sample: Array) -> bytes:
    """Return the body of a request for the logits of one sample."""
    tensor = {"name": "input", "datatype": "FP32", "shape": [1, *sample.shape], "data": sample.ravel().tolist()}
    return json.dumps({"inputs": [tensor], "outputs": [{"name": "logits"}]}).encode()


def logits(response: Any) -> Array:
    """Return the logits (1, classes) of a response."""
    return np.array(response["outputs"][0]["data"], dtype=np.float32)


def ask(connection: http.client.HTTPConnection, path: str, body: bytes | None = None) -> tuple[int, Any]:
    """Return status and content; a POST if there is a body."""
    connection.request("GET" if body is None else "POST", path, body)
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())
