"""Tokens of text, on which models are traced and compared."""

from __future__ import annotations

import sys
from typing import cast

import numpy as np

from overwinter.bundle.facts import TOKENIZER_FILE
from overwinter.errors import ConfigError
from overwinter.export.source import Source
from overwinter.inputs import Array, named

_MOST_TOKENS = 96
# Of several kinds, so that many rows of the embedding are read.
_TEXT = """\
When winter comes the river sleeps under its ice, and whoever lives on its banks waits for the thaw. The ferryman oils
his oars; his daughter counts the days: 31, 30, 29. "How long still?" she asks. "As long as it takes," he says.

def thaw(ice_mm: float, degrees: float) -> float:
    return max(0.0, ice_mm - 4.2 * degrees)  # per day

Was war, das kommt wieder. Ce qui dort se réveille. 冬来たりなば春遠からじ。
"""


def tokens_of(source: Source) -> Array:
    """Return tokens (n, length), int64: those of a bundle's canary; for a saved model, of a text of this module.

    Raises:
        ConfigError: there is no tokenizer, or one with tokens that the model has not.
    """
    if source.samples is not None:
        (recorded,) = named(source.samples).values()
        return cast(Array, recorded)
    from tokenizers import Tokenizer

    if source.tokenizer is None:
        raise ConfigError("There is no tokenizer to read a text with. Name its folder: --tokenizer DIR.")
    # Begun as the server begins a text.
    encoded = Tokenizer.from_file(str(source.tokenizer / TOKENIZER_FILE)).encode(_TEXT, add_special_tokens=True)
    context, rows = (int(source.config.get(key) or sys.maxsize) for key in ("max_position_embeddings", "vocab_size"))
    if max(encoded.ids) >= rows:
        raise ConfigError(
            f"{source.tokenizer} has the token {max(encoded.ids)}, and the model knows {rows}: it is another model's. "
            "Name this one's: --tokenizer DIR."
        )
    return np.asarray(encoded.ids[: min(_MOST_TOKENS, context)], dtype=np.int64)[None]
