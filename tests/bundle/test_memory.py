from overwinter.bundle import memory

MIB = 1 << 20


def _machine(tmp_path, monkeypatch, *, available_kib=1000 * 1024):
    (tmp_path / "meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable:  {available_kib} kB\n")
    (tmp_path / "cgroup").write_text("1:cpu:/old\n0::/a/b\n")
    monkeypatch.setattr(memory, "_MACHINE", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_OWN_GROUP", tmp_path / "cgroup")
    monkeypatch.setattr(memory, "_GROUPS", tmp_path / "groups")


def _group(folder, limit, used, **stated):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "memory.max").write_text(f"{limit}\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("".join(f"{name} {value}\n" for name, value in stated.items()))


def test_without_a_limit_the_machine_counts(tmp_path, monkeypatch):
    _machine(tmp_path, monkeypatch)
    assert memory.available_bytes() == 1000 * MIB
    _group(tmp_path / "groups" / "a" / "b", "max", 5)
    assert memory.available_bytes() == 1000 * MIB


def test_the_tightest_group_counts_and_its_cache_makes_way(tmp_path, monkeypatch):
    _machine(tmp_path, monkeypatch)
    _group(tmp_path / "groups" / "a" / "b", "max", 5)
    _group(tmp_path / "groups" / "a", 300 * MIB, 200 * MIB, active_file=MIB, inactive_file=20 * MIB, anon=50 * MIB)
    assert memory.available_bytes() == 121 * MIB
    _group(tmp_path / "groups", 100 * MIB, 200 * MIB)
    assert memory.available_bytes() == 0


def test_where_nothing_is_known_nothing_is_available(tmp_path, monkeypatch):
    _machine(tmp_path, monkeypatch)
    (tmp_path / "meminfo").unlink()
    (tmp_path / "cgroup").unlink()
    assert memory.available_bytes() == 0


def test_this_machine_has_some():
    assert memory.available_bytes() > 0
