import copy
from dataclasses import asdict, replace

import pytest
import torch

from overwinter import training
from overwinter.data import InMemory, Split
from overwinter.models import prunable_weights
from overwinter.sparsity.magnitude import MaskHook
from overwinter.tasks import Classification
from overwinter.training.qat.settings import QatConfig, QatTrainConfig, RelaxedQatConfig, RelaxedQatTrainConfig
from tests.support.settings import FIT as SMALL

STRAIGHT = QatConfig(
    rounding="straight_through",
    scale="learned",
    weight_bits=4,
    group_size=None,
    symmetric=True,
    activation_bits=8,
    start_fraction=0.25,
    freeze_fraction=0.75,
    skip=[],
)
RELAXED = RelaxedQatConfig(
    **asdict(STRAIGHT) | {"rounding": "relaxed"},
    temperature=1.0,
    noise=0.3,
    final_noise_share=0.1,
    neighbours=1,
    relax_activations=True,
)
FIT = SMALL | {"version": 1, "epochs": 2, "batch_size": 32, "precision": "auto"}


class Stopped(Exception):  # noqa: N818 -- no error: a budget, or the user
    """The fit was interrupted."""


def images(samples, seed):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(3, (samples,), generator=generator)
    pixels = torch.randn(samples, 1, 8, 8, generator=generator) + labels[:, None, None, None]
    return Split(InMemory(pixels, labels))


def fitted(model, config, checkpoints, stop_at=None):
    def progress(done, _total, **_figures):
        if done == stop_at:
            raise Stopped

    awareness = training.make_aware(model, config)
    pruning = MaskHook(prunable_weights(model), amount=0.5, scope="global", ramp_fraction=0.5, update_interval_steps=1)
    result = training.fit(
        model,
        images(64, 1),
        images(16, 2),
        config,
        task=Classification(["a", "b", "c"], label_smoothing=0.1),
        seed=7,
        device=torch.device("cuda"),
        threads=1,
        hooks=[pruning, *awareness.hooks],
        checkpoints=checkpoints,
        progress=progress,
    )
    return result, awareness.finish()


@pytest.mark.parametrize("settings", [STRAIGHT, RELAXED], ids=["straight", "relaxed"])
def test_a_fit_on_a_gpu_is_taken_up_again_with_its_masks_and_grids(convnet, tmp_path, settings):
    made = RelaxedQatTrainConfig if isinstance(settings, RelaxedQatConfig) else QatTrainConfig
    config = made(**FIT, qat=replace(settings))
    with pytest.raises(Stopped):
        fitted(copy.deepcopy(convnet), config, tmp_path, stop_at=3)
    result, grids = fitted(convnet, config, tmp_path)
    assert result.resumed
    assert {tensor.device.type for tensor in result.model.state_dict().values()} == {"cpu"}
    assert set(grids) == set(prunable_weights(result.model))
    zeros = torch.cat([(weight == 0).flatten() for weight in prunable_weights(result.model).values()])
    assert float(zeros.float().mean()) >= 0.5
