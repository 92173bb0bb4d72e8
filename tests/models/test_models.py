import subprocess
import sys

from overwinter import models


def test_everything_promised_is_there():
    assert sorted(set(models.__all__)) == sorted(models.__all__)
    for name in models.__all__:
        assert getattr(models, name) is not None


def test_a_description_is_read_without_torch():
    program = "import sys; from overwinter.models import load_description; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
