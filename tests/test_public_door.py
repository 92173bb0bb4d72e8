"""`import overwinter`: what it offers, and that it is quick."""

from __future__ import annotations

import subprocess
import sys

import pytest

import overwinter
from overwinter.errors import IntegrityError
from tests.support.small_bundle import RAW


def test_every_public_name_is_sorted_and_there():
    assert list(overwinter.__all__) == sorted(overwinter.__all__)
    assert all(hasattr(overwinter, name) for name in overwinter.__all__)
    with pytest.raises(AttributeError, match="no attribute 'wach'"):
        overwinter.wach  # noqa: B018 -- the access is the test


def test_importing_it_and_naming_watch_loads_nothing_heavy():
    code = (
        "import sys, overwinter\n"
        "before = set(sys.modules)\n"
        "print(sorted(before & {'torch', 'hydra', 'omegaconf', 'numpy', 'rich', 'yaml'}))\n"
        "overwinter.watch, overwinter.open_meter, overwinter.load\n"
        "print(sorted(set(sys.modules) & {'torch', 'hydra', 'rich', 'sklearn', 'codecarbon'}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_a_loaded_bundle_predicts_from_raw_samples(hibernate):
    folder = hibernate().folder
    model = overwinter.load(folder)
    predictions = model.predict(RAW.tolist())
    assert len(predictions) == len(RAW)
    assert {"label", "probability"} <= predictions[0].keys()
    weights = next(path for path in sorted(folder.rglob("*")) if path.suffix in (".onnx", ".safetensors"))
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(bytes(content))
    with pytest.raises(IntegrityError):
        overwinter.load(folder)


def test_a_meter_of_one_s_own_needs_no_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with overwinter.open_meter() as meter, meter.window("sum") as window:
        sum(range(10**6))
    assert window.close().energy_j > 0
    assert meter.read().energy_j >= window.close().energy_j
