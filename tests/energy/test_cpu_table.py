"""Design powers from CodeCarbon's table, by the names that /proc/cpuinfo uses."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy.cpu_table import design_power_w


@pytest.mark.parametrize(
    ("name", "power_w"),
    [
        ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 120.0),
        ("AMD EPYC 7302 16-Core Processor", 155.0),
        ("AMD EPYC", None),
        ("Martian Octium 9000", None),
        ("", None),
    ],
)
def test_known_names(name: str, power_w: float | None) -> None:
    assert design_power_w(name) == power_w


def test_the_longest_match_wins_and_a_tie_of_different_powers_is_unknown(tmp_path: Path) -> None:
    table = tmp_path / "cpu.csv"
    table.write_text("Name,TDP\nXeon E5,100\nXeon E5 v4,120\nA B1,10\nA B2,20\nbroken\nNone 9,x\n")
    assert design_power_w("Intel Xeon E5 v4", table) == 120
    assert design_power_w("Intel Xeon E5", table) == 100
    assert design_power_w("A B1 B2", table) is None
    assert design_power_w("A B1", tmp_path / "absent.csv") is None


@given(st.text(max_size=60))
def test_any_name_gives_a_sane_power_or_none(name: str) -> None:
    power_w = design_power_w(name)
    assert power_w is None or 0 < power_w < 2000


def test_codecarbon_itself_is_not_imported() -> None:
    import subprocess

    code = (
        "import sys; from overwinter.energy.cpu_table import design_power_w as look_up\n"
        "print(look_up('AMD EPYC 7302'), 'codecarbon' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["155.0", "False"]
