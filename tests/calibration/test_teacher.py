import pytest
import torch
from torch import nn
from torch.nn import functional

from overwinter.calibration import teacher as teaching
from overwinter.calibration.teacher import Draw, Teacher, divergence
from overwinter.tasks import TokenClassification

TASK = TokenClassification(())


class Counted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float] = []

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.asked += inputs[:, 0].tolist()
        return torch.stack([inputs[:, 0], -inputs[:, 0]], 1)


def draw(*samples: int, which: int = 0) -> Draw:
    return Draw(which=which, samples=samples)


@pytest.mark.parametrize("shape", [(70, 11), (3, 40, 11)])
def test_divergence_and_its_slope_are_torchs_own(shape):
    torch.manual_seed(0)
    outputs, wanted = torch.randn(shape, requires_grad=True), torch.randn(shape)
    loss = 2 * divergence(TASK, outputs, wanted)
    (slope,) = torch.autograd.grad(loss, outputs)
    logs, aims = (each.flatten(0, -2).log_softmax(1) for each in (outputs, wanted))
    expected = 2 * functional.kl_div(logs, aims, reduction="batchmean", log_target=True)
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(slope, torch.autograd.grad(expected, outputs)[0], atol=1e-7, rtol=1e-5)


def test_every_sample_is_answered_once_and_forgotten_after_its_last_turn():
    dense, calibration = Counted(), [torch.arange(4.0)[:, None], torch.arange(10.0, 12.0)[:, None]]
    draws = [draw(0, 1), draw(2, 3), draw(1, which=1), draw(3, 0), draw(1, which=1)]
    teacher = Teacher(dense, calibration, draws, TASK)
    for each in draws:
        batch, outputs = teacher.lesson(each)
        assert torch.equal(batch, calibration[each.which][list(each.samples)])
        assert torch.equal(outputs.float(), torch.stack([batch[:, 0], -batch[:, 0]], 1))
    assert dense.asked == [0, 1, 2, 3, 11]
    assert teacher._kept == {}


def test_what_finds_no_room_is_answered_anew(monkeypatch):
    output_bytes = 2 * (2 if teaching.is_quick(torch.device("cpu")) else 4)
    monkeypatch.setattr(teaching, "_KEPT_BYTES", output_bytes)  # one output
    dense, draws = Counted(), [draw(0), draw(1), draw(0), draw(1)]
    teacher = Teacher(dense, [torch.arange(2.0)[:, None]], draws, TASK)
    for each in draws:
        _, outputs = teacher.lesson(each)
        assert float(outputs[0, 0]) == each.samples[0]
    assert dense.asked == [0, 1, 1]
