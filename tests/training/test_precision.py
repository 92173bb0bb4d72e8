"""The number format of a fit."""

import pytest
import torch

from overwinter.errors import ConfigError
from overwinter.training import evaluate, precision
from overwinter.training.precision import autocast, check_precision, in_bf16

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.mark.parametrize(
    ("asked", "on_cpu", "on_gpu"), [("auto", False, True), ("native", True, True), ("fp32", False, False)]
)
def test_where_bf16_is_native(monkeypatch, asked, on_cpu, on_gpu):
    monkeypatch.setattr(precision, "is_quick", lambda device: True)
    assert (in_bf16(CPU, asked), in_bf16(GPU, asked)) == (on_cpu, on_gpu)


@pytest.mark.parametrize("asked", ["auto", "native", "fp32"])
def test_where_it_is_not(monkeypatch, asked):
    monkeypatch.setattr(precision, "is_quick", lambda device: False)
    assert not in_bf16(CPU, asked)
    check_precision(asked, CPU)


def test_emulation_is_refused(monkeypatch):
    monkeypatch.setattr(precision, "is_quick", lambda device: False)
    with pytest.raises(ConfigError, match=r"train.precision=bf16, and this cpu computes in bfloat16 by emulation only"):
        check_precision("bf16", CPU)


def test_products_are_in_it():
    with autocast(CPU, "bf16"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    with autocast(CPU, "auto"):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_what_is_reported_of_a_fit_in_bf16_is_measured_in_fp32(fit, validation, task):
    result = fit(precision="bf16", epochs=6)
    assert result.measures == evaluate(result.model, validation, task).measures
