"""How texts are split into words before a byte-level vocabulary is applied: names of GGUF's ``tokenizer.ggml.pre``.

Each name stands for a pre-tokenizer of the tokenizers library, as the families' own tokenizer.json has it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
