"""A saved tokenizer as GGUF's metadata, as llama.cpp and openvino-genai read it.

Byte-level vocabularies (GPT-2, Llama 3, Qwen, SmolLM) become the model ``gpt2`` with its merges, those with bytes as
tokens (Llama 2, Mistral, Gemma) the model ``llama``, whose scores follow from the order of the merges.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError
from overwinter.models.gguf_splitting import splitting_name

_SPECIAL = ("bos", "eos", "unk", "pad")


def add_tokenizer(writer: Any, folder: Path, rows: int) -> None:
    """Write the tokenizer that `overwinter.models.save_tokenizer` saved.

    Args:
        writer: GGUFWriter.
        folder: with tokenizer.json.
        rows: of the embedding; what the tokenizer lacks is filled with unused tokens.

    Raises:
        ConfigError: it is missing, of a kind that GGUF has no name for, or does not fit the embedding.
    """
    saved = _read(folder / "tokenizer.json")
    model, settings = saved["model"], _read(folder / "tokenizer_config.json")
    if model.get("type") != "BPE":
        raise ConfigError(f"{folder}: GGUF files are written with BPE tokenizers, not with {model.get('type')!r}.")
    words = _words(saved, rows, folder)
    merges = [each if isinstance(each, str) else " ".join(each) for each in model["merges"]]
    if _is_byte_level(saved):
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(_splitting(saved, folder))
        writer.add_token_list(words)
        writer.add_token_merges(merges)
    else:
        writer.add_tokenizer_model("llama")
        writer.add_tokenizer_pre("default")
        writer.add_token_list(words)
        writer.add_token_scores(_scores(words, merges))
        writer.add_add_space_prefix(_adds_space(saved))
    writer.add_token_types(_types(saved, words, settings))
    _add_special(writer, words, settings, folder)
    writer.add_add_bos_token(_begins(folder))
    template = _template(folder, settings)
    if template is not None:
        writer.add_chat_template(template)


def add_no_tokenizer(writer: Any, config: Mapping[str, Any]) -> None:
    """Write that texts are given as tokens, and which of them are special by the model's configuration."""
    writer.add_tokenizer_model("no_vocab")
    for name in _SPECIAL:
        row = config.get(f"{name}_token_id")
        if isinstance(row, int):
            getattr(writer, f"add_{name}_token_id")(row)


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing. Name the folder of the model's tokenizer.") from None
    return found


def _words(saved: Mapping[str, Any], rows: int, folder: Path) -> list[str]:
    """Return the token of each row of the embedding."""
    known = {**saved["model"]["vocab"], **{each["content"]: each["id"] for each in saved["added_tokens"]}}
    if max(known.values()) >= rows:
        raise ConfigError(
            f"{folder} has {max(known.values()) + 1} tokens and the model's embedding {rows} rows: it is another "
            "model's tokenizer."
        )
    words = [f"[PAD{row}]" for row in range(rows)]
    for word, row in known.items():
        words[row] = word
    return words


def _types(saved: Mapping[str, Any], words: Sequence[str], settings: Mapping[str, Any]) -> list[int]:
    import gguf

    kinds = gguf.TokenType
    vocabulary, unknown = saved["model"]["vocab"], settings.get("unk_token")
    added = {each["id"]: kinds.CONTROL if each["special"] else kinds.USER_DEFINED for each in saved["added_tokens"]}
    bytes_too = bool(saved["model"].get("byte_fallback"))

    def kind(row: int, word: str) -> int:
        if bytes_too and word == _content(unknown):
            return int(kinds.UNKNOWN)
        if row in added:
            return int(added[row])
        if bytes_too and len(word) == len("<0x00>") and word.startswith("<0x"):
            return int(kinds.BYTE)
        return int(kinds.NORMAL if word in vocabulary else kinds.UNUSED)

    return [kind(row, word) for row, word in enumerate(words)]


def _scores(words: Sequence[str], merges: Sequence[str]) -> list[float]:
    """Return a score for each token: llama.cpp merges the pair whose token has the highest first."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        ranks.setdefault(merge.replace(" ", ""), rank)
    return [-float(ranks.get(word, len(merges))) for word in words]


def _add_special(writer: Any, words: Sequence[str], settings: Mapping[str, Any], folder: Path) -> None:
    rows = {word: row for row, word in enumerate(words)}
    for name in _SPECIAL:
        word = _content(settings.get(f"{name}_token"))
        if word is None:
            continue
        if word not in rows:
            raise ConfigError(f"{folder}: the {name} token {word!r} is none of the tokenizer's tokens.")
        getattr(writer, f"add_{name}_token_id")(rows[word])


def _content(token: Any) -> str | None:
    """Return a special token's text: tokenizer_config.json has it plain or as an object."""
    return token.get("content") if isinstance(token, Mapping) else token


def _is_byte_level(saved: Mapping[str, Any]) -> bool:
    return any(part.get("type") == "ByteLevel" for part in _parts(saved.get("pre_tokenizer"), "pretokenizers"))


def _splitting(saved: Mapping[str, Any], folder: Path) -> str:
    found = splitting_name(saved["pre_tokenizer"])
    if found is None:
        raise ConfigError(
            f"{folder}: the tokenizer splits texts in a way whose name in llama.cpp (tokenizer.ggml.pre) is not known "
            "here, so another program would read other tokens."
        )
    return found


def _adds_space(saved: Mapping[str, Any]) -> bool:
    """Whether a space is put before every text."""
    kinds = {part.get("type") for part in _parts(saved.get("normalizer"), "normalizers")}
    before = _parts(saved.get("pre_tokenizer"), "pretokenizers")
    return "Prepend" in kinds or any(part.get("prepend_scheme") in ("always", "first") for part in before)


def _parts(described: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """Return the steps of a normalizer or a pre-tokenizer."""
    if described is None:
        return []
    return list(described.get(key, [])) if described.get("type") == "Sequence" else [described]


def _begins(folder: Path) -> bool:
    """Whether every text begins with a special token."""
    from tokenizers import Tokenizer

    encoded = Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a", add_special_tokens=True)
    return bool(encoded.special_tokens_mask and encoded.special_tokens_mask[0])


def _template(folder: Path, settings: Mapping[str, Any]) -> str | None:
    beside = folder / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    template = settings.get("chat_template")
    return template if isinstance(template, str) else None
