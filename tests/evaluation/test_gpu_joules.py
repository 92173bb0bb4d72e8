import importlib.util
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from overwinter.config.groups import EnergyConfig, HardwareConfig
from overwinter.energy import Component, open_meter
from overwinter.errors import ConfigError
from overwinter.evaluation import gpu_joules
from overwinter.evaluation.figures import summarize
from overwinter.evaluation.gpu_joules import GpuJoules, joules_of, metered_gpu
from overwinter.evaluation.joules import CpuJoules, Rates
from overwinter.evaluation.narrowing import _cost_of
from overwinter.evaluation.timing import Sample, TimingPlan, measure_speed


class Bench:
    """A machine with a simulated clock and counters: GPU 60 W idle, 300 W at work.

    CPU 10 W, 40 W at work.
    """

    def __init__(self, cpu_source="modelled", gpus=(("gpu:0", "nvml-counter"),)):
        self.cpu_source, self.gpus = cpu_source, gpus
        self.wall_s = self.cpu_s = self.gpu_s = 0.0

    def perf_counter(self):
        return self.wall_s

    def process_time(self):
        return self.cpu_s

    def sleep(self, duration_s):
        self.wall_s += duration_s

    def respond(self, duration_s, *, spinning=True):
        self.wall_s += duration_s
        self.gpu_s += duration_s
        self.cpu_s += duration_s if spinning else duration_s / 10

    def window(self, name):
        return Window(self)

    def joules(self):
        return {
            ("cpu", self.cpu_source): 10 * self.wall_s + 30 * self.cpu_s,
            **dict.fromkeys(self.gpus, 60 * self.wall_s + 240 * self.gpu_s),
        }


class Window:
    def __init__(self, bench):
        self.bench, self.begin, self.begin_s, self.report = bench, bench.joules(), bench.wall_s, None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.report is None:
            ended = self.bench.joules()
            parts = tuple(
                Component(
                    device=device,
                    source=source,
                    energy_j=joules - self.begin[device, source],
                    uncertainty_j=0.0,
                    average_w=0.0,
                    peak_w=0.0,
                )
                for (device, source), joules in ended.items()
            )
            self.report = SimpleNamespace(components=parts, duration_s=self.bench.wall_s - self.begin_s)
        return self.report


@pytest.fixture
def make_bench(monkeypatch):
    def make(*arguments, **more):
        bench = Bench(*arguments, **more)
        for module in ("gpu_joules", "joules", "timing"):
            monkeypatch.setattr(f"overwinter.evaluation.{module}.time", bench)
        return bench

    return make


def test_answers_on_the_cpu_are_read_as_ever(make_bench):
    assert type(joules_of(make_bench(), "cpu")) is CpuJoules


def test_a_gpus_counter_is_read_with_the_cpus_joules_beside(make_bench):
    bench = make_bench()
    joules = joules_of(bench, "cuda")
    with joules.piece() as reading:
        bench.respond(2.0)
    assert reading.gpu_j == pytest.approx(600)
    assert reading.energy_j is None  # modelled from CPU-seconds when the comparison is over
    rates = joules.rates(threads=4)
    assert rates.gpu_idle_w == pytest.approx(60)
    assert rates.total_j(cpu_s=0.5, counted_j=None, gpu_s=2.0) == pytest.approx(0.5 * 30 + 2 * 10)


def test_both_are_counted_where_both_have_counters(make_bench):
    bench = make_bench("rapl")
    joules = joules_of(bench, "cuda")
    with joules.piece() as reading:
        bench.respond(1.0)
    assert (reading.gpu_j, reading.energy_j) == (pytest.approx(300), pytest.approx(40))


@pytest.mark.parametrize(("source", "duration_s"), [("nvml-counter", 1.0), ("amdsmi", 1.0), ("nvml-power", 10.0)])
def test_a_sample_lasts_ten_updates_of_its_source(make_bench, source, duration_s):
    joules = GpuJoules(make_bench(gpus=[("gpu:0", source)]), "cuda")
    assert joules.min_sample_s == duration_s


@pytest.mark.parametrize("gpus", [[], [("gpu:0", "modelled")]])
def test_a_gpu_that_nothing_reads_is_refused_before_anything_is_timed(make_bench, gpus):
    with pytest.raises(ConfigError, match=r"No meter covers device=cuda, .*none\)\.\nAdd `nvml` to energy\.sources"):
        GpuJoules(make_bench(gpus=gpus), "cuda")


def test_among_several_gpus_the_one_that_torch_means_is_found_by_its_uuid(make_bench, monkeypatch):
    """CUDA numbers by speed, NVML by slot."""
    report = make_bench(gpus=[("gpu:0", "nvml-counter"), ("gpu:3", "nvml-counter")]).window("").close()
    cuda = SimpleNamespace(
        get_device_properties=lambda device: SimpleNamespace(uuid={"cuda:0": "d", "cuda:1": "x"}[device])
    )
    nvml = SimpleNamespace(
        nvmlInit=lambda: None,
        nvmlShutdown=lambda: None,
        nvmlDeviceGetCount=lambda: 4,
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetUUID=lambda handle: f"GPU-{'abcd'[handle]}",
        nvmlDeviceGetPciInfo=lambda handle: SimpleNamespace(busId=f"00000000:0{handle}:00.0"),
        nvmlDeviceGetName=lambda _handle: "GPU",
        NVMLError=RuntimeError,
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    assert metered_gpu(report, "cuda:0") == "gpu:3"
    with pytest.raises(ConfigError, match=r"device=cuda:1, .*GPUs metered: gpu:0, gpu:3"):
        metered_gpu(report, "cuda:1")


def test_samples_are_as_long_as_the_counter_needs_and_waiting_for_a_gpu_disturbs_nothing(make_bench, monkeypatch):
    bench = make_bench()
    watch = SimpleNamespace(foreign_s=lambda: 0.0)
    monkeypatch.setattr("overwinter.evaluation.timing.CoreWatch", lambda: watch)

    class Session:
        def run(self, inputs):
            bench.respond(0.01, spinning=False)
            return np.zeros((len(inputs), 2), np.float32)

    plan = TimingPlan(repeats=3, sample_duration_s=0.04, seed=0)
    joules = joules_of(bench, "cuda")
    batches = {4: [np.zeros((4, 2), np.float32)]}
    samples = measure_speed({"a": Session()}, batches, plan, joules, lambda *_: None)["a", 4]
    assert [sample.wall_s for sample in samples] == pytest.approx([1.0] * 3)
    assert not any(sample.disturbed for sample in samples)
    figures = summarize(samples, rates=joules.rates(1), confidence=0.95, seed=0)
    assert figures.gpu_energy_per_response_j == pytest.approx(300 * 0.01 / 4)
    assert figures.energy_per_response_j > figures.gpu_energy_per_response_j
    assert figures.measured is False
    assert figures.provenance == "96 % measured on the GPU, the CPU's modelled"
    assert figures.to_json()["gpu_energy_per_response_j"] == figures.gpu_energy_per_response_j


def test_above_idle_leaves_out_what_an_idle_gpu_draws_while_it_waits():
    sample = Sample(
        responses=10, wall_s=1.0, cpu_s=1.0, energy_j=40.0, latencies_s=np.array([1.0]), foreign_s=0.0, gpu_j=300.0
    )
    rates = Rates(busy_j_per_cpu_s=30, idle_w=10, threads=1, gpu_idle_w=60)
    figures = summarize([sample], rates=rates, confidence=0.95, seed=0)
    assert figures.energy_per_response_j == pytest.approx(34.0)
    assert figures.energy_above_idle_per_response_j == pytest.approx(24.0 + 3.0)
    assert (figures.measured, figures.provenance) == (True, "measured")
    assert _cost_of(sample) == 340.0


def stand_in():
    spec = importlib.util.spec_from_file_location("stand_in_nvml", Path(__file__).parents[1] / "stand_in" / "nvml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.special
@pytest.mark.skipif(stand_in().compiler() is None, reason="needs a C compiler for the stand-in driver")
def test_the_real_meter_counts_the_gpu_that_torch_means(tmp_path, monkeypatch):
    """pynvml is real, on a compiled stand-in driver with two GPUs that draw 500 W and 200 W."""
    driver = stand_in().StandIn(tmp_path, count=2)
    driver.device(1).demand_mw = 200_000
    driver.enter(monkeypatch)
    monkeypatch.setattr(gpu_joules, "_IDLE_S", 0.1)
    uuid = driver.device(1).uuid.decode().removeprefix("GPU-")
    cuda = SimpleNamespace(
        get_device_properties=lambda _device: SimpleNamespace(uuid=uuid), is_initialized=lambda: False
    )
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with open_meter(*settings("nvml", "modelled")) as meter:
        joules = joules_of(meter, "cuda:0")
        with joules.piece() as reading:
            time.sleep(0.3)
    assert joules._gpu == "gpu:1"
    assert reading.gpu_j == pytest.approx(200 * 0.3, rel=0.2)


def settings(*sources):
    configs = Path(__file__).parents[2] / "configs"
    energy = EnergyConfig(**OmegaConf.load(configs / "energy/default.yaml"))
    energy.sources, energy.idle_probe_s = list(sources), 0.0
    return energy, HardwareConfig(**OmegaConf.load(configs / "hardware/auto.yaml"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_real_gpu_at_work_draws_more_than_idle():
    matrix = torch.randn(4096, 4096, device="cuda")
    with open_meter(*settings("nvml", "modelled")) as meter:
        joules = joules_of(meter, "cuda")
        begin_s = time.monotonic()
        with joules.piece() as reading:
            while time.monotonic() < begin_s + 1.5:
                (matrix @ matrix).sum().item()
    assert reading.gpu_j > 1.2 * joules._gpu_idle_w * 1.5
