"""A real Slurm on this machine: munge, slurmctld and slurmd on a temporary configuration, with one node."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scontrol")
MAX_JOBS = 20_000
_PATIENCE_S = 30.0
_CONF = """\
ClusterName=overwinter
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={control_port}
SlurmdPort={node_port}
AuthInfo=socket={folder}/munge/socket,cred_expire=15
SlurmUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=bf_interval=2,sched_interval=2,sched_min_interval=100000,batch_sched_delay=1
ReturnToService=2
KillWait=30
OverTimeLimit=0
MpiDefault=none
MinJobAge=300
MaxJobCount={jobs}
GresTypes=gpu
NodeName={host} NodeAddr=127.0.0.1 CPUs=2 RealMemory=8000 Gres=gpu:1 State=UNKNOWN
PartitionName=main Nodes={host} Default=YES MaxTime=UNLIMITED State=UP
"""


def missing() -> str:
    """Return why no Slurm can be started here; empty if it can."""
    lacking = [program for program in PROGRAMS if _found(program) is None]
    if lacking:
        return f"{', '.join(lacking)} not installed (Debian: slurmctld slurmd munge slurm-client)"
    return "" if os.geteuid() == 0 else "slurmd and slurmctld are started as root"


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """Run a Slurm with one node of two processors and a pretended GPU; yield the environment of its commands."""
    with tempfile.TemporaryDirectory(prefix="slurm-", dir="/tmp") as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        folder.chmod(0o755)
        _start_munge(folder, stack)
        environment = {"SLURM_CONF": str(_configured(folder))}
        variables = {**os.environ, **environment}
        for program in ("slurmctld", "slurmd"):
            _run_until_end([program, "-D"], stack, folder, variables)
        _wait_until_idle(variables, folder)
        yield environment


def _start_munge(folder: Path, stack: contextlib.ExitStack) -> None:
    own = folder / "munge"
    own.mkdir(mode=0o755)
    key = own / "key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    for path in (own, key):
        shutil.chown(path, "munge", "munge")
    places = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    words = [f"--{option}={own / place}" for option, place in places.items()]
    command = ["setpriv", "--reuid=munge", "--regid=munge", "--clear-groups", str(_found("munged")), "--foreground"]
    _run_until_end([*command, *words], stack, folder, dict(os.environ))
    _wait_for((own / "socket").exists, "munged made no socket", folder)


def _configured(folder: Path) -> Path:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    ports = [_free_port() for _ in range(2)]
    path = folder / "slurm.conf"
    host = socket.gethostname().partition(".")[0]
    path.write_text(_CONF.format(folder=folder, host=host, control_port=ports[0], node_port=ports[1], jobs=MAX_JOBS))
    (folder / "gres.conf").write_text("Name=gpu File=/dev/zero\n")
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nIgnoreSystemd=yes\n")
    return path


def _run_until_end(command: list[str], stack: contextlib.ExitStack, folder: Path, variables: Mapping[str, str]) -> None:
    program = str(_found(command[0]))
    log = stack.enter_context((folder / f"{Path(program).name}.out").open("wb"))
    started = subprocess.Popen(
        [program, *command[1:]], env=dict(variables), stdout=log, stderr=log, start_new_session=True
    )
    stack.callback(_end, started)


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_idle(variables: Mapping[str, str], folder: Path) -> None:
    def idle() -> bool:
        done = subprocess.run(
            ["sinfo", "--noheader", "--format=%T"], env=dict(variables), capture_output=True, text=True, check=False
        )
        return done.stdout.strip() == "idle"

    _wait_for(idle, "no node is idle", folder)


def _wait_for(condition, what: str, folder: Path) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            logs = "".join(path.read_text(errors="replace")[-1000:] for path in sorted(folder.glob("*.log")))
            raise AssertionError(f"{what}: {logs}")
        time.sleep(0.1)


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
