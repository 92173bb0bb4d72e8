import subprocess
import sys

import pytest

from overwinter import bundle

LEAN = """
import sys
import overwinter.bundle as bundle
for name in set(bundle.__all__) - {"load_teacher", "code_version", "data_digest"}:  # these look at training
    getattr(bundle, name)
assert "torch" not in sys.modules, "torch"
"""


def test_public_names_are_sorted_and_complete():
    assert bundle.__all__ == sorted(bundle.__all__)
    assert all(hasattr(bundle, name) for name in bundle.__all__)
    with pytest.raises(AttributeError, match="nothing"):
        bundle.nothing  # noqa: B018 -- the access is what is tested


def test_nothing_in_the_room_imports_torch():
    subprocess.run([sys.executable, "-c", LEAN], env={"PYTHONPATH": ":".join(sys.path)}, check=True)
