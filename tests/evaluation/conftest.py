"""A stand-in meter, and sessions whose speed is known."""

import time
from types import SimpleNamespace

import numpy as np
import pytest


class Window:
    def __init__(self, meter, name):
        self.meter, self.name = meter, name
        self.begin = (meter.energy_j(), meter.clock.perf_counter())
        self.report = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        if self.report is None:
            energy_j, duration_s = (
                self.meter.energy_j() - self.begin[0],
                self.meter.clock.perf_counter() - self.begin[1],
            )
            part = SimpleNamespace(device=self.meter.device, source=self.meter.source, energy_j=energy_j)
            gpu = SimpleNamespace(device="gpu:0", source="nvml-counter", energy_j=1e6)
            self.report = SimpleNamespace(components=(part, gpu), duration_s=duration_s)
        return self.report


class Meter:
    """Meter that reports 10 W of idle power and 30 J per CPU-second of this process."""

    def __init__(self, source="modelled", device="cpu", clock=time):
        self.source, self.device, self.clock, self.windows = source, device, clock, []

    def energy_j(self):
        return 10 * self.clock.perf_counter() + 30 * self.clock.process_time()

    def window(self, name):
        self.windows.append(name)
        return Window(self, name)


class Session:
    """Session that spins for a fixed CPU time per response."""

    def __init__(self, cpu_s):
        self.cpu_s, self.batches = cpu_s, []

    def run(self, inputs):
        self.batches.append(len(inputs))
        end_s = time.process_time() + self.cpu_s * len(inputs)
        while time.process_time() < end_s:
            pass
        return np.zeros((len(inputs), 2), np.float32)


@pytest.fixture
def make_meter():
    return Meter


@pytest.fixture
def make_session():
    return Session
