"""A pretended Slurm: its commands read and write one JSON file; jobs end when a test says so."""

import contextlib
import io
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo", "sacct")


@dataclass
class FakeSlurm:
    """The state of the pretended Slurm: `jobs`, `refuse` (what sbatch says), `room` (jobs it takes before it refuses),
    `silent` (whether squeue fails), `accounted` (what sacct prints)."""

    path: Path

    def read(self):
        return json.loads(self.path.read_text())

    def write(self, state):
        self.path.write_text(json.dumps(state))

    def change(self, **values):
        self.write(self.read() | values)

    @property
    def jobs(self):
        return self.read()["jobs"]

    def set_state(self, name, word, reason="None"):
        state = self.read()
        state["jobs"][name] |= {"state": word, "reason": reason}
        self.write(state)

    def waiting(self):
        """Names of pending jobs whose dependencies are satisfied; those whose dependency failed are cancelled."""
        state = self.read()
        for name, job in state["jobs"].items():
            if job["state"] == "PENDING" and any(_word(state, each) in FAILED for each in job["after"]):
                state["jobs"][name] |= {"state": "CANCELLED", "reason": "DependencyNeverSatisfied"}
        self.write(state)
        return [
            name
            for name, job in state["jobs"].items()
            if job["state"] == "PENDING" and all(_word(state, each) == "COMPLETED" for each in job["after"])
        ]

    def answer(self, words):
        """Run a command in this process, which is quicker than a program."""
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said):
                _run(self, words[0], words[1:])
        except SystemExit as end:
            return subprocess.CompletedProcess(words, 1, said.getvalue(), str(end.code))
        return subprocess.CompletedProcess(words, 0, said.getvalue(), "")


FAILED = ("FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY")


def install(folder):
    """Make the commands in a folder, and return the pretended Slurm."""
    fake = FakeSlurm(path=folder / "state.json")
    fake.write({"jobs": {}, "next": 1, "refuse": "", "room": None, "silent": False, "accounted": None, "scripts": []})
    for command in COMMANDS:
        program = folder / command
        program.write_text(
            f"#!{sys.executable} -S\nimport runpy, sys\nsys.argv[1:1] = {[str(folder), command]}\n"
            f"runpy.run_path({__file__!r}, run_name='__main__')\n"
        )
        program.chmod(0o755)
    return fake


def _word(state, name):
    return state["jobs"].get(name, {}).get("state", "COMPLETED")


def _options(words):
    script = next((Path(word) for word in words if word.endswith(".sh")), None)
    lines = [] if script is None else script.read_text().splitlines()
    given = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    flags = [each.removeprefix("--").partition("=") for each in [*given, *words] if each.startswith("--")]
    return {name: value.strip("'") for name, _, value in flags}


def _sbatch(state, words):
    options = _options(words)
    if state["refuse"] and (state["room"] is None or len(state["jobs"]) >= state["room"]):
        sys.exit(f"sbatch: error: {state['refuse']}")
    if "test-only" in options:
        return
    number = state["next"]
    array = options.get("array")
    tasks = [None] if array is None else range(int(array.partition("%")[0].partition("-")[2]) + 1)
    kind, _, job = options.get("dependency", "").partition(":")
    for task in tasks:
        after = [f"{job}_{task}"] if kind == "aftercorr" else [job] if job else []
        name = str(number) if task is None else f"{number}_{task}"
        state["jobs"][name] = {"state": "PENDING", "reason": "None", "after": after, "name": options["job-name"]}
    state["scripts"].append(options)
    state["next"] = number + 1
    print(f"Submitted batch job {number}")


def _squeue(state, words):
    if state["silent"]:
        sys.exit("slurm_load_jobs error: Unable to contact slurm controller (connect failure)")
    for name, job in state["jobs"].items():
        print(f"{name}|{job['state']}|{job['reason']}")


def _scancel(state, words):
    for name in words:
        if state["jobs"].get(name, {}).get("state") in ("PENDING", "RUNNING"):
            state["jobs"][name]["state"] = "CANCELLED"


def _sacct(state, words):
    if state["accounted"] is None:
        sys.exit("Slurm accounting storage is disabled")
    print(state["accounted"])


ANSWERS = {
    "sbatch": _sbatch,
    "squeue": _squeue,
    "scancel": _scancel,
    "sacct": _sacct,
    "scontrol": lambda state, words: print("MaxArraySize            = 1001"),
    "sinfo": lambda state, words: print("long\nshort"),
}


def _run(fake, command, words):
    state = fake.read()
    ANSWERS[command](state, words)
    fake.write(state)


if __name__ == "__main__":
    _, own, name, *given = sys.argv
    _run(FakeSlurm(path=Path(own) / "state.json"), name, given)
