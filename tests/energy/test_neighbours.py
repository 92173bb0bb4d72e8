"""Two meters of one counter know of each other, also when they overlap only in part, and forget the dead."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy.cpu_share import CpuShare, busy_s
from overwinter.energy.neighbours import Neighbours

OTHER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from overwinter.energy.neighbours import Neighbours\n"
    "said = []\n"
    "other = Neighbours({sys.argv[2]: 'gpu:7'}, said.append, folder=Path(sys.argv[1]))\n"
    "other.begin()\n"
    "print('metering', flush=True)\n"
    "sys.stdin.readline()\n"
    "other.look(now=True)\n"
    "other.close()\n"
    "print(said, flush=True)\n"
)
# As an orphan it is nobody's child, as another user's meter would be.
ORPHAN = f"import subprocess,sys; subprocess.Popen([sys.executable,'-c',{OTHER!r},*sys.argv[1:]])"


class Others:
    """Meters in processes that are no relatives of this one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def start(self, counter: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", ORPHAN, str(self.folder), counter],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        assert process.stdout.readline() == "metering\n"
        return process


def meter(folder: Path, **counters: str) -> tuple[Neighbours, list[str]]:
    said: list[str] = []
    own = Neighbours(counters or {"GPU-a": "gpu:0"}, said.append, folder=folder)
    own.begin()
    return own, said


def test_both_say_so_and_only_while_it_lasts(tmp_path: Path) -> None:
    folder = tmp_path / "meters"
    own, said = meter(folder)
    assert said == []
    other = Others(folder).start("GPU-a")
    own.look(now=True)
    assert len(said) == 1
    assert said[0].startswith("gpu:0: process ")
    assert own.seen
    told, _ = other.communicate("\n")
    assert f"gpu:7: process {os.getpid()} meters it at the same time" in told
    said.clear()
    own.look(now=True)
    assert said == []
    own.close()
    assert list(folder.glob("*.json")) == []


def test_another_counter_is_nobody_s_business(tmp_path: Path) -> None:
    own, said = meter(tmp_path / "meters")
    other = Others(tmp_path / "meters").start("GPU-b")
    own.look(now=True)
    assert said == []
    other.communicate("\n")
    own.close()


def test_a_killed_meter_is_forgotten(tmp_path: Path) -> None:
    own, said = meter(tmp_path / "meters")
    other = Others(tmp_path / "meters").start("GPU-a")
    own.look(now=True)
    pid = int(said.pop().split("process ")[1].split()[0])
    os.kill(pid, signal.SIGKILL)
    other.communicate()
    time.sleep(0.2)
    own.look(now=True)
    assert said == []
    assert len(list((tmp_path / "meters").glob("*.json"))) == 1
    own.close()


def test_a_meter_inside_another_one_s_command_is_a_part_of_it(tmp_path: Path) -> None:
    own, said = meter(tmp_path / "meters")
    child = subprocess.run(
        [sys.executable, "-c", OTHER, str(tmp_path / "meters"), "GPU-a"],
        input="\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "metering\n[]\n"
    assert said == []
    own.close()


def test_looks_are_a_second_apart(tmp_path: Path) -> None:
    now_s = [100.0]
    said: list[str] = []
    own = Neighbours({"GPU-a": "gpu:0"}, said.append, folder=tmp_path / "meters", clock=lambda: now_s[0])
    own.begin()
    other = Others(tmp_path / "meters").start("GPU-a")
    own.look()
    assert said == []
    now_s[0] += 1.0
    own.look()
    assert len(said) == 1
    other.communicate("\n")
    own.close()


def test_the_folder_is_everybody_s_and_never_behind_a_link(tmp_path: Path) -> None:
    own, _ = meter(tmp_path / "meters")
    assert stat.S_IMODE((tmp_path / "meters").stat().st_mode) == 0o1777
    own.close()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("elsewhere")
    behind, _ = meter(tmp_path / "link")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o700
    behind.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 9000, b'{"pid": 1, "counters": 3}'])
def test_what_others_write_is_not_believed(tmp_path: Path, content: bytes) -> None:
    own, said = meter(tmp_path / "meters")
    path = tmp_path / "meters" / "1-evil.json"
    path.write_bytes(content)
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import fcntl,sys; f=open(sys.argv[1]); fcntl.flock(f, 2); print(1, flush=True); sys.stdin.read()",
            str(path),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    holder.stdout.readline()
    os.mkfifo(tmp_path / "meters" / "2-pipe.json")
    own.look(now=True)
    assert said == []
    holder.communicate(b"")
    own.close()


def test_no_counters_no_file(tmp_path: Path) -> None:
    own = Neighbours({}, lambda _: None, folder=tmp_path / "meters")
    own.begin()
    own.look(now=True)
    own.close()
    assert not (tmp_path / "meters").exists()


def test_two_measures_of_one_package(tmp_path: Path) -> None:
    """Real commands on one powercap tree: both reports say so, and whose CPU time it was."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    for name, content in {"name": "package-0", "energy_uj": "1000", "max_energy_range_uj": "262143328850"}.items():
        (zone / name).write_text(content)
    (tmp_path / ".dvc").mkdir()
    groups: dict[str, Any] = {"energy": {"sources": ["rapl", "modelled"], "rapl_root": str(tmp_path / "powercap")}}
    (tmp_path / "params.yaml").write_text(json.dumps({**groups, "hardware": {}}))
    measure = [sys.executable, "-m", "overwinter.cli", "measure", "--output"]
    both = [
        subprocess.Popen([*measure, str(tmp_path / f"{name}.json"), "--", "sleep", "3"], cwd=tmp_path)
        for name in ("one", "two")
    ]
    assert [each.wait() for each in both] == [0, 0]
    for name in ("one", "two"):
        warnings = json.loads((tmp_path / f"{name}.json").read_text())["warnings"]
        assert any("meters it at the same time" in text and text.startswith("cpu:package-0") for text in warnings)
        assert any("was this run's" in text for text in warnings)


def test_the_share_of_the_cpus_busy_time(tmp_path: Path) -> None:
    share = CpuShare(own=True, asked=lambda: True)
    begun_s = time.process_time()
    while time.process_time() - begun_s < 0.3:
        pass
    assert "was this run's" in share.last_word()
    assert CpuShare(own=True, asked=lambda: False).last_word() == ""
    (tmp_path / "stat").write_text("cpu 100 0 50 9999 99 1 2 3 0 0\ncpu0 1\n")
    assert busy_s(tmp_path / "stat") == pytest.approx(156 / os.sysconf("SC_CLK_TCK"))
    (tmp_path / "stat").write_text("")
    assert busy_s(tmp_path / "stat") == 0.0
    assert busy_s(tmp_path / "missing") == 0.0
