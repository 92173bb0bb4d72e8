"""A small model saved, built for runtimes, and put to sleep."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import strategies as st

from overwinter import bundle, models
from overwinter.signature import Signature
from tests.support.building import build
from tests.support.networks import CONVNET, save_dense

RAW = np.random.default_rng(0).integers(0, 17, (4, 8, 8))  # what the bundle's preprocessing takes
# What clients put where something else belongs.
JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([-1, 0, 2**31, 2**63, 10**30, 10**400, 1e308, -1e-320, float("inf"), "", "\ud800", "9" * 400])
    | st.floats(allow_nan=True)
    | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture(scope="session")
def corrupted():
    """Make a strategy of a request in which up to three fields are junk, too many, or missing."""

    @st.composite
    def corrupted(draw, request, keys=()):
        found = copy.deepcopy(request)
        for _ in range(draw(st.integers(0, 3))):
            _spoil(draw, found, keys)
        return found

    return corrupted


def _spoil(draw, holder, keys):
    known = sorted(holder) if isinstance(holder, dict) else range(len(holder))
    if not known and not keys:
        return
    key = draw(st.sampled_from([*known, *(keys if isinstance(holder, dict) else ())]))
    inner = holder.get(key) if isinstance(holder, dict) else holder[key]
    if isinstance(inner, dict | list) and draw(st.booleans()):
        _spoil(draw, inner, ())
    elif draw(st.booleans()) or not isinstance(holder, dict):
        holder[key] = draw(JUNK)
    else:
        holder.pop(key, None)


@pytest.fixture(scope="session")
def saved(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    model = models.build_model(CONVNET, trusted=[]).eval()
    return save_dense(tmp_path_factory.mktemp("saved"), model, CONVNET, Signature.of_one([1, 8, 8]))


@pytest.fixture(scope="session")
def payloads(saved, tmp_path_factory) -> dict[str, Path]:
    """Runtime -> payload."""
    folders = {name: tmp_path_factory.mktemp(name) for name in ("torch", "onnxruntime")}
    for name, folder in folders.items():
        build(saved, name, folder, trusted=[])
    return folders


@pytest.fixture
def hibernate(payloads, tmp_path):
    def hibernate(name="onnxruntime", **changes):
        arguments = {
            "payload": payloads[name],
            "canary_inputs": ((RAW - 8.0) / 4.0).astype(np.float32)[:, None],  # (4, 1, 8, 8)
            "canary_tolerance": 1e-3,
        }
        facts = {
            "variant": "dense",
            "runtime": name,
            "labels": ("a", "b", "c"),
            "preprocessing": {"mean": 8.0, "std": 4.0, "raw": {"shape": [8, 8], "range": [0, 16]}},
            "production_energy_j": None,
            "lineage": {"stage": "hibernate"},
            "device": None,
        }
        facts |= {key: changes.pop(key) for key in list(changes) if key in facts}
        given = {key: changes.pop(key) for key in list(changes) if key in ("signature", "task")}
        arguments |= changes
        facts |= {"signature": Signature.of_one(arguments["canary_inputs"].shape[1:]), **given}
        return bundle.hibernate(tmp_path / "bundle", facts=bundle.BundleFacts(**facts), **arguments)

    return hibernate
