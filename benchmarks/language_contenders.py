"""Contenders of `language.py`: variants built for runtimes, and peers on the input file, each in its own process."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import common
import smollm2
from overwinter import runtime
from overwinter.errors import OverwinterError
from overwinter.inputs import Array

_HERE = Path(__file__).parent
_PARTIAL = ".partial"
# As a user would run the input file: name -> the environment and the program of benchmarks/peers.
PEERS = {
    "peer: llama.cpp": ("llama-cpp", "llama_cpp_responses.py"),
    "peer: openvino-genai": ("openvino-genai", "openvino_genai_responses.py"),
}
RUNTIMES = ("torch", "torch-bf16", "onnxruntime", "openvino", "llama-cpp")


def build_all(variants: Mapping[str, Path], built: Path, examples: Array) -> dict[str, str]:
    """Build every variant for every runtime that takes it; return what was refused, and why.

    What an earlier run built is kept.

    Args:
        variants: name -> folder of the saved model.
        built: folder for what is built, by variant@runtime.
        examples: windows of tokens, with which predictions are compared.
    """
    refused = {}
    for variant, folder in variants.items():
        for name in RUNTIMES:
            out = built / f"{variant}@{name}"
            if out.exists():
                continue
            reason = runtime.refusal(folder, name)
            if reason is None:
                reason = _built(folder, name, out, examples)
            if reason is not None:
                refused[out.name] = reason
            print(out.name, reason or "built", flush=True)
    return refused


def _built(folder: Path, name: str, out: Path, examples: Array) -> str | None:
    staging = out.with_name(out.name + _PARTIAL)
    shutil.rmtree(staging, ignore_errors=True)
    try:
        runtime.build(folder, name, staging, examples=examples, trusted=[])
    except OverwinterError as error:
        return str(error)
    staging.rename(out)
    return None


def commands(built: Path, threads: int, only: Sequence[str] = ()) -> dict[str, list[str]]:
    """Return the command of every contender by name: the peers, and what was built or, of it, what ``only`` names.

    A peer that is not installed is left out: the figures then say over which they are.
    """
    gguf = str(input_file())
    found = {
        name: [str(common.peer_python(peer)), str(_HERE / "peers" / program), gguf, str(threads)]
        for name, (peer, program) in PEERS.items()
        if common.has_peer(peer)
    }
    for folder in sorted(each for each in built.glob("*@*") if each.suffix != _PARTIAL):
        ours = [sys.executable, str(_HERE / "language_responses.py")]
        found[folder.name] = [*ours, str(folder), folder.name.partition("@")[2], str(threads)]
    return {name: command for name, command in found.items() if not only or name in PEERS or name in only}


def input_file() -> Path:
    """Return the file that the model came in."""
    package, _, name = smollm2.GGUF.removeprefix("package:").partition("/")
    return smollm2.package_folder(package) / name


def size_bytes(built: Path, name: str) -> int:
    """Return the bytes of what a contender reads: of a peer the input file."""
    if name in PEERS:
        return input_file().stat().st_size
    return sum(each.stat().st_size for each in (built / name).rglob("*") if each.is_file())


class Contender:
    """A process that responds (`benchmarks/peers/responding.py`)."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def respond(self, prompt: Sequence[int], count: int) -> dict[str, Any]:
        """Return the written tokens and what they cost."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"prompt": list(prompt), "written": count}) + "\n")
        self._process.stdin.flush()
        reply: dict[str, Any] = json.loads(self.line())
        assert len(reply["written"]) == count, f"{len(reply['written'])} tokens instead of {count}"
        return reply

    def line(self) -> str:
        """Return the next line that the process writes.

        Raises:
            SystemExit: it has ended.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{' '.join(self._process.args)} ended with {self._process.wait()}.")  # type: ignore[arg-type]
        return line


@contextmanager
def running(contenders: Mapping[str, Sequence[str]], threads: int) -> Iterator[dict[str, Contender]]:
    """Start all processes, one after the other, and give them when they have loaded."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with ExitStack() as stack:
        found = {}
        for name, command in contenders.items():
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
            )
            stack.callback(_end, process)
            found[name] = Contender(process)
            while found[name].line() != "ready\n":  # before it, libraries may print
                pass
        yield found


def _end(process: subprocess.Popen[str]) -> None:
    """Let a process end by ending its input; one that does not is killed."""
    assert process.stdin is not None
    with process:
        process.stdin.close()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
