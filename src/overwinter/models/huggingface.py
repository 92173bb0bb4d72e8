"""A pretrained model from a folder, the hub or a GGUF file, through the transformers library (extra `llm`).

- `pretrained` is the target of ``model=huggingface``: it reads the weights and returns a `CausalLanguageModel`, or a
  `PretrainedModel`: a classifier of texts, tokens or images, or an encoder for embeddings.
- `pretrained_tokenizer` returns the model's tokenizer, `save_tokenizer` writes it for later stages.

No code of the model's authors is run, and weights in pickle are refused. A GGUF file's weights are dequantized to
float32, so "dense" then has the quality of the quantized file. A language model's folder is memory-mapped
(`overwinter.models.pages`), a GGUF file's weights are in memory as a whole.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch

from overwinter import files
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models.causal import CausalLanguageModel, check_step_by_step
from overwinter.models.gguf_file import gguf_origin, parsed_once, stated_sizes
from overwinter.models.gguf_splitting import split_as_named
from overwinter.models.local_files import GGUF, model_folder, model_path
from overwinter.models.pages import mapped_weights
from overwinter.models.pretrained_model import EMBEDDING, HEADS, POOLED, POOLED_CLASSIFICATION, PretrainedModel
from overwinter.models.sentence_folder import read_pooling
from overwinter.models.transformers_library import import_transformers, quiet, without_progress_bars

_KEY = "model.root"
_CAUSAL = "causal_lm"
_FRESH: Mapping[str, tuple[str, ...]] = {
    EMBEDDING: (),
    POOLED_CLASSIFICATION: ("classifier.bias", "classifier.weight"),
}
# Keys of a configuration on its place and authors, not on the model.
_UNSTABLE = ("_name_or_path", "_model_name_or_path", "_from_model_config", "transformers_version", "auto_map", "dtype")
# How the class names in a configuration's `architectures` end -> head. A masked language model is an encoder.
_ENDINGS = {
    "ForCausalLM": _CAUSAL,
    "LMHeadModel": _CAUSAL,
    "ForSequenceClassification": "sequence_classification",
    "ForTokenClassification": "token_classification",
    "ForImageClassification": "image_classification",
    "ForMaskedLM": EMBEDDING,
    "ForPreTraining": EMBEDDING,
    "Model": EMBEDDING,
}


def pretrained(
    *, root: str, sha256: str | None = None, head: str | None = None, classes: int | None = None
) -> CausalLanguageModel | PretrainedModel:
    """Read a pretrained model.

    Args:
        root: a folder with config.json and safetensors, or a GGUF file; ``package:NAME/PATH`` names one in an
            installed package, ``hf:OWNER/NAME@COMMIT`` one on the Hugging Face Hub, and ``s3://bucket/folder`` one at
            an fsspec address.
        sha256: SHA-256 of the GGUF file, or of the folder's single safetensors file; None: not checked.
        head: ``causal_lm`` or one of `HEADS`; None: what ``architectures`` in config.json names.
        classes: how many outputs the head has, which is drawn anew unless the folder has such a one; None: the
            folder's own head. ``pooled_classification`` is a linear layer on what the folder pools, always drawn anew:
            sentence encoders learn faster so than by their first state, which was never trained to stand for a text.

    Raises:
        ConfigError: it is missing, its architecture is unknown to transformers, it needs its own code, it has no
            safetensors or no head, a GGUF file's tensor is of an unknown type, or a language model cannot write a
            text token by token; or the extra `llm` is missing.
        IntegrityError: the file is not the one that ``sha256`` names, is damaged, cut short, or lacks weights.
    """
    path = model_path(root)
    _check_digest(path, sha256)
    with _parsed(path):
        return _pretrained(path, head, classes)


def _pretrained(path: Path, head: str | None, classes: int | None) -> CausalLanguageModel | PretrainedModel:
    origin = gguf_origin(path) if _is_gguf(path) else None
    config = _read_config(path)
    wanted = head or _found_head(path)
    if wanted == _CAUSAL:
        return _causal(path, config, classes, origin)
    if wanted not in HEADS or _is_gguf(path):
        heads = ", ".join([_CAUSAL] if _is_gguf(path) else [_CAUSAL, *HEADS])
        raise ConfigError(f"model.head={wanted!r} is none that {path} can have: {heads}.")
    return _with_head(path, config, wanted, classes)


def pretrained_tokenizer(root: str) -> Any:
    """Return the transformers tokenizer of a model's folder, of a model on the hub, or of a GGUF file.

    Raises:
        ConfigError: it is missing, has no tokenizer, or is a GGUF file that splits texts in an unknown way.
    """
    path = model_folder(root, key=_KEY)
    transformers = import_transformers()
    with _parsed(path), _reading(path, "tokenizer"):
        tokenizer = transformers.AutoTokenizer.from_pretrained(**_source(path))
    if _is_gguf(path):
        from transformers.integrations.gguf.reader import read_gguf_metadata

        metadata, _ = read_gguf_metadata(str(path))
        split_as_named(tokenizer, metadata, path)
    return tokenizer


def leading_tokens(tokenizer: Any) -> tuple[int, ...]:
    """Return the tokens that a transformers tokenizer puts before every text: none, or such as Gemma's ``<bos>``."""
    encoded = tokenizer.backend_tokenizer.encode("a", add_special_tokens=True)
    kept = itertools.takewhile(lambda pair: pair[1], zip(encoded.ids, encoded.special_tokens_mask, strict=True))
    return tuple(int(token) for token, _ in kept)


def save_tokenizer(root: str, folder: Path) -> None:
    """Write tokenizer.json, its settings and the generation settings of a model into ``folder``."""
    path = model_folder(root, key=_KEY)
    folder.mkdir(parents=True, exist_ok=True)
    with _parsed(path):
        pretrained_tokenizer(root).save_pretrained(folder)
        settings = _generation_settings(path)
    kept = {key: value for key, value in settings.to_diff_dict().items() if key not in _UNSTABLE}
    files.write_json(folder / "generation_config.json", kept)


def _generation_settings(path: Path) -> Any:
    transformers = import_transformers()
    if (path / "generation_config.json").is_file():
        return transformers.GenerationConfig.from_pretrained(path, local_files_only=True)
    return transformers.GenerationConfig.from_model_config(transformers.AutoConfig.for_model(**_read_config(path)))


def _parsed(path: Path) -> AbstractContextManager[None]:
    return parsed_once(path) if _is_gguf(path) else contextlib.nullcontext()


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
        raise ConfigError(
            f"{path} is an encoder-decoder model ({config.model_type}). Name a decoder-only one, or an encoder."
        )
    kept: dict[str, Any] = config.to_diff_dict()
    stated = stated_sizes(path, config) if _is_gguf(path) else {}
    return {key: value for key, value in kept.items() if key not in _UNSTABLE} | {
        "model_type": config.model_type,
        **stated,
    }


@contextlib.contextmanager
def _reading(path: Path, what: str) -> Iterator[None]:
    try:
        with quiet(), without_progress_bars():
            yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        message = " ".join(str(error).split())[:300]
        raise ConfigError(
            f"The {what} of {path} cannot be read: {message}\n"
            "It must be complete in one local folder or GGUF file, with an architecture that the installed "
            "transformers supports without code of the model's authors."
        ) from None


def _found_head(path: Path) -> str:
    if _is_gguf(path):
        return _CAUSAL
    with _reading(path, "configuration"):
        names = json.loads((path / "config.json").read_text(encoding="utf-8")).get("architectures") or [""]
    for ending, head in _ENDINGS.items():
        if str(names[0]).endswith(ending):
            return head
    raise ConfigError(
        f"{path}/config.json names the architecture {names[0]!r}, whose head is not known. "
        f"Set model.head to one of {', '.join([_CAUSAL, *HEADS])}."
    )


def _with_head(path: Path, config: Mapping[str, Any], head: str, classes: int | None) -> PretrainedModel:
    """Read a classifier or an encoder; a head that the folder lacks is drawn by the global generator."""
    if head == POOLED_CLASSIFICATION and classes is None:
        raise ConfigError(f"model.head={head} is always a new one. Set model.classes to the number of classes.")
    sized = {} if classes is None or head in POOLED else {"num_labels": classes}
    transformers = import_transformers()
    with _reading(path, "weights"):
        network, info = getattr(transformers, HEADS[head]).from_pretrained(
            **_source(path),
            **sized,
            use_safetensors=True,
            dtype=torch.float32,
            output_loading_info=True,
            ignore_mismatched_sizes=bool(sized),
        )
    fresh = _drawn(path, network, info, head)
    if fresh and classes is None and head not in POOLED:
        raise ConfigError(
            f"{path} has no head for {head.replace('_', ' ')} ({', '.join(fresh)}). Set model.classes to the number of "
            "classes to put a new one on it, and fine-tune it; or name a folder that has one."
        )
    if sized:  # the names of other classes would be wrong
        known = config.get("id2label") or {}
        names = {str(number): f"LABEL_{number}" for number in range(classes or 0)} if len(known) != classes else known
        config = {**config, "id2label": names, "label2id": {name: int(number) for number, name in names.items()}}
    pooling, normalize = read_pooling(path) if head in POOLED else ("mean", False)
    model = PretrainedModel(
        config=json.loads(json.dumps(config)),
        head=head,
        pooling=pooling,
        normalize=normalize and head == EMBEDDING,
        classes=classes if head == POOLED_CLASSIFICATION else None,
        random_weights=False,
    )
    weights = {name: tensor for name, tensor in network.state_dict().items() if name in model.network.state_dict()}
    model.network.load_state_dict(weights, assign=True)
    model.network.tie_weights()
    model.fresh = _FRESH.get(head, fresh)
    return model.eval()


def _drawn(path: Path, network: Any, info: Mapping[str, Any], head: str) -> tuple[str, ...]:
    """Return the weights that the folder lacks, once they are known to be a head's or a pooler's."""
    body = f"{network.base_model_prefix}."
    names = sorted({*info["missing_keys"], *(str(key[0]) for key in info["mismatched_keys"])})
    of_body = [name for name in names if name.startswith(body) or head in POOLED]
    lacking = [name for name in of_body if ".pooler." not in f".{name}"]
    if lacking:
        raise IntegrityError(f"{path} lacks weights, or has them in other shapes: {', '.join(lacking[:5])}.")
    return tuple(names)


def _causal(path: Path, config: Mapping[str, Any], classes: int | None, origin: str | None) -> CausalLanguageModel:
    if classes is not None:
        raise ConfigError("model.classes is for classifiers; a causal language model predicts tokens. Set it to null.")
    model = CausalLanguageModel(config=config, random_weights=False, origin=origin)
    weights = _gguf_weights(path, model) if _is_gguf(path) else _folder_weights(path, model)
    _load(model, weights, path)
    check_step_by_step(model.eval(), path)
    return model


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
    for name in sorted(name for name in weights if name in known and weights[name].shape != known[name].shape):
        raise IntegrityError(
            f"{path}: {name} has the shape {list(weights[name].shape)}, and its configuration, as the installed "
            f"transformers reads it, asks for {list(known[name].shape)}. Get it again, or name a folder of the model."
        )
    model.network.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=False, assign=True)
    model.network.tie_weights()
