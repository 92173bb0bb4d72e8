"""Two real ranks on the CPU: what they fit together is what one process fits with the whole batch."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.distributed import TCPStore

from overwinter import data, training
from overwinter.tasks import LanguageModeling
from tests.support.settings import fit_settings

ROOT = Path(__file__).parents[2]
STEPS = 100
PROGRAM = """
import json, os, sys
from pathlib import Path
import torch
from torch import nn
from overwinter import training
from overwinter.errors import ConfigError, OverwinterError
from overwinter.training.distributed import joined
from tests.training.test_distributed import SETTINGS, losses_of, new_model, splits

ports, folder = json.loads(sys.argv[1]), Path(sys.argv[2])
rank = int(os.environ["RANK"])
torch.set_num_threads(1)

def join(kind, key="same"):
    os.environ["MASTER_PORT"] = str(ports.pop(0))
    return joined(kind, device="cpu", configuration_key=key, may_be_main=rank == 1, timeout_s=60)

class Stop(Exception):
    pass

def stop(done, total, **figures):
    if done == 37:
        raise Stop

found = {"is_main": {}}
for kind in ("ddp", "fsdp"):
    with join(kind) as ranks:
        found["is_main"][kind] = ranks.is_main
        found["parts"] = [[ranks.part(number).start, ranks.part(number).stop] for number in (13, 1)]
        try:
            losses_of(new_model(), ranks, checkpoints=folder / kind, progress=stop)
        except (Stop, training.result.StoppedRankError) as error:
            found["stopped"] = type(error).__name__
        losses, result = losses_of(new_model(), ranks, checkpoints=folder / kind)
        if ranks.is_main:
            found[kind] = losses
            torch.save(result.model.state_dict(), folder / f"{kind}.pt")
            found[kind + "_resumed"], found[kind + "_perplexity"] = result.resumed, result.measures["perplexity"]
        if kind == "ddp":
            try:
                ranks.check(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))
            except ConfigError as error:
                found["refused"] = str(error)
try:
    with join("ddp", key=f"key of {rank}"):
        pass
except ConfigError as error:
    found["disagreed"] = str(error)
(folder / f"{rank}.json").write_text(json.dumps(found))
"""


class Tokens(torch.nn.Module):
    """Reads tokens (batch, length) and gives logits (batch, length, tokens)."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(17, 12)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(12, 12) for _ in range(2))
        self.norm = torch.nn.LayerNorm(12)
        self.head = torch.nn.Linear(12, 17)

    def forward(self, tokens):
        values = self.embedding(tokens)
        for block in self.blocks:
            values = values + torch.relu(block(values))
        return self.head(self.norm(values))


def new_model():
    torch.manual_seed(3)
    return Tokens()


def splits():
    """Texts of which some positions do not count, more of them in some samples: ranks have unequal shares in a loss."""
    chance = torch.Generator().manual_seed(1)
    tokens = torch.randint(17, (70, 6), generator=chance)
    targets = (3 * tokens + 1) % 17
    targets[::3, 1:] = -100
    split = data.Split(data.InMemory(tokens, targets))
    return split, data.Split(data.InMemory(tokens[:9], targets[:9]))


SETTINGS = fit_settings(epochs=STEPS // 5, batch_size=13, checkpoint_interval_s=1000.0)


def losses_of(model, ranks, *, checkpoints=None, progress=None):
    """Return the loss of each step, and the result."""
    losses = []

    def note(done, total, **figures):
        if progress is not None:
            progress(done, total)
        losses.append(figures["loss"])

    train, validation = splits()
    result = training.fit(
        model,
        train,
        validation,
        SETTINGS,
        task=LanguageModeling(),
        seed=5,
        device=torch.device("cpu"),
        threads=1,
        checkpoints=checkpoints,
        progress=note,
        ranks=ranks,
    )
    return losses, result


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two ranks found, and the folder with the weights."""
    folder = tmp_path_factory.mktemp("ranks")
    # As torchrun's agent does, this process holds the stores at which the ranks meet, one for each group.
    stores = [TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False) for _ in range(3)]
    command = [sys.executable, "-c", PROGRAM, json.dumps([store.port for store in stores]), str(folder)]
    shared = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "TORCHELASTIC_USE_AGENT_STORE": "True"}
    with contextlib.ExitStack() as opened:
        ranks = []
        for rank in range(2):
            own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
            environment = os.environ | shared | own
            started = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True)
            ranks.append(opened.enter_context(started))
            opened.callback(started.kill)
        for each in ranks:
            _, errors = each.communicate(timeout=200)
            assert each.returncode == 0, errors
    return [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)], folder


@pytest.fixture(scope="module")
def one():
    """The losses, the weights and the result of one process."""
    threads = torch.get_num_threads()
    losses, result = losses_of(new_model(), training.ALONE)
    torch.set_num_threads(threads)
    return losses, result


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_losses_over_100_steps_are_those_of_one_process_also_after_a_stop(two, one, kind):
    (_, main), _ = two
    losses, _ = one
    assert len(losses) == STEPS
    # The fit was stopped after step 37, and went on from its checkpoint.
    assert main[f"{kind}_resumed"]
    assert main[kind] == pytest.approx(losses[37:], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_the_main_rank_has_the_whole_model_with_the_weights_of_one_process(two, one, kind):
    (_, main), folder = two
    _, result = one
    weights = torch.load(folder / f"{kind}.pt")
    assert set(weights) == set(result.model.state_dict())
    for name, tensor in result.model.state_dict().items():
        assert torch.allclose(weights[name], tensor, atol=1e-5), name
    assert main[f"{kind}_perplexity"] == pytest.approx(result.measures["perplexity"], rel=1e-5)


@pytest.mark.slow
def test_the_first_rank_with_a_stage_is_main_and_the_others_are_stopped_with_it(two):
    (other, main), _ = two
    assert main["is_main"] == {"ddp": True, "fsdp": True}
    assert other["is_main"] == {"ddp": False, "fsdp": False}
    assert (main["stopped"], other["stopped"]) == ("Stop", "StoppedRankError")


@pytest.mark.slow
def test_ranks_divide_a_batch_in_order(two):
    (first, second), _ = two
    assert first["parts"] == [[0, 7], [0, 1]]
    assert second["parts"] == [[7, 13], [1, 1]]


@pytest.mark.slow
def test_batch_normalisation_on_a_cpu_is_refused_by_name(two):
    (first, second), _ = two
    assert "The layer 1 (BatchNorm1d) normalises over the batch, which 2 processes divide" in first["refused"]
    assert second["refused"] == first["refused"]


@pytest.mark.slow
def test_ranks_with_other_configurations_are_refused_with_both_digests(two):
    for found in two[0]:
        assert "Rank 1 on" in found["disagreed"]
        assert "another configuration, input or code (key of 1) than rank 0" in found["disagreed"]
