"""A pretrained language model from a local folder or GGUF file, through the transformers library (extra `llm`).

- `pretrained` is the target of ``model=huggingface``: it reads the weights and returns a `CausalLanguageModel`.
- `pretrained_tokenizer` returns the model's tokenizer, `save_tokenizer` writes it for later stages.

Nothing is downloaded, no code of the model's authors is run, and weights in pickle are refused. A GGUF file's
weights are dequantized to float32, so "dense" then has the quality of the quantized file. A folder's weights are
memory-mapped from its files (`overwinter.models.pages`), a GGUF file's are in memory as a whole.
"""

from __future__ import annotations

import collections
import contextlib
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from overwinter import files
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models.causal import CausalLanguageModel, import_transformers, quiet
from overwinter.models.local_files import GGUF, model_path
from overwinter.models.pages import mapped_weights
from overwinter.paths import local_path

_KEY = "model.root"
_FLOATS = ("F64", "F32", "F16", "BF16")
# Keys of a configuration on its place and authors, not on the model.
_UNSTABLE = ("_name_or_path", "_model_name_or_path", "_from_model_config", "transformers_version", "auto_map", "dtype")


def pretrained(*, root: str, sha256: str | None = None) -> CausalLanguageModel:
    """Read a pretrained causal language model.

    Args:
        root: a folder with config.json and safetensors, or a GGUF file; ``package:NAME/PATH`` names one in an
            installed package.
        sha256: SHA-256 of the GGUF file, or of the folder's single safetensors file; None: not checked.

    Raises:
        ConfigError: it is missing, its architecture is unknown to transformers, it needs its own code, or it has no
            safetensors; or the extra `llm` is missing.
        IntegrityError: the file is not the one that ``sha256`` names, is damaged, or lacks weights.
    """
    path = model_path(root)
    _check_digest(path, sha256)
    config = _read_config(path)
    model = CausalLanguageModel(config=config, random_weights=False, origin=_origin(path))
    weights = _gguf_weights(path, model) if _is_gguf(path) else _folder_weights(path, model)
    _load(model, weights, path)
    return model.eval()


def pretrained_tokenizer(root: str) -> Any:
    """Return the transformers tokenizer of a model's folder or GGUF file.

    Raises:
        ConfigError: it is missing, or has no tokenizer.
    """
    path = local_path(root, key=_KEY)
    transformers = import_transformers()
    with _reading(path, "tokenizer"):
        return transformers.AutoTokenizer.from_pretrained(**_source(path))


def save_tokenizer(root: str, folder: Path) -> None:
    """Write tokenizer.json, its settings and the generation settings of a model into ``folder``."""
    path = local_path(root, key=_KEY)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = pretrained_tokenizer(root)
    tokenizer.save_pretrained(folder)
    transformers = import_transformers()
    if (path / "generation_config.json").is_file():
        settings = transformers.GenerationConfig.from_pretrained(path, local_files_only=True)
    else:
        settings = transformers.GenerationConfig.from_model_config(
            transformers.AutoConfig.for_model(**_read_config(path))
        )
    kept = {key: value for key, value in settings.to_diff_dict().items() if key not in _UNSTABLE}
    files.write_json(folder / "generation_config.json", kept)


def _is_gguf(path: Path) -> bool:
    return path.is_file() and path.suffix == GGUF


def _source(path: Path) -> dict[str, Any]:
    """Return the arguments of every ``from_pretrained``: local files only, no third-party code."""
    common = {"local_files_only": True, "trust_remote_code": False}
    if path.is_dir():
        return {"pretrained_model_name_or_path": path, **common}
    if not _is_gguf(path):
        raise ConfigError(f"{_KEY}={str(path)!r} is neither a folder nor a {GGUF} file.")
    return {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name, **common}


def _check_digest(path: Path, sha256: str | None) -> None:
    if sha256 is None:
        return
    holders = [path] if path.is_file() else sorted(path.glob("*.safetensors"))
    if len(holders) != 1:
        raise ConfigError(f"model.sha256 is of one file, and {path} has {len(holders)} *.safetensors. Set it to null.")
    found = files.sha256(holders[0])
    if found != sha256:
        raise IntegrityError(
            f"{holders[0]} is not the model that model.sha256 names: its SHA-256 is {found}, not {sha256}.\n"
            "If you trust it, put the new digest into configs/model/."
        )


def _read_config(path: Path) -> dict[str, Any]:
    transformers = import_transformers()
    with _reading(path, "configuration"):
        config = transformers.AutoConfig.from_pretrained(**_source(path))
    if getattr(config, "is_encoder_decoder", False):
        raise ConfigError(f"{path} is an encoder-decoder model ({config.model_type}). Name a decoder-only one.")
    kept: dict[str, Any] = config.to_diff_dict()
    return {key: value for key, value in kept.items() if key not in _UNSTABLE} | {"model_type": config.model_type}


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        with quiet():
            yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        message = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"The {what} of {path} cannot be read: {message}\n"
            "It must be complete in one local folder or GGUF file, with an architecture that the installed "
            "transformers supports without code of the model's authors."
        ) from None


def _origin(path: Path) -> str | None:
    """Return the quantization of most weights in a GGUF file, or None."""
    if not _is_gguf(path):
        return None
    with _reading(path, "GGUF file"):
        import gguf

        elements: collections.Counter[str] = collections.Counter()
        for tensor in gguf.GGUFReader(path).tensors:
            elements[tensor.tensor_type.name] += int(tensor.n_elements)
    kind = elements.most_common(1)[0][0]
    return None if kind in _FLOATS else f"dequantized {kind}"


def _gguf_weights(path: Path, model: CausalLanguageModel) -> Mapping[str, torch.Tensor]:
    # Read here and not by `from_pretrained`, which also needs the package accelerate.
    with _reading(path, "GGUF file"), contextlib.redirect_stderr(io.StringIO()):  # its progress bar has no switch
        from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

        read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model.network)  # type: ignore[no-untyped-call]
    tensors: Mapping[str, torch.Tensor] = read["tensors"]
    return tensors


def _folder_weights(path: Path, model: CausalLanguageModel) -> Mapping[str, torch.Tensor]:
    """Map the files, or read them with ``from_pretrained``, which supports older names of weights."""
    mapped = mapped_weights(path, model.network.state_dict(keep_vars=True))
    if mapped is not None:
        return mapped
    transformers = import_transformers()
    with _reading(path, "weights"):
        network, info = transformers.AutoModelForCausalLM.from_pretrained(
            **_source(path), use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    lacking = sorted({*info["missing_keys"], *(str(key) for key in info["mismatched_keys"])})
    if lacking:
        raise IntegrityError(f"{path} lacks weights, or has them in other shapes: {', '.join(lacking[:5])}.")
    state: Mapping[str, torch.Tensor] = network.state_dict()
    return state


def _load(model: CausalLanguageModel, weights: Mapping[str, torch.Tensor], path: Path) -> None:
    known = model.network.state_dict(keep_vars=True)
    given = {id(known[name]) for name in weights if name in known}
    missing = sorted(name for name, tensor in known.items() if id(tensor) not in given)
    if missing:
        raise IntegrityError(f"{path} lacks the weights {', '.join(missing[:5])}. Get it again.")
    model.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False, assign=True)
    model.network.tie_weights()
