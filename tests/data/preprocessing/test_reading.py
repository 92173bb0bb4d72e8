import subprocess
import sys

import pytest

from overwinter.data import as_json, check_preprocessing, read_preprocessing
from overwinter.errors import ConfigError


def test_an_unknown_kind_is_named():
    with pytest.raises(ConfigError, match=r"kind='sound' is unknown. Known: normalize, image, text"):
        read_preprocessing({"kind": "sound"})


def test_a_text_without_a_length_is_refused():
    with pytest.raises(ConfigError, match="max_length=None"):
        check_preprocessing({"kind": "text"})


def test_what_is_neither_a_mapping_nor_an_object_is_refused():
    with pytest.raises(ConfigError, match="is a list"):
        as_json([0.5])


def test_reading_loads_nothing_heavy():
    code = (
        "import sys; from overwinter.data import read_preprocessing as read; read({'mean': 1}); "
        "read({'kind': 'image'}); read({'kind': 'text', 'max_length': 4}); "
        "print(sorted({'torch', 'PIL', 'tokenizers', 'omegaconf'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
