"""How texts are split into words before a byte-level vocabulary is applied: names of GGUF's ``tokenizer.ggml.pre``.

Each name stands for a pre-tokenizer of the tokenizers library, as the families' own tokenizer.json has it.
`splitting_name` names one for a file that is written, `split_as_named` applies the one that a file names: transformers
ignores names that it does not know, and its tokenizer of such a file reads other tokens than the model was trained on.
https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from overwinter.errors import ConfigError

_GPT2: dict[str, Any] = {"type": "ByteLevel", "use_regex": True}
_DIGITS: dict[str, Any] = {"type": "Digits", "individual_digits": True}
_LLAMA_3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
_QWEN_2 = _LLAMA_3.replace(r"\p{N}{1,3}", r"\p{N}")


def _by(pattern: str) -> tuple[dict[str, Any], ...]:
    return ({"type": "Split", "pattern": {"Regex": pattern}}, {"type": "ByteLevel", "use_regex": False})


# The first of several names for one way is the one that is written.
SPLITTINGS: Mapping[str, tuple[dict[str, Any], ...]] = {
    "gpt-2": (_GPT2,),
    "smollm": (_DIGITS, _GPT2),
    "llama-bpe": _by(_LLAMA_3),
    "qwen2": _by(_QWEN_2),
}

_SAME = {  # other names that llama.cpp has for the ways above
    "gpt-2": ("olmo", "phi-2"),
    "smollm": ("codeshell", "command-r", "exaone", "refact", "starcoder"),
    "llama-bpe": ("falcon-h1", "falcon3", "jina-v5-nano", "lfm2", "llama-v3", "llama3", "midm-2.0", "pixtral"),
}
_WAYS = {other: name for name, others in _SAME.items() for other in others} | {name: name for name in SPLITTINGS}
# A word that is a token stays whole where merges would not lead to it, and texts begin with BOS unless the file says.
_LIKE_LLAMA_3 = ("llama-bpe", "tekken")


def split_as_named(tokenizer: Any, metadata: Mapping[str, Any], path: Path) -> None:
    """Let a tokenizer that transformers made of a GGUF file split texts as the file says.

    Args:
        tokenizer: transformers' with a backend of the tokenizers library; it is changed.
        metadata: of the file.
        path: of the file, for the message.

    Raises:
        ConfigError: the file has no name for it, or one that neither this module nor transformers knows.
    """
    if metadata.get("tokenizer.ggml.model") != "gpt2":
        return
    name = metadata.get("tokenizer.ggml.pre")
    way, backend = _WAYS.get(str(name)), tokenizer.backend_tokenizer
    if way is not None:
        backend.pre_tokenizer = _made(SPLITTINGS[way])
    elif name not in _known_to_transformers():
        said = "does not say how its tokenizer splits texts" if name is None else f"splits texts in the way {name!r}"
        raise ConfigError(
            f"{path} {said} (tokenizer.ggml.pre), which is not known here, so the model would read other tokens than "
            "it was trained on.\nName the folder that the file was made from, or convert it with a later llama.cpp."
        )
    if way == "qwen2":
        from tokenizers import normalizers

        backend.normalizer = normalizers.NFC()
    if (way or name) in _LIKE_LLAMA_3:
        backend.model.ignore_merges = True
        if "tokenizer.ggml.add_bos_token" not in metadata:
            tokenizer.add_bos_token = True
            tokenizer.update_post_processor()


def _known_to_transformers() -> Mapping[str, str]:
    from transformers.integrations.gguf.gguf_tokenizer_mapping import GGUF_PRE_TOKENIZER_SPLITS

    known: Mapping[str, str] = GGUF_PRE_TOKENIZER_SPLITS
    return known


def _made(steps: tuple[Mapping[str, Any], ...]) -> Any:
    """Return a pre-tokenizer of the tokenizers library."""
    from tokenizers import Regex, pre_tokenizers

    kinds: Mapping[str, Callable[[Mapping[str, Any]], Any]] = {
        "ByteLevel": lambda step: pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=step["use_regex"]),
        "Digits": lambda step: pre_tokenizers.Digits(individual_digits=step["individual_digits"]),
        "Split": lambda step: pre_tokenizers.Split(Regex(step["pattern"]["Regex"]), behavior="isolated"),
    }
    return pre_tokenizers.Sequence([kinds[step["type"]](step) for step in steps])


def splitting_name(described: Mapping[str, Any]) -> str | None:
    """Return the name of a pre-tokenizer from tokenizer.json; None if it has none."""
    parts = described["pretokenizers"] if described["type"] == "Sequence" else [described]
    for name, wanted in SPLITTINGS.items():
        if len(parts) == len(wanted) and all(map(_has, parts, wanted)):
            return name
    return None


def _has(part: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    """Whether a step has the wanted settings; byte-level steps put no space before a text."""
    return all(part.get(key) == value for key, value in wanted.items()) and not part.get("add_prefix_space")
