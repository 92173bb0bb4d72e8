"""What the CPU can do that a choice of kernels depends on. Needs the standard library only."""

from __future__ import annotations

from pathlib import Path

_CPU = Path("/proc/cpuinfo")


def cpu_flags() -> str:
    """Return the content of /proc/cpuinfo, in which x86 names its instructions; empty where there is none."""
    try:
        return _CPU.read_text(encoding="utf-8")
    except OSError:
        return ""


def multiplies_bfloat16_tiles() -> bool:
    """Return whether the CPU has AMX for bfloat16, which multiplies matrices several times as fast as float32."""
    return "amx_bf16" in cpu_flags()
