"""A stage at a step: a pause waits if work would be lost, an interrupt does not."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import fsspec
import pytest
from torch import nn

from overwinter.config import Project, find_project, load_config
from overwinter.config.groups import StageSpec
from overwinter.data.local_files import remote_versions
from overwinter.energy.claim import Claim
from overwinter.errors import ConfigError, IntegrityError
from overwinter.files import write_json
from overwinter.models import save_model, write_variants
from overwinter.pipeline.invocation import Invocation
from overwinter.pipeline.render import versions_out
from overwinter.pipeline.stage import InterruptedStageError, Stage
from overwinter.pipeline.supervising import signals_handled
from overwinter.power.control.pausing import Pause, PausedError
from overwinter.signature import Signature

_ROOT = Path(__file__).parents[2]
_PAUSE = Pause(reason="the grid is dirty", since_utc=datetime(2026, 6, 10, tzinfo=UTC))


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    """In a scratch folder, under a power policy that wants a pause."""
    project = find_project(_ROOT)
    made = Stage(
        Invocation(stage="train", project=project, config=load_config(project), folder=tmp_path / "train", scratch=True)
    )
    control: Any = SimpleNamespace(pause=_PAUSE, step=lambda done, total: None, paused_work=lambda: "work")
    made.control = control
    return made


def test_work_that_is_kept_is_paused_at_a_step(stage: Stage):
    with pytest.raises(PausedError, match="the grid is dirty"):
        stage.progress(3, 10)
    assert stage.paused_work == "work"


def test_work_without_a_checkpoint_is_paused_only_before_its_first_step(stage: Stage):
    stage.unsaved_progress(3, 10)
    assert stage.paused_work is None
    with pytest.raises(PausedError):
        stage.unsaved_progress(0, 10)


def test_who_interrupts_is_reported_what_happens_next_time(stage: Stage):
    stage.interrupted = True
    with pytest.raises(InterruptedStageError, match=r"interrupted at 3 of 10 steps\. The next run resumes from there"):
        stage.progress(3, 10)
    with pytest.raises(InterruptedStageError, match=r"interrupted at 3 of 10 steps\. The next run starts over"):
        stage.unsaved_progress(3, 10)


def test_between_two_steps_an_interrupt_says_what_is_kept(stage: Stage, tmp_path: Path):
    stage.checkpoints = tmp_path / "checkpoints"
    said = "train was interrupted before its next step. It had saved nothing"
    with pytest.raises(KeyboardInterrupt, match=said), signals_handled(stage):
        signal.raise_signal(signal.SIGINT)
    stage.checkpoints.mkdir()
    (stage.checkpoints / "model.pt").touch()
    assert stage.kept().startswith("Its last checkpoint is kept: the next run resumes from there")


def test_data_at_an_address_that_changed_since_the_check_is_refused(tmp_path: Path):
    files = fsspec.filesystem("memory")
    files.pipe("/stage/a.csv", b"1")
    config = load_config(find_project(_ROOT))
    config.data["root"] = "memory://stage"
    project = Project(root=tmp_path, configs=_ROOT / "configs", config_name="config")
    call = Invocation(stage="train", project=project, config=config, folder=tmp_path / "train", scratch=False)
    write_json(tmp_path / versions_out("data"), remote_versions(config)["data"])
    assert list(Stage(call).lineage()["data"]) == ["memory://stage"]
    files.pipe("/stage/a.csv", b"2")
    with pytest.raises(IntegrityError, match="memory://stage changed since the check"):
        Stage(call)


@pytest.fixture
def hibernate(tmp_path: Path) -> Stage:
    """Behind stages that left their models; the configuration names a stage of one's own among them."""
    config = load_config(find_project(_ROOT))
    config.pipeline.stages["distill"] = StageSpec(needs=["train"], params=[])
    config.pipeline.stages["hibernate"].needs = ["train", "distill", "quantize", "evaluate"]
    for name, variant in (("train", "dense"), ("distill", "distilled"), ("quantize", None)):
        folder = tmp_path / "outputs" / name / "model"
        if variant is None:
            write_variants(folder, [])
        else:
            save_model(
                folder, nn.Linear(2, 2), variant=variant, model_config={}, signature=Signature.of_one([2]), lineage={}
            )
    (tmp_path / "outputs/evaluate").mkdir()
    (tmp_path / "outputs/evaluate/chosen.json").write_text("{}")
    project = Project(root=tmp_path, configs=_ROOT / "configs", config_name="config")
    return Stage(
        Invocation(stage="hibernate", project=project, config=config, folder=tmp_path / "hibernate", scratch=True)
    )


def test_every_stage_that_is_needed_and_leaves_a_model_adds_a_variant(hibernate: Stage, tmp_path: Path):
    outputs = tmp_path / "outputs"
    assert hibernate.variants() == {"dense": outputs / "train/model", "distilled": outputs / "distill/model"}
    assert hibernate.variant("distilled") == outputs / "distill/model"


def test_it_builds_on_the_stages_that_it_needs_and_on_theirs(hibernate: Stage, tmp_path: Path):
    hibernate.config.pipeline.stages["hibernate"].needs = ["distill"]
    outputs = tmp_path / "outputs"
    assert hibernate.earlier_models() == {"distill": outputs / "distill/model", "train": outputs / "train/model"}


def test_the_file_that_a_model_came_in_adds_variants_behind_dense(hibernate: Stage, tmp_path: Path):
    hibernate.config.pipeline.stages["train"].outs = ["model", "given"]
    given = tmp_path / "outputs/train/given"
    with pytest.raises(IntegrityError, match="Run `dvc repro train`"):
        hibernate.variants()
    (given / "input_file").mkdir(parents=True)
    write_variants(given, ["input_file"])
    assert list(hibernate.variants()) == ["dense", "input_file", "distilled"]
    assert hibernate.variant("input_file") == given / "input_file"


def test_a_variant_of_a_stage_that_is_not_needed_is_refused_with_the_key(hibernate: Stage):
    hibernate.config.pipeline.stages["hibernate"].needs.remove("distill")
    with pytest.raises(ConfigError, match=r"pipeline\.stages\.hibernate\.needs makes the variant 'distilled'.*dense"):
        hibernate.variant("distilled")


class Meter:
    """Stands for the stage's meter: counts its pauses."""

    def __init__(self) -> None:
        self.pauses = 0

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.pauses += 1
        yield


@pytest.fixture
def measurement(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Claim]:
    """Another run's claim on the CPU."""
    folder = tmp_path / "quiet"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("OVERWINTER_QUIET", str(folder))
    claim = Claim(folder, ["cpu"])
    yield claim
    claim.close()


@pytest.fixture
def working(stage: Stage, measurement: Claim) -> Iterator[Stage]:
    """A stage at work, metered, on a device that the measurement wants."""
    meter: Any = Meter()
    stage.control, stage.meter = None, meter
    stage.config.device = "cpu"
    with stage.sharing_devices():
        yield stage


def test_at_a_step_the_stage_leaves_the_device_to_a_measurement_and_pays_nothing_for_the_wait(
    working: Stage, measurement: Claim
):
    meter: Any = working.meter
    working.progress(1, 10)
    assert meter.pauses == 0
    assert measurement.bar()
    assert not measurement.empty()  # the stage shares the device
    devices = working.devices
    assert devices is not None
    devices._looked_s = 0.0  # it looks four times a second
    alone: list[bool] = []
    threading.Timer(0.1, lambda: alone.append(measurement.empty())).start()
    threading.Timer(0.3, measurement.leave).start()
    working.progress(2, 10)
    assert alone == [True]
    assert meter.pauses == 1
    assert devices.waited_s >= 0.2


def test_a_signal_ends_the_wait_as_it_ends_the_work(working: Stage, measurement: Claim):
    assert measurement.bar()
    working.last_progress_s = 0.0
    assert working.devices is not None
    working.devices._looked_s = 0.0

    def interrupt() -> None:
        assert time.monotonic() - working.last_progress_s < 1  # as at a step: the first signal saves a checkpoint
        working.interrupted = True

    threading.Timer(0.2, interrupt).start()
    with pytest.raises(InterruptedStageError, match=r"interrupted at 3 of 10 steps\. The next run resumes"):
        working.progress(3, 10)


def test_a_measurement_has_the_device_alone_and_shares_it_afterwards(working: Stage, measurement: Claim):
    with working.quiet_device():
        assert not measurement.share()
    assert measurement.share()
