"""energy.json: what is written is read again; what is missing, wrong or impossible is named."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.energy import Component, EnergyRecord, find_energy, read_energy
from overwinter.errors import IntegrityError
from overwinter.records import parse_record, to_json, write_record
from tests.support.energy_records import energy_record

_figures = st.floats(0, 1e12)
_texts = st.text(max_size=8)
_components = st.builds(
    Component,
    device=_texts,
    energy_j=_figures,
    uncertainty_j=_figures,
    source=st.sampled_from(["rapl", "modelled"]),
    average_w=_figures,
    peak_w=_figures,
)
_KINDS = {
    "str": _texts,
    "str | None": st.none() | _texts,
    "int": st.integers(1, 9),
    "float": _figures,
    "float | None": st.none() | _figures,
    "tuple[str, ...]": st.lists(_texts, max_size=2).map(tuple),
    "tuple[Component, ...]": st.lists(_components, max_size=2).map(tuple),
}
_records = st.builds(EnergyRecord, **{field.name: _KINDS[str(field.type)] for field in fields(EnergyRecord)})
_KEYS = sorted(field.name for field in fields(EnergyRecord))


def written(folder: Path, **values: object) -> Path:
    """Write train's energy.json with other values."""
    path = folder / "train" / "energy.json"
    path.parent.mkdir()
    path.write_text(json.dumps({**to_json(energy_record()), **values}))
    return path


@given(record=_records)
def test_what_is_written_is_read_again(record: EnergyRecord, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.mktemp("outputs") / "energy.json"
    write_record(path, record)
    assert read_energy(path) == find_energy(path) == record


@given(record=_records, newer=st.dictionaries(_texts.filter(lambda key: key not in _KEYS), st.integers() | _texts))
def test_keys_of_a_newer_version_are_ignored(record: EnergyRecord, newer: dict[str, object]) -> None:
    content = {**to_json(record), **newer}
    content["components"] = [{**each, "newer": 1} for each in content["components"]]
    assert parse_record(EnergyRecord, content, where="energy.json", remedy="") == record


def test_a_record_of_an_older_version_does_not_name_its_machine(tmp_path: Path) -> None:
    path = written(tmp_path)
    content = json.loads(path.read_text())
    content.pop("machine", None)
    path.write_text(json.dumps(content))
    assert read_energy(path).machine is None


@pytest.mark.parametrize("key", [key for key in _KEYS if key != "machine"])
def test_a_missing_key_is_named_with_the_file_and_what_to_do(key: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    content = json.loads(path.read_text())
    del content[key]
    path.write_text(json.dumps(content))
    with pytest.raises(IntegrityError) as error:
        read_energy(path)
    assert str(error.value) == f"{path} lacks {key}. Run `dvc repro -f train`."
    assert find_energy(path) is None


@pytest.mark.parametrize("value", [None, -1.0, float("nan"), float("inf"), 10**400, "12", True, [1.0]])
@pytest.mark.parametrize("key", ["energy_j", "duration_s", "measured_fraction"])
def test_an_impossible_figure_is_refused(key: str, value: object, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=rf"train/energy.json: {key}=.*is not valid. Run `dvc repro -f train`"):
        read_energy(written(tmp_path, **{key: value}))


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("stage", 1, "stage=1 is not valid"),
        ("schema", 1.5, "schema=1.5 is not valid"),
        ("warnings", "late", "warnings='late' is not valid"),
        ("warnings", [1], r"warnings\[0\]=1 is not valid"),
        ("components", [1], r"components\[0\] is not a JSON object"),
        ("components", [{"device": "cpu"}], r"components\[0\] lacks energy_j, uncertainty_j, source"),
        ("carbon_g", -1.0, "carbon_g=-1.0 is not valid"),
    ],
)
def test_a_wrong_type_is_named(key: str, value: object, expected: str, tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match=expected):
        read_energy(written(tmp_path, **{key: value}))


def test_a_whole_number_will_do_for_a_figure(tmp_path: Path) -> None:
    assert read_energy(written(tmp_path, energy_j=7)).energy_j == 7


@pytest.mark.parametrize("content", ["{", "[]", "", "\x00"])
def test_what_is_no_record_is_refused(content: str, tmp_path: Path) -> None:
    path = written(tmp_path)
    path.write_text(content)
    with pytest.raises(IntegrityError, match="Run `dvc repro -f train`"):
        read_energy(path)
    assert find_energy(tmp_path / "nowhere" / "energy.json") is None
