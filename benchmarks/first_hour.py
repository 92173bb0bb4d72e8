"""The first hour of a new user, step by step as the README and its pages say, in a clean clone; every step is timed.

python benchmarks/first_hour.py               # installs, too: `make run` in the clone
python benchmarks/first_hour.py --installed   # in this environment, without that

The steps: the first result, a budget that refuses, the report, a convolutional network of one's own on folders of
images from its script to a server that answers, the README's metered script, and a script with Hugging Face's Trainer.
Lines are counted by comparing the files before and after.
"""

from __future__ import annotations

import argparse
import difflib
import http.client
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from common import write_result

ROOT = Path(__file__).parents[1]
SCRIPT = Path(__file__).parent / "first_hour_scripts" / "shapes_cnn.py"
_CLASSES, _IMAGES_EACH, _SIDE_PIXELS = ("circle", "cross", "square"), 300, 32
_ASKED = 5  # images that the server gets
_MAX_SECONDS, _MAX_EDITED_LINES, _MAX_TRAINER_LINES = 180, 11, 3  # what was asked for
# What the newcomer edits, so that training and the server read the same image files: in a file, old text and new.
_IMAGES = f"ow.data.Image([{_SIDE_PIXELS}, {_SIDE_PIXELS}])"
EDITS = {
    "shapes_cnn.py": (
        ('        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255\n', ""),
        ("torch.from_numpy(pixels).permute(2, 0, 1), number", "path.read_bytes(), number"),
    ),
    "shapes_cnn_data.py": (
        ("import torch\n", "import overwinter as ow\nimport torch\n"),
        ("preprocessing: dict[str, Any] = {}", f"preprocessing = {_IMAGES}"),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Step:
    """A step of the hour.

    Attributes:
        name: What it is for.
        command: What the user types.
        wall_s: Its duration.
        cpu_s: Processor time of all its processes.
    """

    name: str
    command: str
    wall_s: float
    cpu_s: float


@dataclass(kw_only=True)
class Walk:
    """Runs the commands of the steps, with the installed programs first in the path.

    Attributes:
        programs: The folder of the installed programs.
        steps: What was done.
    """

    programs: Path
    steps: list[Step] = field(default_factory=list)

    def __call__(self, name: str, command: str, folder: Path, *, exits_with: int = 0) -> str:
        """Type a command in a folder, and return what it printed.

        Raises:
            SystemExit: it ended with another exit code than the documentation says.
        """
        with self.timed(name, command):
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=folder,
                env=self._environment(),
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != exits_with:
            raise SystemExit(f"{command} ended with {done.returncode}, not {exits_with}:\n{done.stdout}{done.stderr}")
        return done.stdout

    @contextmanager
    def timed(self, name: str, command: str) -> Iterator[None]:
        """Time what happens inside the context."""
        begun_s, cpu_s = time.monotonic(), _children_cpu_s()
        yield
        wall_s = time.monotonic() - begun_s
        self.steps.append(Step(name=name, command=command, wall_s=wall_s, cpu_s=_children_cpu_s() - cpu_s))

    @contextmanager
    def serving(self, bundle: str, folder: Path) -> Iterator[int]:
        """Serve a bundle, and give the port."""
        command = ["overwinter", "serve", "--model", f"shapes={bundle}", "serve.port=0"]
        with subprocess.Popen(
            command, cwd=folder, env=self._environment(), stdout=subprocess.PIPE, text=True
        ) as server:
            assert server.stdout is not None
            try:
                yield int(server.stdout.readline().rsplit(":", 1)[1])
            finally:
                server.send_signal(signal.SIGTERM)

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "PATH": f"{self.programs}{os.pathsep}{os.environ['PATH']}"}


def _children_cpu_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def documented(page: str, beginning: str) -> tuple[str, int]:
    """Return the line of a page's code blocks that begins so, without its comment, and the exit code that it announces.

    Raises:
        SystemExit: the page has no such line.
    """
    found = re.search(rf"^(?:\$ )?({re.escape(beginning)}.*)$", page, re.MULTILINE)
    if found is None:
        raise SystemExit(f"The documentation has no line that begins with {beginning!r}.")
    command, _, comment = found[1].partition(" #")
    announced = re.search(r"exits with (\d+)", comment)
    return command.rstrip(), int(announced[1]) if announced else 0


def code_block(page: str, beginning: str) -> str:
    """Return the Python block of a page that begins so.

    Raises:
        SystemExit: the page has no such block.
    """
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = next((block for block in blocks if block.startswith(beginning)), None)
    if found is None:
        raise SystemExit(f"The documentation has no Python block that begins with {beginning!r}.")
    return str(found)


def without_marked_lines(code: str) -> str:
    """Return a script as it was before the lines that the documentation numbers (`# 1`, `# 2`) were added."""
    return "".join(line for line in code.splitlines(keepends=True) if not re.search(r"  # \d+$", line.rstrip("\n")))


def edited_lines(before: str, after: str) -> int:
    """Return the number of lines that someone edits to turn one text into another: changed, added or removed."""
    matcher = difflib.SequenceMatcher(a=before.splitlines(), b=after.splitlines(), autojunk=False)
    return sum(max(i2 - i1, j2 - j1) for kind, i1, i2, j1, j2 in matcher.get_opcodes() if kind != "equal")


def draw_shape(kind: str, generator: np.random.Generator) -> np.ndarray:
    """Return a noisy image (height, width, 3), uint8, of a shape of any place, size and colour on a dark ground."""
    row, column = np.mgrid[:_SIDE_PIXELS, :_SIDE_PIXELS]
    centre, size = generator.uniform(12, 20, 2), generator.uniform(6, 9)
    down, right = np.abs(row - centre[0]), np.abs(column - centre[1])
    inside = {
        "circle": down**2 + right**2 < size**2,
        "square": np.maximum(down, right) < 0.85 * size,
        "cross": (np.minimum(down, right) < 0.3 * size) & (np.maximum(down, right) < size),
    }[kind]
    bright, dark = generator.uniform(150, 255, 3), generator.uniform(0, 80, 3)
    picture = np.where(inside[..., None], bright, dark) + generator.normal(0, 12, (*inside.shape, 3))
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_shapes(folder: Path) -> None:
    """Write the images of each class into a folder of its name."""
    from PIL import Image

    generator = np.random.default_rng(0)
    for kind in _CLASSES:
        (folder / kind).mkdir(parents=True)
        for number in range(_IMAGES_EACH):
            Image.fromarray(draw_shape(kind, generator)).save(folder / kind / f"{number:03}.png")


def edit(folder: Path) -> int:
    """Make the newcomer's edits in a project, and return how many lines they were."""
    lines = 0
    for name, changes in EDITS.items():
        before = after = (folder / name).read_text(encoding="utf-8")
        for old, new in changes:
            if old not in after:
                raise SystemExit(f"{name} has no line to edit like {old!r}.")
            after = after.replace(old, new, 1)
        (folder / name).write_text(after, encoding="utf-8")
        lines += edited_lines(before, after)
    return lines


def first_result(walk: Walk, clone: Path, *, installed: bool) -> None:
    """Clone, and run the default case."""
    walk("clone", f"git clone --quiet {ROOT} {clone}", ROOT)
    command = "overwinter run" if installed else documented((clone / "README.md").read_text(), "make run")[0]
    walk("first result", command, clone)


def budget_and_report(walk: Walk, clone: Path) -> None:
    """Type what the README says next."""
    readme = (clone / "README.md").read_text(encoding="utf-8")
    refused, code = documented(readme, "overwinter run train.epochs=8 budget.total")
    walk("first refused budget", refused, clone, exits_with=code)
    walk("first report", documented(readme, "overwinter report")[0], clone)


def own_model(walk: Walk, folder: Path) -> dict[str, Any]:
    """Take the script of a network to a bundle that answers a request, and return what came out."""
    draw_shapes(folder / "shapes")
    shutil.copyfile(SCRIPT, folder / SCRIPT.name)
    project = folder / "project"
    walk("own model: project", f"overwinter init project --from {SCRIPT.name}", folder)
    lines = edit(project)
    walk("own model: pipeline", "overwinter run", project)
    asked = "cross"
    with (
        walk.timed("own model: first response", "overwinter serve --model shapes=outputs/hibernate/bundle"),
        walk.serving("outputs/hibernate/bundle", project) as port,
    ):
        answers = [ask(port, path.read_bytes()) for path in sorted((folder / "shapes" / asked).iterdir())[:_ASKED]]
    metrics = json.loads((project / "outputs/evaluate/metrics.json").read_text(encoding="utf-8"))
    return {
        "script_lines": len(SCRIPT.read_text(encoding="utf-8").splitlines()),
        "edited_lines": lines,
        "right_answers": sum(answer["label"] == asked for answer in answers),
        "answers": answers,
        "chosen": metrics["chosen"]["name"],
        "accuracy": metrics["chosen"]["accuracy"],
    }


def ask(port: int, image: bytes) -> Any:
    """Return the server's prediction for an image file."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("POST", "/v2/models/shapes/predict", image, {"Content-Type": "image/png"})
    reply = connection.getresponse()
    content = json.loads(reply.read())
    if reply.status != http.client.OK:
        raise SystemExit(f"The server answered {reply.status}: {content}")
    return content["predictions"][0]


def own_scripts(walk: Walk, clone: Path, folder: Path) -> int:
    """Meter the README's script and a Trainer's, and return the number of lines that the latter took."""
    (folder / "script.py").write_text(
        code_block((clone / "README.md").read_text(encoding="utf-8"), "import overwinter")
    )
    walk("metered script", "python script.py", folder)
    metered = code_block((clone / "docs/watch.md").read_text(encoding="utf-8"), "# trainer")
    plain = without_marked_lines(metered)
    (folder / "plain.py").write_text(plain)
    (folder / "trainer.py").write_text(metered)
    walk("Trainer script as it was", "python plain.py", folder)
    walk("Trainer script, metered", "python trainer.py", folder)
    listed = json.loads(walk("its ledger", "overwinter ledger --json", folder))["executions"]
    if [entry["status"] for entry in listed] != ["done", "done"]:
        raise SystemExit(f"The ledger should have two finished runs: {listed}")
    return edited_lines(plain, metered)


def summary(steps: Sequence[Step], own: Mapping[str, Any], trainer_lines: int) -> dict[str, Any]:
    """Return the content of the result file: the steps, and the figures beside what was asked for."""
    of_own = [step for step in steps if step.name.startswith("own model")]
    return {
        "steps": [asdict(step) for step in steps],
        "own_model": {
            **own,
            "wall_s": sum(step.wall_s for step in of_own),
            "cpu_s": sum(step.cpu_s for step in of_own),
            "asked_wall_s": _MAX_SECONDS,
            "asked_edited_lines": _MAX_EDITED_LINES,
        },
        "trainer": {"added_lines": trainer_lines, "asked_added_lines": _MAX_TRAINER_LINES},
    }


def show(content: Mapping[str, Any]) -> None:
    """Print the table."""
    table = Table("step", "command", "time", "processor time")
    for step in content["steps"]:
        table.add_row(step["name"], step["command"], f"{step['wall_s']:.1f} s", f"{step['cpu_s']:.1f} s")
    Console().print(table)
    own, trainer = content["own_model"], content["trainer"]
    print(f"own model: {own['wall_s']:.0f} s, {own['edited_lines']} edited lines, accuracy {own['accuracy']:.2%}")
    print(f"Trainer script: {trainer['added_lines']} added lines")


def main() -> None:
    """Walk, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--installed", action="store_true", help="use this environment; do not install")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="first-hour-") as place:
        folder, clone = Path(place), Path(place) / "overwinter"
        walk = Walk(programs=Path(sys.executable).parent if options.installed else clone / ".venv/bin")
        first_result(walk, clone, installed=options.installed)
        budget_and_report(walk, clone)
        if not options.installed:
            extras = "python -m pip install --quiet --constraint constraints.txt --editable '.[images,trainer]'"
            walk("extras for images and the Trainer", extras, clone)
        own = own_model(walk, folder)
        lines = own_scripts(walk, clone, folder)
    content = {"installed": options.installed, **summary(walk.steps, own, lines)}
    show(content)
    print(write_result("first_hour", content))


if __name__ == "__main__":
    main()
