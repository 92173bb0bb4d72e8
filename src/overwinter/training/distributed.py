"""Groups of ranks that torchrun started: a copy of the model in each (DDP), or a share of it (FSDP2).

A batch is divided among the ranks in order, and gradients are averaged with the number of targets as weights, so that a
step is that of one process with the whole batch, but for the order of floating-point sums and for what a model draws at
random, of which each rank draws its own.

DDP: Li et al., "PyTorch Distributed", 2020 (https://arxiv.org/abs/2006.15704); FSDP: Zhao et al., 2023
(https://arxiv.org/abs/2304.11277), in the form of `torch.distributed.fsdp.fully_shard`.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, cast

import torch
from torch import distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm

from overwinter.errors import ConfigError, OverwinterError
from overwinter.models.state import copy_module, unique_state
from overwinter.training.device import pick_device
from overwinter.training.rank_group import RankGroup
from overwinter.training.rank_messages import broadcast_json, gather_bytes

_Checkpoint = tuple[dict[str, torch.Tensor], dict[str, Any]]


@contextlib.contextmanager
def joined(
    kind: str, *, device: str, configuration_key: str, may_be_main: bool, timeout_s: float
) -> Iterator[RankGroup]:
    """Join the ranks that torchrun started, and leave them at the end.

    Args:
        kind: `ddp` or `fsdp`.
        device: as the setting ``device``; each rank gets a GPU of its own.
        configuration_key: digest of what decides the result, which has to be every rank's.
        may_be_main: whether this rank may report and write; of those that may, the first does.
        timeout_s: how long to wait for the others.

    Raises:
        ConfigError: there are more ranks than devices, or ranks with another configuration.
        OverwinterError: the others did not come in time.
    """
    _take_device(device)
    try:
        distributed.init_process_group(_backend(device), timeout=timedelta(seconds=timeout_s))
    except distributed.DistError as error:
        raise OverwinterError(
            f"Rank {os.environ['RANK']} of {os.environ['WORLD_SIZE']} did not meet the others in {timeout_s:g} s: "
            f"{str(error).splitlines()[0]}\nCheck torchrun.rendezvous and the machines' network; a run resumes."
        ) from error
    try:
        yield {"ddp": ReplicatedRanks, "fsdp": ShardedRanks}[kind](_agreed(configuration_key, may_be_main))
    finally:
        distributed.destroy_process_group()


class ReplicatedRanks(RankGroup):
    """A copy of the model in each rank.

    Args:
        main: the rank that reports and writes.
    """

    def __init__(self, main: int) -> None:
        self._main = main
        self.rank, self.size = distributed.get_rank(), distributed.get_world_size()
        self.is_main = self.rank == main

    def check(self, model: nn.Module) -> None:
        """Refuse batch normalisation on a CPU, whose statistics would be of a part of the batch.

        Raises:
            ConfigError: with the name of the layer.
        """
        found = [name for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
        if found and self.size > 1 and not _has_gpus():
            kind = type(model.get_submodule(found[0])).__name__
            raise ConfigError(
                f"The layer {found[0]} ({kind}) normalises over the batch, which {self.size} processes divide; torch's "
                "SyncBatchNorm is for GPUs only.\nUse GroupNorm or LayerNorm in the model, GPUs, or "
                "train.distributed=none."
            )

    def place(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model on the device; its batch normalisation takes its statistics from all ranks."""
        self.check(model)
        return _synchronised(model, self.size).to(device)

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model in torch's DistributedDataParallel."""
        return nn.parallel.DistributedDataParallel(model)

    def part(self, samples: int) -> slice:
        """Return a stretch of the batch; where it cannot be divided evenly, the first ranks have one more."""
        each, over = divmod(samples, self.size)
        begin = self.rank * each + min(self.rank, over)
        return slice(begin, begin + each + (self.rank < over))

    def mean(self, value: float, weight: int) -> tuple[float, float]:
        """Return the mean over all targets, and this rank's share in it times the number of ranks.

        torch averages gradients over ranks with equal weights, whatever their number of targets.
        """
        sums = torch.tensor([value * weight, float(weight)], dtype=torch.float64)
        distributed.all_reduce(sums)
        total = max(1.0, float(sums[1]))
        return float(sums[0]) / total, weight * self.size / total

    def from_main(self, value: Any) -> Any:
        """Return the main rank's value, as JSON holds it."""
        return broadcast_json(value, source=self._main)

    def gather(self, content: bytes) -> list[bytes]:
        """Return the contents of all ranks, in order."""
        return gather_bytes(content)

    def checkpoint_from_main(self, found: _Checkpoint | None) -> _Checkpoint | None:
        """Return the main rank's checkpoint, so that the others need not read its folder."""
        tensors, progress = ({}, None) if found is None else found
        kinds = {name: (list(each.shape), _dtype_name(each)) for name, each in tensors.items()}
        progress, kinds = self.from_main((progress, kinds))
        if progress is None:
            return None
        received = {}
        for name, (shape, dtype) in kinds.items():
            received[name] = tensors[name] if self.is_main else torch.empty(shape, dtype=getattr(torch, dtype))
            distributed.broadcast(received[name], src=self._main)
        return received, progress


class ShardedRanks(ReplicatedRanks):
    """A share of every block's parameters, gradients and optimizer state in each rank."""

    shards = True

    def __init__(self, main: int) -> None:
        super().__init__(main)
        self._whole: nn.Module | None = None

    def place(self, model: nn.Module, device: torch.device) -> nn.Module:
        """Return the model with its blocks sharded one after the other, so that it need not fit into one device."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._whole = copy_module(model) if self.is_main else None
        self.check(model)
        synchronised = _synchronised(model, self.size)
        mesh = init_device_mesh(device.type, (self.size,))
        for block in _blocks(synchronised):
            fully_shard(block, mesh=mesh)
        return cast(nn.Module, fully_shard(synchronised, mesh=mesh))

    def wrap(self, model: nn.Module) -> nn.Module:
        """Return the model, which gathers its parameters and scatters its gradients by itself."""
        return model

    def whole(self, tensor: torch.Tensor) -> torch.Tensor | None:
        """Return a tensor in full on the main rank, and None elsewhere."""
        full = gathered(tensor)
        return full if self.is_main else None

    def finished(self, model: nn.Module) -> nn.Module:
        """Return a plain model with whole weights on the main rank, and the sharded one elsewhere."""
        whole = {name: self.whole(tensor) for name, tensor in unique_state(model).items()}
        if self._whole is None:
            return model
        with torch.no_grad():
            for name, tensor in unique_state(self._whole).items():
                if (weights := whole[name]) is not None:
                    tensor.copy_(weights)
        return self._whole


def _dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _synchronised(model: nn.Module, ranks: int) -> nn.Module:
    """Return the model with batch normalisation that takes its statistics from all ranks."""
    if ranks == 1:
        return model
    convert: Callable[[nn.Module], nn.Module] = nn.SyncBatchNorm.convert_sync_batchnorm
    return convert(model)


def gathered(tensor: torch.Tensor) -> torch.Tensor:
    """Return a sharded tensor in full, and any other as it is; all ranks call it together."""
    from torch.distributed.tensor import DTensor

    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _blocks(model: nn.Module) -> list[nn.Module]:
    """Return the members of the model's lists of layers, such as a transformer's blocks, the inner ones first."""
    modules = list(model.modules())
    lists: list[nn.Module] = [each for each in modules if isinstance(each, nn.ModuleList)]
    lists = lists or [each for each in modules if isinstance(each, nn.Sequential)]
    members = [member for each in reversed(lists) for member in each.children()]
    kinds = (nn.ModuleList, nn.ModuleDict)  # which have no forward()
    return [each for each in members if not isinstance(each, kinds) and any(True for _ in each.parameters())]


def _take_device(device: str) -> None:
    """Make this rank's GPU the one that `cuda` means."""
    if pick_device(device).type != "cuda":
        return
    wanted, number = int(os.environ["LOCAL_WORLD_SIZE"]), torch.cuda.device_count()
    if wanted > number:
        raise ConfigError(
            f"train.processes={wanted}: torch can use {number} GPUs of this machine, and each process needs its own. "
            f"Set train.processes={number}, or device=cpu."
        )
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))


def _backend(device: str) -> str:
    """Return the backends: what the ranks tell each other is on the CPU, also where they compute on GPUs."""
    return "cpu:gloo,cuda:nccl" if pick_device(device).type == "cuda" else "gloo"


def _has_gpus() -> bool:
    return "nccl" in str(distributed.get_backend_config())


def _agreed(configuration_key: str, may_be_main: bool) -> int:
    """Return the main rank, once all ranks are known to have one configuration."""
    own = json.dumps((configuration_key, may_be_main, socket.gethostname()))
    ranks = [json.loads(each) for each in gather_bytes(own.encode())]
    for rank, (key, _, host) in enumerate(ranks):
        if key != ranks[0][0]:
            raise ConfigError(
                f"Rank {rank} on {host} has another configuration, input or code ({key[:12]}) than rank 0 on "
                f"{ranks[0][2]} ({ranks[0][0][:12]}).\nGive all machines the same params.yaml, inputs and version."
            )
    return next((rank for rank, (_, may, _) in enumerate(ranks) if may), 0)
