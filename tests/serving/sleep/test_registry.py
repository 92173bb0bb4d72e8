from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from overwinter.errors import ConfigError
from overwinter.serving import sleep
from overwinter.serving.sleep import open_policy, policy_names
from overwinter.serving.sleep.timed import BreakEven


def test_public_names_are_sorted():
    assert sleep.__all__ == sorted(sleep.__all__)
    assert all(hasattr(sleep, name) for name in sleep.__all__)


def test_the_built_in_policies_are_named():
    assert {"break_even", "fixed", "learned", "randomised", "scheduled"} <= set(policy_names())


def test_an_unknown_policy_is_refused_with_the_nearest_name(sleep_levels):
    with pytest.raises(ConfigError, match="Did you mean 'break_even'"):
        open_policy("break-even", sleep_levels)


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("fixed", {}, "needs the option 'timeout_s'"),
        ("fixed", {"time_out_s": 1}, "Did you mean 'timeout_s'"),
        ("break_even", {"timeout_s": 1}, "It has none"),
    ],
)
def test_wrong_options_are_refused(sleep_levels, name, options, expected):
    with pytest.raises(ConfigError, match=expected):
        open_policy(name, sleep_levels, options=options)


class Eager(BreakEven):
    """Another package's policy."""

    def __init__(self, sleep_levels, *, seed, factor=0.5, **others):
        super().__init__(sleep_levels)
        self.arguments = (seed, factor, others)


def test_another_package_can_add_a_policy(sleep_levels, monkeypatch):
    point = EntryPoint(name="eager", value=f"{__name__}:Eager", group="overwinter.sleep_policies")
    monkeypatch.setattr(EntryPoint, "load", lambda self: Eager)
    monkeypatch.setattr("importlib.metadata.entry_points", lambda group: [point] if group == point.group else [])
    assert "eager" in policy_names()
    policy = open_policy("eager", sleep_levels, seed=7, options={"factor": 0.1, "more": 1})
    assert policy.arguments == (7, 0.1, {"more": 1})


_LEAN = """
import importlib.util, pathlib, sys, types
import overwinter
stub = types.ModuleType("overwinter.serving")  # the door of the room above is not what is looked at here
stub.__path__ = [str(pathlib.Path(overwinter.__file__).parent / "serving")]
sys.modules["overwinter.serving"] = stub
from overwinter.serving.sleep import SleepLevels, SleepLevel, open_policy
sleep_levels = SleepLevels([SleepLevel(name="ready", power_w=2), SleepLevel(name="off", power_w=1, wake_s=1, wake_j=5)])
for name in ("learned", "break_even", "randomised"):
    open_policy(name, sleep_levels, limit_p95_s=0.5)
open_policy("scheduled", sleep_levels, options={"windows": [{"start": "0 8 * * *", "end": "0 9 * * *"}]})
print(sorted({"numpy", "torch", "onnxruntime", "hydra", "rich"} & set(sys.modules)))
"""


def test_the_policies_need_no_numpy():
    done = subprocess.run([sys.executable, "-c", _LEAN], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
