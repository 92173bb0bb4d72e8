"""Two meters of one counter know of each other, also when they overlap only in part, and forget the dead."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from overwinter.energy.neighbours import Neighbours

OTHER = (
    "import sys\n"
    "from pathlib import Path\n"
    "from overwinter.energy.neighbours import Neighbours\n"
    "other = Neighbours([sys.argv[2]], folder=Path(sys.argv[1]))\n"
    "other.begin()\n"
    "print('metering', flush=True)\n"
    "sys.stdin.readline()\n"
    "found = other.look()\n"
    "other.close()\n"
    "print({counter: sorted(pids) for counter, pids in found.items()}, flush=True)\n"
)
# As an orphan it is no one's child, as another user's meter would be.
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


def meter(folder: Path, counter: str = "GPU-a", **more: Any) -> Neighbours:
    own = Neighbours([counter], folder=folder, **more)
    own.begin()
    return own


def test_both_see_each_other_and_only_while_it_lasts(tmp_path: Path) -> None:
    folder = tmp_path / "meters"
    own = meter(folder)
    assert own.look() == {}
    other = Others(folder).start("GPU-a")
    assert [len(pids) for pids in own.look().values()] == [1]
    output, _ = other.communicate("\n")
    assert output == f"{{'GPU-a': [{os.getpid()}]}}\n"
    assert own.look() == {}
    own.close()
    assert own.look() == {}
    assert list(folder.iterdir()) == []


def test_another_counter_is_no_one_s_business(tmp_path: Path) -> None:
    own = meter(tmp_path / "meters")
    other = Others(tmp_path / "meters").start("GPU-b")
    assert own.look() == {}
    other.communicate("\n")
    own.close()


def test_a_killed_meter_is_forgotten_within_a_second(tmp_path: Path) -> None:
    now_s = [100.0]
    own = meter(tmp_path / "meters", clock=lambda: now_s[0])
    other = Others(tmp_path / "meters").start("GPU-a")
    [pid] = own.look()["GPU-a"]
    os.kill(pid, signal.SIGKILL)
    other.communicate()
    now_s[0] += 0.5
    assert own.look() == {"GPU-a": {pid}}
    now_s[0] += 0.5
    assert own.look() == {}
    assert len(list((tmp_path / "meters").iterdir())) == 1
    own.close()


def test_a_meter_inside_another_one_s_command_is_a_part_of_it(tmp_path: Path) -> None:
    own = meter(tmp_path / "meters")
    child = subprocess.run(
        [sys.executable, "-c", OTHER, str(tmp_path / "meters"), "GPU-a"],
        input="\n",
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout == "metering\n{}\n"
    assert own.look() == {}
    own.close()


def test_a_run_with_a_meter_inside_counts_once(tmp_path: Path) -> None:
    within = f"import subprocess,sys; subprocess.run([sys.executable,'-c',{OTHER!r},*sys.argv[1:]]);"
    around = OTHER.replace("print('metering', flush=True)\nsys.stdin.readline()", within)
    assert around != OTHER
    folder = tmp_path / "meters"
    starter = f"import subprocess,sys; subprocess.Popen([sys.executable,'-c',{around!r},*sys.argv[1:]])"
    own = meter(folder)
    both = subprocess.Popen(
        [sys.executable, "-c", starter, str(folder), "GPU-a"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert both.stdout is not None
    assert both.stdout.readline() == "metering\n"
    assert len(list(folder.iterdir())) == 3
    assert len(own.look()["GPU-a"]) == 1
    both.communicate("\n")
    own.close()


def test_the_folder_is_shared_by_all_and_never_behind_a_link(tmp_path: Path) -> None:
    own = meter(tmp_path / "meters")
    assert stat.S_IMODE((tmp_path / "meters").stat().st_mode) == 0o1777
    own.close()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("elsewhere")
    behind = meter(tmp_path / "link")
    assert list((tmp_path / "elsewhere").iterdir()) == []
    assert stat.S_IMODE((tmp_path / "elsewhere").stat().st_mode) == 0o700
    behind.close()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": "x"}', b"\xff" * 9000, b'{"pid": 1, "counters": 3}'])
def test_what_others_write_is_not_believed(tmp_path: Path, content: bytes) -> None:
    own = meter(tmp_path / "meters")
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
    assert own.look() == {}
    holder.communicate(b"")
    own.close()


def test_no_counters_no_file(tmp_path: Path) -> None:
    own = Neighbours([], folder=tmp_path / "meters")
    own.begin()
    assert own.look() == {}
    own.close()
    assert not (tmp_path / "meters").exists()
