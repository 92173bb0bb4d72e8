import pytest
import torch

from overwinter import quantization
from overwinter.progress import part
from overwinter.quantization.settings import MixedConfig, ScaleDistillationConfig
from overwinter.tasks import Classification
from tests.support.settings import quantize_settings

CHANGES = {
    "int4_gptq": {
        "scale_distillation": ScaleDistillationConfig(steps=3, learning_rate=0.001, batch_size=4, zeros=False),
        "sensitivity_samples": 4,
    },
    "int8_weight_only": {},
    "mixed": {"mixed": MixedConfig(max_size_ratio=0.6, max_divergence=None), "sensitivity_samples": 4},
}


class Stopped(Exception):  # noqa: N818 -- no error: a budget, or the user
    """The work was interrupted."""


@pytest.fixture
def work(convnet, save, tmp_path, calibration):
    folder = save(convnet)

    def work(method, progress):
        return quantization.quantize(
            method,
            folder,
            tmp_path / method,
            calibration=calibration[:16],
            held_out=calibration[16:32],
            task=Classification(("a", "b", "c")),
            settings=quantize_settings(method, **CHANGES[method]),
            lineage={},
            trusted=[],
            progress=progress,
        )

    return work


@pytest.mark.parametrize("method", CHANGES)
def test_a_method_tells_how_far_it_has_come(work, method):
    shares = []
    work(method, lambda done, total: shares.append(done / total))
    assert shares == sorted(shares)
    assert shares[0] < 0.6
    assert len(shares) >= 3
    assert shares[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("at", [1, 4, 6])
def test_what_stops_a_method_leaves_nothing_behind(work, tmp_path, at):
    messages = []

    def stopping(_done, _total):
        messages.append(_done)
        if len(messages) == at:
            raise Stopped

    with pytest.raises(Stopped):
        work("int4_gptq", stopping)
    assert list((tmp_path / "int4_gptq").iterdir()) == []
    assert torch.is_grad_enabled()


def test_a_part_of_the_work_goes_from_one_share_to_the_other():
    messages = []
    progress = part(lambda done, total: messages.append(done / total), 0.2, 0.6)
    progress(0, 4)
    progress(4, 4)
    assert messages == pytest.approx([0.2, 0.6])
