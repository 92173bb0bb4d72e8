"""What a GGUF file holds, looked at before anything is computed from it.

https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from overwinter.errors import ConfigError, IntegrityError

FLOATS = ("F64", "F32", "F16", "BF16")
_AROUND = ("token_embd.", "output.")  # the embedding and the head, which have formats of their own
_parsed: ContextVar[tuple[Path, Any] | None] = ContextVar("parsed", default=None)  # see `parsed_once`
_RARE = 0.02  # of the weights of the blocks: a format below it is not named


def gguf_origin(path: Path) -> str | None:
    """Return the formats that a file's weights are in, or None where all are floating point.

    Such as ``dequantized Q4_1 (embedding Q8_0)``: the blocks' first, from the most frequent, then the embedding's and
    the head's where it is another.

    Raises:
        ConfigError: it is no GGUF file, or a tensor has a type that the package gguf does not know or cannot read.
        IntegrityError: it is cut short.
    """
    blocks: collections.Counter[str] = collections.Counter()
    around: dict[str, str] = {}
    for tensor in gguf_tensors(path):
        kind, name = tensor.tensor_type.name, str(tensor.name)
        if name.startswith(_AROUND):
            around["embedding" if name.startswith("token_embd.") else "head"] = kind
        else:
            blocks[kind] += int(tensor.n_elements)
    most = sum(blocks.values())
    named = [kind for kind, count in blocks.most_common() if count > _RARE * most and kind not in FLOATS]
    others = [f"{part} {kind}" for part, kind in around.items() if [kind] != named and kind not in FLOATS]
    if not named:
        return f"dequantized {', '.join(others)}" if others else None
    return f"dequantized {' and '.join(named)}" + (f" ({', '.join(others)})" if others else "")


def stated_sizes(path: Path, config: object) -> dict[str, int]:
    """Return what transformers' configuration has otherwise than the file: the width of a head (Qwen 3).

    Where the matrix of the keys has as many rows; in latent attention the file means another width.

    Raises:
        ConfigError, IntegrityError: as `gguf_reader`.
    """
    reader = gguf_reader(path)
    rows = {str(tensor.name): int(tensor.shape[-1]) for tensor in reader.tensors}.get("blk.0.attn_k.weight")
    stated = {name.partition(".attention.")[2]: field for name, field in reader.fields.items()}.get("key_length")
    known, heads = getattr(config, "head_dim", None), getattr(config, "num_key_value_heads", None)
    if stated is None or known is None or heads is None or rows != heads * stated.contents():
        return {}
    return {} if known == stated.contents() else {"head_dim": int(stated.contents())}


def gguf_tensors(path: Path) -> Sequence[Any]:
    """Return the tensors of a file that is whole and whose types can all be read; see `gguf_reader`."""
    return list(gguf_reader(path).tensors)


def gguf_reader(path: Path) -> Any:
    """Return gguf's reader of a file that is whole and whose tensors' types can all be read.

    Raises:
        ConfigError: it is no GGUF file, or a tensor has a type that the package gguf does not know or cannot read.
        IntegrityError: it is cut short.
    """
    known = _parsed.get()
    return known[1] if known is not None and known[0] == path else _parse(path)


@contextlib.contextmanager
def parsed_once(path: Path) -> Iterator[None]:
    """Parse a file's header once for all that reads it within the block.

    transformers parses it again for the configuration, the tokenizer and the weights: a second or more of CPU time
    each for the names of 50,000 tokens; and it asks gguf for the names of a family's tensors once for every module.

    Raises:
        ConfigError, IntegrityError: as `gguf_reader`.
    """
    reader = gguf_reader(path)
    import gguf

    own = {name: getattr(gguf, name) for name in ("GGUFReader", "get_tensor_name_map")}

    def parsed(asked: Any, *mode: Any) -> Any:
        return own["GGUFReader"](asked, *mode) if mode or Path(asked) != path else reader

    token = _parsed.set((path, reader))
    vars(gguf).update(GGUFReader=parsed, get_tensor_name_map=functools.cache(gguf.get_tensor_name_map))
    try:
        yield
    finally:
        vars(gguf).update(own)
        _parsed.reset(token)


def _parse(path: Path) -> Any:
    try:
        from gguf.gguf_reader import GGUFReader
    except ImportError as error:
        raise ConfigError(f"GGUF files need the package gguf: {error}.\n`pip install 'overwinter[llm]'`") from None

    class Checked(GGUFReader):
        """Looks at all tensors before it takes their data."""

        @property
        def data(self) -> Any:
            return self._data

        @data.setter
        def data(self, mapped: Any) -> None:
            self._data = mapped.view(np.ndarray)  # a slice of a memmap takes three times as long

        def _get(self, offset: int, dtype: Any, count: int = 1, override_order: Any = None) -> Any:
            if int(offset) + np.dtype(dtype).itemsize * int(count) > self._data.size:
                raise IndexError
            return super()._get(offset, dtype, count, override_order)

        def _build_tensors(self, start_offs: int, fields: list[Any]) -> None:
            for field in fields:
                _check_tensor(path, self.data.size, start_offs, field)
            super()._build_tensors(start_offs, fields)

    try:
        return Checked(path)
    except IndexError:  # a length was read beyond the end
        raise _cut_short(path, "its header does not end") from None
    except (OSError, ValueError, KeyError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no GGUF file that can be read: {str(error).rstrip('.')}. Get it again.") from None


def _check_tensor(path: Path, size: int, start: int, field: Any) -> None:
    import gguf

    _, name, _, dimensions, raw_type, offset = field.parts
    tensor, number = bytes(name).decode(errors="replace"), int(raw_type[0])
    known: Mapping[int, Any] = {int(each): each for each in gguf.GGMLQuantizationType}
    if number not in known or not _is_readable(known[number]):
        kind = known[number].name if number in known else f"number {number}"
        raise ConfigError(
            f"{path}: the tensor {tensor} has the type {kind}, which the installed package gguf cannot read. "
            "Name a file in another format, such as Q4_1, Q4_K_M or Q8_0, or install a later gguf."
        )
    block_size, type_size = gguf.GGML_QUANT_SIZES[known[number]]
    end = start + int(offset[0]) + int(np.prod(dimensions)) * type_size // block_size
    if end > size:
        raise _cut_short(path, f"the tensor {tensor} ends at byte {end}, the file at byte {size}")


def _is_readable(kind: Any) -> bool:
    """Whether the package gguf has arithmetic for a type: of one block, whose values do not matter."""
    import gguf

    if kind.name in FLOATS:
        return True
    _, type_size = gguf.GGML_QUANT_SIZES[kind]
    try:
        with np.errstate(all="ignore"):
            gguf.dequantize(np.zeros((1, type_size), dtype=np.uint8), kind)
    except NotImplementedError:
        return False
    return True


def _cut_short(path: Path, why: str) -> IntegrityError:
    return IntegrityError(f"{path} is cut short: {why}. Get it again.")
