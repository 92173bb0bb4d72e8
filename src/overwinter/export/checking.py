"""How far written files predict from the variant that they were written from."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from overwinter.export.source import Source
from overwinter.inputs import Array, named
from overwinter.runtime import LanguageSession, open_language
from overwinter.runtime.language_check import divergence

if TYPE_CHECKING:
    from overwinter.models import CausalLanguageModel

_TEXTS, _TOKENS, _SEED = 4, 32, 0


def apart(source: Source, session: LanguageSession) -> float:
    """Return the mean divergence in nats of a session's predictions from the source's own, at every position.

    The text is that of a bundle's canary; of a saved model, what it writes itself.
    """
    if source.runtime is not None:
        tokens = _recorded(source)
        own = open_language(source.folder, source.runtime, 1, trusted=source.trusted)
        return divergence(session.logits(tokens), own.logits(tokens))
    from overwinter.runtime.torch_language import TorchLanguageSession
    from overwinter.runtime.torch_runtime import TorchRuntime

    model = cast("CausalLanguageModel", TorchRuntime().load(source.folder, trusted=source.trusted))
    tokens = _written(model, source) if source.samples is None else _recorded(source)
    return divergence(session.logits(tokens), TorchLanguageSession(model).logits(tokens))


def _recorded(source: Source) -> Array:
    (tokens,) = named(source.samples).values()
    return cast(Array, tokens)


def _written(model: CausalLanguageModel, source: Source) -> Array:
    from overwinter.calibration.generated_text import generate_text
    from overwinter.models import leading_tokens, pretrained_tokenizer

    leading = () if source.tokenizer is None else leading_tokens(pretrained_tokenizer(str(source.tokenizer)))
    return generate_text(model, _TEXTS, _TOKENS, seed=_SEED, leading=leading).numpy()
