import subprocess
import sys

import pytest

from overwinter import serving

LEAN = """
import sys
import overwinter.serving as serving
for name in serving.__all__:
    getattr(serving, name)
assert "torch" not in sys.modules, "torch"
"""


def test_the_door_is_sorted_and_whole():
    assert serving.__all__ == sorted(serving.__all__)
    assert all(hasattr(serving, name) for name in serving.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        serving.nothing  # noqa: B018 -- the access is what is tested


def test_nothing_in_the_room_imports_torch():
    subprocess.run([sys.executable, "-c", LEAN], env={"PYTHONPATH": ":".join(sys.path)}, check=True)
