import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from overwinter.errors import IntegrityError
from overwinter.records import read_record, to_json, write_record


@dataclass(frozen=True, kw_only=True)
class Part:
    size_bytes: int
    energy_j: float | None = None


@dataclass(frozen=True, kw_only=True)
class Whole:
    name: str
    done: bool
    part: Part
    figures: Mapping[str, Any]


WHOLE = Whole(name="a", done=True, part=Part(size_bytes=3), figures={"b": 1.0})


@pytest.fixture
def read(tmp_path):
    def changed(**values):
        content = {**to_json(WHOLE), **values}
        (tmp_path / "whole.json").write_text(json.dumps({key: each for key, each in content.items() if each != "gone"}))
        return read_record(Whole, tmp_path / "whole.json", remedy="Run it again.")

    return changed


def test_a_record_round_trips(tmp_path):
    write_record(tmp_path / "whole.json", WHOLE)
    assert read_record(Whole, tmp_path / "whole.json", remedy="") == WHOLE
    assert "energy_j" not in json.loads((tmp_path / "whole.json").read_text())["part"]


def test_unknown_keys_are_ignored(read):
    assert read(more=[1], part={"size_bytes": 3, "colour": "red"}) == WHOLE


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "gone", "done": "gone"}, r"whole\.json lacks name, done\. Run it again\."),
        ({"part": {}}, r"whole\.json: part lacks size_bytes\."),
        ({"part": 3}, r"whole\.json: part is not a JSON object\."),
        ({"part": {"size_bytes": True}}, r"part: size_bytes=True is not valid"),
        ({"part": {"size_bytes": 1.5}}, r"part: size_bytes=1\.5 is not valid"),
        ({"part": {"size_bytes": 1, "energy_j": float("nan")}}, r"energy_j=nan is not valid"),
        ({"done": 1}, r"done=1 is not valid"),
        ({"figures": [1]}, r"figures=\[1\] is not valid"),
    ],
)
def test_missing_and_invalid_values_are_named_with_the_file(read, values, message):
    with pytest.raises(IntegrityError, match=message):
        read(**values)


def test_an_integer_is_a_number_too(read):
    assert read(part={"size_bytes": 3, "energy_j": 2}).part.energy_j == 2


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(IntegrityError, match=r"whole\.json is missing\. Run it again"):
        read_record(Whole, tmp_path / "whole.json", remedy="Run it again.")


@dataclass(frozen=True, kw_only=True)
class Listed:
    parts: tuple[Part, ...]
    energy_j: float | None


def test_a_tuple_is_a_list_and_none_without_a_default_is_written(tmp_path):
    listed = Listed(parts=(Part(size_bytes=1), Part(size_bytes=2, energy_j=0.5)), energy_j=None)
    assert to_json(listed) == {"parts": [{"size_bytes": 1}, {"size_bytes": 2, "energy_j": 0.5}], "energy_j": None}
    write_record(tmp_path / "listed.json", listed)
    assert read_record(Listed, tmp_path / "listed.json", remedy="") == listed


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"parts": [{}], "energy_j": 1}, r"parts\[0\] lacks size_bytes"),
        ({"parts": {}, "energy_j": 1}, r"parts=\{\} is not valid"),
        ({"parts": [], "energy_j": 10**400}, "energy_j=10+ is not valid"),
        ({"parts": []}, "lacks energy_j"),
    ],
)
def test_invalid_items_of_a_list_are_named(tmp_path, content, message):
    (tmp_path / "listed.json").write_text(json.dumps(content))
    with pytest.raises(IntegrityError, match=message):
        read_record(Listed, tmp_path / "listed.json", remedy="")


@dataclass(frozen=True, kw_only=True)
class Perhaps:
    part: Part | None = None


@pytest.mark.parametrize("record", [Perhaps(), Perhaps(part=Part(size_bytes=3, energy_j=1.0))])
def test_a_record_that_may_be_none_round_trips(tmp_path, record):
    write_record(tmp_path / "perhaps.json", record)
    assert read_record(Perhaps, tmp_path / "perhaps.json", remedy="") == record


def test_an_invalid_value_of_a_record_that_may_be_none_is_named(tmp_path):
    (tmp_path / "perhaps.json").write_text('{"part": {"size_bytes": "large"}}')
    with pytest.raises(IntegrityError, match="part: size_bytes='large'"):
        read_record(Perhaps, tmp_path / "perhaps.json", remedy="")
