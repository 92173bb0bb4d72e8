"""The comparison as a table and as Markdown."""

import io

import pytest
from rich.console import Console

from overwinter.comparison import FigureChange, RunComparison
from overwinter.comparison.records import BEYOND, EQUAL, LimitVerdict
from overwinter.report import print_comparison, render_markdown
from overwinter.report.comparison import bases

ENERGY = FigureChange(
    name="energy_per_response",
    unit="J",
    better="lower",
    a=41.4e-6,
    b=52.2e-6,
    difference=10.8e-6,
    difference_low=7e-6,
    difference_high=14e-6,
    relative=0.261,
    relative_low=0.169,
    relative_high=0.338,
    verdict=BEYOND,
    basis="the spread of 9 repetitions",
)
STAGE = FigureChange(
    name="production_energy.hibernate", unit="J", a=21.4, b=21.4, difference=0.0, relative=0.0, verdict=EQUAL, basis="x"
)
ACCURACY = FigureChange(
    name="accuracy",
    unit="share",
    better="higher",
    a=0.9889,
    b=0.97,
    difference=-0.0189,
    difference_low=-0.042,
    difference_high=-0.001,
    relative=-0.019,
    verdict=BEYOND,
)
COMPARISON = RunComparison(
    a="main (1a2b3c4)",
    b="workspace",
    parameters=("train.epochs: 16 -> 4", "sparsify.fit.weight: [a] -> none"),
    a_chosen="int8_static@onnxruntime",
    b_chosen="dense@torch",
    figures=(ENERGY, ACCURACY, STAGE),
    notes=("main: comparison.json is not at hand",),
    limits=(
        LimitVerdict(expression="accuracy < 0.98", status="fails", message="workspace has 97.00 %"),
        LimitVerdict(expression="size > 1 MB", status="not judged", message="no such figure"),
    ),
)


def printed(width):
    stream = io.StringIO()
    print_comparison(Console(file=stream, width=width), COMPARISON)
    return stream.getvalue()


@pytest.mark.parametrize("width", [80, 140])
def test_no_line_is_wider_than_the_terminal_and_no_figure_is_cut(width):
    text = printed(width)
    assert max(map(len, text.splitlines())) <= width
    for words in ("41.4 µJ", "52.2 µJ", "+26.1 %", "-1.89 points", "beyond the noise", "  .hibernate", "97.00 %"):
        assert words in text
    assert ("+16.9 to +33.8 %" in text) == (width == 140)


def test_everything_that_a_verdict_rests_on_is_printed():
    text = printed(140)
    assert "A: main (1a2b3c4), serves int8_static@onnxruntime" in text
    assert "train.epochs: 16 -> 4" in text
    assert "sparsify.fit.weight: [a] -> none" in text  # not markup
    assert "- energy_per_response: the spread of 9 repetitions" in text
    assert "- main: comparison.json is not at hand" in text
    assert "fails: accuracy < 0.98 (workspace has 97.00 %)" in text
    assert "not judged: size > 1 MB (no such figure)" in text


def test_markdown_has_a_table_of_equal_width_and_escapes_what_markdown_means():
    text = render_markdown(COMPARISON)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len(rows) == 2 + len(COMPARISON.figures)
    assert {row.count("|") for row in rows} == {7}
    assert "| **beyond the noise** |" in rows[2]
    assert "❌ `accuracy < 0.98` fails: workspace has 97.00 %" in text
    assert "⚠️ `size > 1 MB` not judged" in text
    assert "<details>" in text
    assert text.count("<details>") == text.count("</details>") == 1
    hostile = RunComparison(a="a|b<script>", b="*b*", figures=(), notes=("<img src=x>",))
    assert "<script>" not in render_markdown(hostile)
    assert "<img" not in render_markdown(hostile)


def test_where_nothing_changed_it_says_so():
    same, unknown = (RunComparison(a="a", b="b", figures=(), parameters_known=each) for each in (True, False))
    assert "no parameter changed" in render_markdown(same)
    assert "changed parameters: not known" in render_markdown(unknown)


def test_stages_with_the_same_basis_are_named_once():
    names = ("production_energy.train", "production_energy.sparsify", "latency")
    figures = tuple(FigureChange(name=name, unit="J", verdict="within the noise", basis="why") for name in names)
    assert bases(RunComparison(a="a", b="b", figures=figures)) == ["production_energy.train, .sparsify, latency: why"]
