"""How far written files predict from the variant that they were written from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from overwinter.export.source import Source
from overwinter.export.texts import tokens_of
from overwinter.inputs import Array
from overwinter.models.given import GIVEN_FILE, is_given
from overwinter.runtime import LanguageSession, open_language
from overwinter.runtime.language_check import divergence

if TYPE_CHECKING:
    from overwinter.models import CausalLanguageModel


def apart(source: Source, logits: Callable[[Array], Array]) -> float:
    """Return the mean divergence in nats of predictions from the source's own, at every position of texts.

    Args:
        source: what was written.
        logits: as of `Reading`.

    Raises:
        ConfigError: the tokenizer has tokens that the model has not.
    """
    tokens = tokens_of(source)
    return divergence(logits(tokens), _own(source).logits(tokens))


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
