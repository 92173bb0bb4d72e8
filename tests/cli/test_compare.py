"""`overwinter compare` in a repository with recorded outputs: exit codes and formats."""

import json

import pytest

from overwinter.cli import main
from overwinter.comparison import RunComparison
from overwinter.records import parse_record
from tests.support.recorded import Recorded

WORSE = {"energy_per_response_j": 60e-6, "energy_per_response_low_j": 59e-6, "energy_per_response_high_j": 61e-6}


@pytest.fixture
def space(tmp_path, monkeypatch):
    """A revision `a`, and a workspace that uses half as many joules again per response."""
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    recorded = Recorded(tmp_path / "project", new=True)
    recorded.record("one")
    recorded.commit("a")
    recorded.record("two", **WORSE)
    return recorded


@pytest.fixture
def compare(space, capsys):
    """Run the command; return its exit code and what it printed."""

    def run(*words):
        code = main(["-C", str(space.root), "compare", *words])
        printed = capsys.readouterr()
        return code, printed.out, printed.err

    return run


@pytest.fixture(autouse=True)
def here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # -C changes it; restored after the test


def test_the_workspace_is_compared_if_nothing_else_is_named(compare):
    code, out, err = compare("a")
    assert (code, err) == (0, "")
    assert "B: workspace" in out
    assert "+50.0 %" in out
    assert "beyond the noise" in out


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        (["energy_per_response > +5 %"], 3),
        (["energy_per_response > +60 %"], 0),
        (["accuracy < 0.9", "size > 100 kB"], 0),
        (["accuracy < 0.9", "size > 1 kB"], 3),
        (["size > +5 %", "latency > +5 %"], 0),
        (["f1_macro < 0.9"], 2),
        (["accuracy"], 2),
        (["accuracy < 97"], 2),
    ],
)
def test_the_exit_code_is_that_of_the_limits(compare, limits, code):
    assert compare("a", *(word for text in limits for word in ("--fail-if", text)))[0] == code


def test_a_limit_on_a_missing_figure_is_not_passed(compare, space):
    (space.root / "outputs/evaluate/metrics.json").unlink()
    code, out, _ = compare("a", "--fail-if", "energy_per_response > +5 %")
    assert code == 1
    assert "not judged: energy_per_response > +5 % (workspace: no such figure)" in out


def test_limits_are_not_judged_on_old_outputs(compare, space):
    text = (space.root / "params.yaml").read_text()
    (space.root / "params.yaml").write_text(text.replace("epochs: 16", "epochs: 99"))
    assert compare("a")[0] == 0
    code, _, err = compare("a", "--fail-if", "accuracy < 0.1")
    assert code == 1
    assert "train.epochs: 16 -> 99" in err


def test_json_is_a_typed_record(compare):
    code, out, _ = compare("a", "--json", "--fail-if", "size > 1 kB")
    record = parse_record(RunComparison, json.loads(out), where="it", remedy="")
    assert (code, record.schema, record.a_chosen) == (3, 1, "int8@onnxruntime")
    assert {each.name for each in record.figures} >= {"energy_per_response", "accuracy", "production_energy.train"}
    assert record.limits[0].status == "fails"


def test_markdown_is_for_a_pull_request(compare):
    _, out, _ = compare("a", "--markdown")
    assert out.startswith("### a (")


def test_an_unknown_revision_is_wrong_usage(compare):
    code, _, err = compare("b")
    assert code == 2
    assert "'b' is no revision" in err
