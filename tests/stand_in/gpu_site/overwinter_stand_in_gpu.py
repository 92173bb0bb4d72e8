"""A GPU that is not there: torch's device ``cuda`` on a machine without one, with real values, and as strict.

Its tensors are torch's own, with ``cuda`` as their device, autograd's and autocast's ways of a CUDA tensor, and memory
that lies in the host's: DLPack lets one say whose memory it is. A fallback for the dispatch key CUDA computes each
operator by its CPU kernel on that memory. What a GPU refuses is refused: operands on two devices (but scalars, and
indices on the CPU), and numpy of what is not on the CPU. It is no quicker, has one stream, and none of the kernels that
are the GPU's alone.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import weakref
from types import SimpleNamespace
from typing import Any

import torch

_HOST, _DEVICE = 1, 2  # DLPack's numbers of the CPU and of CUDA
_MEMORY_BYTES = 8 << 30
# How many arguments must be on the device, of operators that take others from anywhere.
_MIXING = {
    "aten::copy_": 0,
    "aten::fill_.Tensor": 1,
    "aten::index.Tensor": 1,
    "aten::index.Tensor_out": 1,
    "aten::index_put": 1,
    "aten::index_put_": 1,
    "aten::_index_put_impl_": 1,
}
_DIRECT = ("convolution", "convolution_backward", "copy_")  # else torch looks for kernels that are CUDA's alone


_address = ctypes.pythonapi.PyCapsule_GetPointer
_address.restype, _address.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]


class _DLTensor(ctypes.Structure):
    """The beginning of DLPack's tensor; https://dmlc.github.io/dlpack/latest/c_api.html."""

    _fields_ = [("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32)]


class Memory:
    """The device's: how many bytes its tensors take, and took at most."""

    now = 0
    peak = 0

    @classmethod
    def take(cls, storage_of: torch.Tensor) -> None:
        size = storage_of.untyped_storage().nbytes()
        cls.now += size
        cls.peak = max(cls.peak, cls.now)
        weakref.finalize(storage_of, cls._give, size)

    @classmethod
    def _give(cls, size: int) -> None:
        cls.now -= size

    @classmethod
    def reset_peak(cls, *_: object) -> None:
        cls.peak = cls.now


class Stream:
    """The one there is."""

    def wait_stream(self, _other: object) -> None:
        """Wait for what is done already."""


class Graph:
    """What it captured was done then, and is not done again."""

    def replay(self) -> None:
        """Do nothing."""


def install() -> None:
    """Let this process have a GPU."""
    torch.cuda.stand_in = [_registered(), _everywhere()]  # kept as long as the process lives
    for name, value in _replaced().items():
        setattr(torch.cuda, name, value)
    torch.Tensor.__deepcopy__ = _deepcopying(torch.Tensor.__deepcopy__)


def _everywhere() -> Any:
    library = torch.library.Library("_", "IMPL")
    library.fallback(_computed, "CUDA")
    return library


def _registered() -> Any:
    library = torch.library.Library("aten", "IMPL")
    library.impl("empty.memory_format", _empty, "CUDA")
    library.impl("empty_strided", _empty_strided, "CUDA")
    for name in _DIRECT:
        library.impl(name, _by_hand(getattr(torch.ops.aten, name).default), "CUDA")
    for key in ("CUDA", "AutogradCUDA"):
        library.impl("scaled_dot_product_attention", _attention, key)
    return library


def _replaced() -> dict[str, Any]:
    properties = SimpleNamespace(
        name="stand-in", major=8, minor=0, total_memory=_MEMORY_BYTES, uuid="0" * 32, multi_processor_count=1
    )
    idle = ("init", "_lazy_init", "manual_seed", "manual_seed_all", "synchronize", "empty_cache")
    return {
        **{name: _nothing() for name in idle},
        "Stream": Stream,
        "current_stream": lambda *_: Stream(),
        "stream": contextlib.nullcontext,
        "graph": lambda *_, **_more: contextlib.nullcontext(),
        "graph_pool_handle": lambda: None,
        "CUDAGraph": Graph,
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "is_bf16_supported": lambda **_: True,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "get_device_name": lambda *_: properties.name,
        "get_device_capability": lambda *_: (properties.major, properties.minor),
        "get_device_properties": lambda *_: properties,
        "memory_allocated": lambda *_: Memory.now,
        "max_memory_allocated": lambda *_: Memory.peak,
        "reset_peak_memory_stats": Memory.reset_peak,
        "mem_get_info": lambda *_: (_MEMORY_BYTES - Memory.now, _MEMORY_BYTES),
    }


def _nothing() -> Any:
    """A function of its own each time: torch's compiler files functions by identity."""
    return lambda *_args, **_keywords: None


def _deepcopying(others: Any) -> Any:
    """As torch's own, but without making a storage on the device from Python, which this build cannot."""

    def deepcopy(tensor: torch.Tensor, memo: dict[int, Any]) -> torch.Tensor:
        if type(tensor) is not torch.Tensor or not tensor.is_cuda:
            return others(tensor, memo)
        return memo.setdefault(id(tensor), tensor.detach().clone().requires_grad_(tensor.requires_grad))

    return deepcopy


def _called(tensor: torch.Tensor, device: int) -> torch.Tensor:
    """The same memory under another device's name."""
    capsule = torch._C._to_dlpack(tensor)
    _DLTensor.from_address(_address(capsule, b"dltensor")).device_type = device
    return torch._C._from_dlpack(capsule)


def _down(value: Any) -> Any:
    if isinstance(value, torch.device):
        return torch.device("cpu")
    if not isinstance(value, torch.Tensor) or not value.is_cuda:
        return value
    # What holds nothing yet may be resized, which memory that came by DLPack cannot be.
    return _called(value, _HOST) if value.numel() else torch.empty(value.shape, dtype=value.dtype)


def _up(value: Any) -> Any:
    if not isinstance(value, torch.Tensor) or value.is_cuda:
        return value
    Memory.take(value)
    return _called(value, _DEVICE)


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> torch.Tensor:
    format_ = torch.contiguous_format if memory_format is None else memory_format
    return _up(torch.empty(size, dtype=dtype, device="cpu", memory_format=format_))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> torch.Tensor:
    return _up(torch.empty_strided(size, stride, dtype=dtype, device="cpu"))


def _by_hand(operator: Any) -> Any:
    return lambda *args, **keywords: _computed(operator, *args, **keywords)


def _attention(query: Any, key: Any, value: Any, attn_mask: Any = None, dropout_p: float = 0.0, *rest: Any, **more: Any) -> Any:  # fmt: skip  # noqa: E501
    names = ("is_causal",)
    more = dict(zip(names, rest, strict=False)) | more
    math = torch.ops.aten._scaled_dot_product_attention_math
    return math(query, key, value, attn_mask, dropout_p, **more)[0]


def _computed(operator: Any, *args: Any, **keywords: Any) -> Any:
    """Any operator, by its CPU kernel."""
    facts = _facts(operator)
    if facts.is_view:
        return operator.redispatch(torch._C.DispatchKeySet(torch._C.DispatchKey.CPU), *args, **keywords)
    for each in args[: facts.strict] if facts.strict is not None else (*args, *keywords.values()):
        _check(each, facts)
    offloaded: list[tuple[torch.Tensor, torch.Tensor, Any]] = []
    lowered = [_lowered(each, offloaded) for each in args]
    named = {name: _lowered(each, offloaded) for name, each in keywords.items()}
    numbers = any(isinstance(args[at], int | float) for at in facts.tensors if at < len(args))
    # Python is given numbers where an operator asks for tensors: another of its overloads takes those.
    response = (operator.overloadpacket if numbers else operator)(*lowered, **named)
    for original, alias, before in offloaded:
        if facts.writes and original is not alias and _layout(alias) != before:
            original.data = _up(alias)  # what an operator resized
    return _raised(response, {id(alias): original for original, alias, _ in offloaded})


@functools.cache
def _facts(operator: Any) -> SimpleNamespace:
    """What its schema says of an operator."""
    schema = operator._schema
    aliases = [each.alias_info for each in schema.returns]
    name = schema.name + (f".{schema.overload_name}" if schema.overload_name else "")
    return SimpleNamespace(
        name=name,
        is_view=any(each is not None and not each.is_write for each in aliases),
        writes=schema.is_mutable,
        strict=_MIXING.get(name, _MIXING.get(schema.name)),
        scalars=torch.Tag.pointwise in operator.tags,
        tensors=[at for at, each in enumerate(schema.arguments) if str(each.type) == "Tensor"],
    )


def _check(value: Any, facts: SimpleNamespace) -> None:
    """Refuse what CUDA's own kernels do."""
    if isinstance(value, list | tuple):
        for each in value:
            _check(each, facts)
    elif isinstance(value, torch.Tensor) and not value.is_cuda and not (facts.scalars and value.dim() == 0):
        found = "found at least two devices, cuda:0 and cpu!"
        raise RuntimeError(f"Expected all tensors to be on the same device, but {found} ({facts.name})")


def _lowered(value: Any, offloaded: list[tuple[torch.Tensor, torch.Tensor, Any]]) -> Any:
    if isinstance(value, list | tuple):
        return [_lowered(each, offloaded) for each in value]
    lowered = _down(value)
    if isinstance(value, torch.Tensor):
        offloaded.append((value, lowered, _layout(lowered)))
    return lowered


def _raised(response: Any, originals: dict[int, torch.Tensor]) -> Any:
    if isinstance(response, list | tuple):
        return type(response)(_raised(each, originals) for each in response)
    return originals[id(response)] if id(response) in originals else _up(response)


def _layout(value: torch.Tensor) -> Any:
    return value.data_ptr(), value.shape, value.stride()
