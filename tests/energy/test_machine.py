"""Parsing of /proc/cpuinfo, and the assumed power of a busy thread."""

from __future__ import annotations

from overwinter.energy.machine import parse_cpuinfo, this_machine, thread_power_w

XEON = "\n".join(
    f"processor\t: {index}\nmodel name\t: Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz\n"
    f"physical id\t: {index % 2}\nflags\t\t: fpu vme\n"
    for index in range(56)
)
VIRTUAL = "processor\t: 0\nmodel name\t: AMD EPYC 7763 64-Core Processor\nphysical id\t: 0\nflags\t\t: fpu hypervisor\n"


def test_two_packages_of_a_known_cpu() -> None:
    machine = parse_cpuinfo(XEON, threads=56, allowed=8)
    assert (machine.packages, machine.virtual, machine.allowed_threads) == (2, False, 8)
    power_w, origin = thread_power_w(machine, cpu_tdp_w=None, cpu_threads=None, cpu_w_per_thread=4.0)
    assert power_w == 2 * 120 / 56
    assert "CodeCarbon's table" in origin


def test_a_virtual_machine_shows_only_a_part_of_its_package() -> None:
    machine = parse_cpuinfo(VIRTUAL, threads=2, allowed=2)
    power_w, origin = thread_power_w(machine, cpu_tdp_w=None, cpu_threads=None, cpu_w_per_thread=4.0)
    assert power_w == 4.0
    assert "virtual machine" in origin


def test_configured_figures_win() -> None:
    machine = parse_cpuinfo(VIRTUAL, threads=2, allowed=2)
    assert thread_power_w(machine, cpu_tdp_w=280, cpu_threads=128, cpu_w_per_thread=4.0)[0] == 280 / 128
    assert thread_power_w(machine, cpu_tdp_w=30, cpu_threads=None, cpu_w_per_thread=4.0)[0] == 15


def test_an_unknown_cpu_falls_to_watts_per_thread() -> None:
    machine = parse_cpuinfo("", threads=8, allowed=99)
    assert (machine.cpu_name, machine.packages, machine.allowed_threads) == ("unknown", 1, 8)
    assert thread_power_w(machine, cpu_tdp_w=None, cpu_threads=None, cpu_w_per_thread=3.0)[0] == 3.0


def test_this_machine_has_threads() -> None:
    assert 0 < this_machine().allowed_threads <= this_machine().threads
