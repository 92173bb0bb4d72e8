"""The pure parts of the walk through the first hour, and that the documentation still says what it types."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from overwinter.cli import main

ROOT = Path(__file__).parents[2]
PAGE = """
```console
$ make run
```

```sh
overwinter run train.epochs=8 budget.total="1 mJ"   # exits with 3
```

```python
import overwinter

pass  # 1
```
"""


@pytest.fixture
def program(load_benchmark):
    return load_benchmark("first_hour")


@pytest.mark.parametrize(
    ("after", "lines"),
    [("a\nb\nc\n", 0), ("a\nB\nc\n", 1), ("a\nc\n", 1), ("a\nb\nb2\nb3\nc\n", 2), ("A\nB\nC\nd\n", 4), ("", 3)],
)
def test_lines_changed_added_and_removed_are_counted_once_each(program, after, lines):
    assert program.edited_lines("a\nb\nc\n", after) == lines


def test_commands_are_taken_from_the_page_with_the_exit_code_that_it_announces(program):
    assert program.documented(PAGE, "make run") == ("make run", 0)
    assert program.documented(PAGE, "overwinter run train") == ('overwinter run train.epochs=8 budget.total="1 mJ"', 3)
    assert program.code_block(PAGE, "import overwinter") == "import overwinter\n\npass  # 1\n"
    with pytest.raises(SystemExit, match="no line that begins with 'overwinter fly'"):
        program.documented(PAGE, "overwinter fly")
    with pytest.raises(SystemExit, match="no Python block"):
        program.code_block(PAGE, "import torch")


def test_the_documentation_has_what_the_walk_types(program):
    readme, watch = ((ROOT / page).read_text() for page in ("README.md", "docs/watch.md"))
    assert program.documented(readme, "make run") == ("make run", 0)
    assert program.documented(readme, "overwinter run train.epochs=8 budget.total")[1] == 3
    assert program.documented(readme, "overwinter report") == ("overwinter report", 0)
    assert "overwinter.watch(" in program.code_block(readme, "import overwinter")
    metered = program.code_block(watch, "# trainer")
    plain = program.without_marked_lines(metered)
    assert "verwinter" not in plain
    assert program.edited_lines(plain, metered) <= 3


def test_the_script_is_wrapped_and_edited_in_at_most_eleven_lines(program, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(program.SCRIPT, program.SCRIPT.name)
    assert main(["init", "project", "--from", program.SCRIPT.name]) == 0
    assert 0 < program.edit(tmp_path / "project") <= 11
    assert len(program.SCRIPT.read_text().splitlines()) == 80
    compile((tmp_path / "project/shapes_cnn_data.py").read_text(), "shapes_cnn_data.py", "exec")
    with pytest.raises(SystemExit, match="has no line to edit"):
        program.edit(tmp_path / "project")


def test_shapes_are_images_that_differ(program):
    drawn = [program.draw_shape(kind, np.random.default_rng(0)) for kind in ("circle", "cross", "square")]
    assert {(each.shape, each.dtype.name) for each in drawn} == {((32, 32, 3), "uint8")}
    assert not np.array_equal(drawn[0], drawn[1])


def test_the_summary_adds_up_the_steps_of_the_own_model(program):
    names = ("first result", "own model: project", "own model: pipeline")
    steps = [program.Step(name=name, command="", wall_s=10.0 + place, cpu_s=1.0) for place, name in enumerate(names)]
    content = program.summary(steps, {"edited_lines": 4}, 2)
    assert (content["own_model"]["wall_s"], content["own_model"]["cpu_s"]) == (23.0, 2.0)
    assert content["trainer"] == {"added_lines": 2, "asked_added_lines": 3}
    assert [step["name"] for step in content["steps"]] == list(names)
