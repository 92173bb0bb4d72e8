"""A control group of our own: where it may be made, who is in it, and that nothing of it stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from overwinter.energy.control_group import SHARED, ControlGroup, SharedGroup, places

MOUNT = "30 24 0:26 {root} {folder} rw,relatime - {system} {system} {options}\n"
BURN = "import time\nwhile time.process_time() < 0.3: pass"


def mount(folder: Path, *, root: str = "/", system: str = "cgroup2", options: str = "rw") -> str:
    return MOUNT.format(root=root, folder=folder, system=system, options=options)


def version_2(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in {"cgroup.subtree_control": "", "cgroup.type": "domain\n", **files}.items():
        (folder / name).write_text(content)
    return folder


def test_version_1_only_where_cpuacct_stands_alone(tmp_path: Path) -> None:
    alone = mount(tmp_path, system="cgroup", options="rw,cpuacct")
    assert list(places("2:cpuacct:/\n", alone)) == [tmp_path]
    together = mount(tmp_path, system="cgroup", options="rw,cpu,cpuacct")
    assert list(places("2:cpu,cpuacct:/\n", together)) == []  # it would change how CPU time is shared out


def test_version_2_where_it_brings_no_controller_and_hides_no_limit(tmp_path: Path) -> None:
    own = version_2(tmp_path / "user.slice" / "a.scope")
    found = lambda: list(places("0::/user.slice/a.scope\n", mount(tmp_path)))  # noqa: E731
    assert found() == [own]
    (own / "memory.max").write_text("max\n")
    (own / "cpu.max").write_text("max 100000\n")
    assert found() == [own]
    for name, content in {
        "memory.max": "1073741824\n",
        "cpu.max": "50000 100000\n",
        "cgroup.subtree_control": "cpu memory\n",
        "cgroup.type": "threaded\n",
    }.items():
        before = (own / name).read_text()
        (own / name).write_text(content)
        assert found() == [], name
        (own / name).write_text(before)


def test_a_mount_that_shows_a_part_of_the_hierarchy(tmp_path: Path) -> None:
    own = version_2(tmp_path)
    assert list(places("0::/docker/abc\n", mount(own, root="/docker/abc"))) == [own]
    assert list(places("0::/docker/abc\n", mount(own, root="/docker/ab"))) == []
    assert list(places("0::/../other\n", mount(own))) == []
    assert list(places("0::/gone\n", mount(own))) == []


def test_no_control_groups_at_all(tmp_path: Path) -> None:
    assert list(places("", "")) == []
    with pytest.raises(OSError, match=r"No such file|Read-only|denied"):
        ControlGroup(tmp_path / "missing").enter()


@pytest.fixture
def parent() -> Iterator[Path]:
    """A folder for this process alone in which a real group can be made, with nothing of ours in it afterwards."""
    group = SHARED.enter([])
    if group is None:
        pytest.skip("no control group can be made here")
    base = group._parent
    SHARED.leave()
    folder = base / f"test-of-overwinter-{os.getpid()}"
    folder.mkdir()
    (folder / "cgroup.procs").write_text(str(os.getpid()))
    yield folder
    for pid in (folder / "cgroup.procs").read_text().split():
        (base / "cgroup.procs").write_text(pid)
    folder.rmdir()


def test_it_counts_what_lives_and_what_has_ended(parent: Path) -> None:
    group = ControlGroup(parent)
    group.enter()
    try:
        before_s = group.cpu_s()
        subprocess.run([sys.executable, "-S", "-c", BURN], check=True)
        assert group.cpu_s() - before_s >= 0.3
        assert group.processes() == [os.getpid()]
    finally:
        group.leave()
    assert os.getpid() in map(int, (parent / "cgroup.procs").read_text().split())
    assert group.processes() == []


def test_what_still_runs_is_put_back(parent: Path) -> None:
    group = ControlGroup(parent)
    group.enter()
    child = subprocess.Popen(["sleep", "60"])
    try:
        group.leave()
        assert child.pid in map(int, (parent / "cgroup.procs").read_text().split())
    finally:
        child.kill()
        child.wait()


def test_children_that_run_already_are_taken_along(parent: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    group = ControlGroup(parent)
    try:
        group.enter([child.pid, 2**22 - 1])
        assert sorted(group.processes()) == sorted([os.getpid(), child.pid])
    finally:
        group.leave()
        child.kill()
        child.wait()


def test_the_next_one_collects_what_a_killed_one_left(parent: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "from pathlib import Path\n"
        "from overwinter.energy.control_group import ControlGroup\n"
        "group = ControlGroup(Path(sys.argv[1]))\n"
        "group.enter()\n"
        "child = subprocess.Popen(['sleep', '60'], stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    owner = subprocess.Popen([sys.executable, "-c", code, str(parent)], stdout=subprocess.PIPE, text=True)
    assert owner.stdout is not None
    left = int(owner.stdout.readline())
    folder = parent / f"overwinter-{owner.pid}"
    living = ControlGroup(parent)
    living.enter()
    living.leave()
    assert folder.is_dir()  # its owner lives
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    try:
        assert folder.is_dir()
        following = ControlGroup(parent)
        following.enter()
        following.leave()
        assert not folder.exists()
        assert left in map(int, (parent / "cgroup.procs").read_text().split())
    finally:
        os.kill(left, signal.SIGKILL)


def test_another_user_s_group_in_it_is_left_alone(parent: Path) -> None:
    group = ControlGroup(parent)
    group.enter()
    foreign = group._folder / "somebody"
    foreign.mkdir()
    child = subprocess.Popen(["sleep", "60"])
    (foreign / "cgroup.procs").write_text(str(child.pid))
    group.leave()
    try:
        assert str(child.pid) in (foreign / "cgroup.procs").read_text().split()
        assert os.getpid() in map(int, (parent / "cgroup.procs").read_text().split())
    finally:
        child.kill()
        child.wait()
        time.sleep(0.05)
        foreign.rmdir()
        group._folder.rmdir()


def test_two_meters_of_one_process_share_it(parent: Path) -> None:
    shared = SharedGroup()
    first, second = shared.enter([]), shared.enter([])
    assert first is second is not None
    shared.leave()
    assert first.processes() == [os.getpid()]
    shared.leave()
    assert first.processes() == []
    shared.leave()  # once too often harms nothing
    assert parent.is_dir()
