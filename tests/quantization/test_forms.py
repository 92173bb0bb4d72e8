import pytest

from overwinter.errors import IntegrityError
from overwinter.quantization import read_forms, write_forms


def test_forms_keep_their_order(tmp_path):
    for form in ("b", "a"):
        (tmp_path / form).mkdir()
    write_forms(tmp_path, ["b", "a"])
    assert list(read_forms(tmp_path).items()) == [("b", tmp_path / "b"), ("a", tmp_path / "a")]


def test_no_form_is_a_list_too(tmp_path):
    write_forms(tmp_path, [])
    assert read_forms(tmp_path) == {}


def test_a_missing_form_is_refused(tmp_path):
    write_forms(tmp_path, ["a"])
    with pytest.raises(IntegrityError, match="the form 'a'"):
        read_forms(tmp_path)


def test_an_altered_list_is_refused(tmp_path):
    write_forms(tmp_path, ["a"])
    path = tmp_path / "forms.json"
    path.write_text(path.read_text().replace('"a"', '"b"'))
    with pytest.raises(IntegrityError, match="altered"):
        read_forms(tmp_path)
