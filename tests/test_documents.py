import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from overwinter.documents import MAX_BYTES, check_yaml, check_yaml_files, read_yaml
from overwinter.errors import ConfigError


def laughs(levels, width=10, variant="[{}]"):
    lines = [f"a0: &a0 {variant.format(', '.join(['x'] * width))}"]
    lines += [f"a{i}: &a{i} {variant.format(', '.join([f'*a{i - 1}'] * width))}" for i in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (laughs(30), "larger with its aliases expanded"),
        (laughs(25, 2), "larger with its aliases expanded"),
        ("a: &a [1]\n" + "b: [" + "*a, " * 40_000 + "]", "larger with its aliases expanded"),
        ("a: &a {<<: {}, k: 1}\nb: &b {<<: [" + "*a, " * 20_000 + "]}\nc: {<<: [*b, *b, *b]}", "aliases expanded"),
        ("a: &a " + "x" * 100_000 + "\nb: [" + "*a, " * 100 + "]", "larger with its aliases expanded"),
        ("a: &a [*a]", r"the alias \*a refers to a value that contains it"),
        ("a: &a {b: {c: *a}}", r"the alias \*a refers to a value that contains it"),
        ("[" * 100_000, "nested deeper than 64 levels"),
        ("{a: " * 1_000 + "}" * 1_000, "nested deeper than 64 levels"),
        ("- " * 100 + "x", "nested deeper than 64 levels"),
        ("x: " + "9" * (MAX_BYTES + 1), "has .* bytes"),
        ("--- a\n" * 100_000, "is larger with its aliases expanded"),
    ],
)
def test_a_document_that_expands_too_much_is_refused_at_once(text, expected):
    begin_s = time.process_time()
    for variant in (text, text.encode()):
        with pytest.raises(ConfigError, match=rf"^bomb\.yaml.*{expected}"):
            check_yaml(variant, where="bomb.yaml")
    assert time.process_time() - begin_s < 2


@pytest.mark.parametrize(
    "text", ["", "a: 1", "a: &a [1, 2]\nb: *a\nc: {<<: {d: 1}}", "a: [", "a: *unknown", "\x00", laughs(4)]
)
def test_small_documents_pass_and_invalid_yaml_is_left_to_the_loader(text):
    check_yaml(text, where="small.yaml")


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_an_ordinary_document_passes_and_is_read_back(tmp_path_factory, value):
    path = tmp_path_factory.mktemp("yaml") / "ordinary.yaml"
    path.write_text(yaml.safe_dump(value), encoding="utf-8")
    check_yaml_files([path])
    assert read_yaml(path) == value


@given(st.integers(1, 10), st.integers(1, 10))
def test_an_alias_counts_at_its_expanded_size(levels, width):
    text, total, line = laughs(levels, width), 64, 65
    for _ in range(levels):
        line = 64 + width * line
        total += 64 + 2 + line  # the key, and the value
    max_bytes = max(total, len(text))
    check_yaml(text, where="laughs", max_bytes=max_bytes)
    with pytest.raises(ConfigError):
        check_yaml(text, where="laughs", max_bytes=max_bytes - 1)


def test_a_large_file_is_not_read(tmp_path):
    path = tmp_path / "large.yaml"
    with path.open("wb") as file:
        file.truncate(1 << 40)  # sparse: takes no disk
    with pytest.raises(ConfigError, match=r"large\.yaml is larger; 2048 KiB are allowed"):
        read_yaml(path)


@pytest.mark.parametrize("text", ["a: [", "a: *unknown", "a: !!python/object/apply:os.system [id]", "a: " + "9" * 5000])
def test_invalid_yaml_is_named(tmp_path, text):
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"odd\.yaml cannot be read"):
        read_yaml(path)
    with pytest.raises(ConfigError, match=r"missing\.yaml cannot be read"):
        read_yaml(tmp_path / "missing.yaml")
