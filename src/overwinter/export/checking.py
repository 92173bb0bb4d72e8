"""How far written files predict from the variant that they were written from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from overwinter.bundle.facts import TOKENIZER_FILE
from overwinter.errors import ConfigError
from overwinter.export.source import Source
from overwinter.inputs import Array, named
from overwinter.models.given import GIVEN_FILE, is_given
from overwinter.runtime import LanguageSession, open_language
from overwinter.runtime.language_check import divergence

if TYPE_CHECKING:
    from overwinter.models import CausalLanguageModel

_MOST_TOKENS = 96
# Of several kinds, so that many rows of the embedding are read.
_TEXT = """\
When winter comes the river sleeps under its ice, and whoever lives on its banks waits for the thaw. The ferryman oils
his oars; his daughter counts the days: 31, 30, 29. "How long still?" she asks. "As long as it takes," he says.

def thaw(ice_mm: float, degrees: float) -> float:
    return max(0.0, ice_mm - 4.2 * degrees)  # per day

Was war, das kommt wieder. Ce qui dort se réveille. 冬来たりなば春遠からじ。
"""


def apart(source: Source, session: LanguageSession) -> float:
    """Return the mean divergence in nats of a session's predictions from the source's own, at every position of a text.

    The text is that of a bundle's canary; for a saved model, one of this module.

    Raises:
        ConfigError: the tokenizer has tokens that the model has not.
    """
    own = _own(source)
    tokens = _recorded(source) if source.samples is not None else _read(source.tokenizer, own.context_tokens)
    expected = own.logits(tokens)
    if tokens.max() >= expected.shape[-1]:
        raise ConfigError(
            f"{source.tokenizer} has the token {tokens.max()}, and the model knows {expected.shape[-1]}: it is another "
            "model's. Name this one's: --tokenizer DIR."
        )
    return divergence(session.logits(tokens), expected)


def _own(source: Source) -> LanguageSession:
    """Return a session that computes what the source says: in float32, or as the bundle's runtime does."""
    if source.runtime is not None:
        return open_language(source.folder, source.runtime, 1, trusted=source.trusted)
    from overwinter.models import pretrained
    from overwinter.runtime.torch_language import TorchLanguageSession
    from overwinter.runtime.torch_runtime import TorchRuntime

    if is_given(source.description):
        model = pretrained(root=str(source.folder / GIVEN_FILE))
    else:
        model = cast("CausalLanguageModel", TorchRuntime().load(source.folder, trusted=source.trusted))
    return TorchLanguageSession(cast("CausalLanguageModel", model))


def _recorded(source: Source) -> Array:
    (tokens,) = named(source.samples).values()
    return cast(Array, tokens)


def _read(tokenizer: Path | None, context_tokens: int) -> Array:
    """Return the text (1, length), int64, begun as the server begins one."""
    from tokenizers import Tokenizer

    if tokenizer is None:
        raise ConfigError("There is no tokenizer to read a text with. Name its folder: --tokenizer DIR.")
    encoded = Tokenizer.from_file(str(tokenizer / TOKENIZER_FILE)).encode(_TEXT, add_special_tokens=True)
    return np.asarray(encoded.ids[: min(_MOST_TOKENS, context_tokens)], dtype=np.int64)[None]
