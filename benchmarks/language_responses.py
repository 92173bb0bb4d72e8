"""Responses of a built variant on one of our runtimes, in a process of its own, greedily and token by token.

python benchmarks/language_responses.py FOLDER RUNTIME THREADS
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from overwinter.runtime import LanguageSession, open_language

sys.path.insert(0, str(Path(__file__).parent / "peers"))

from responding import answer


def main(folder: str, runtime: str, threads: str) -> None:
    """Load, and respond."""
    session = open_language(Path(folder), runtime, int(threads))
    answer(lambda prompt, count: written(session, prompt, count))


def written(session: LanguageSession, prompt: list[int], count: int) -> list[int]:
    """Return the tokens that a session writes after a prompt."""
    logits, kept = session.step(np.array([prompt], dtype=np.int64))
    found = [int(logits.argmax())]
    while len(found) < count:
        logits, kept = session.step(np.array([found[-1:]], dtype=np.int64), kept)
        found.append(int(logits.argmax()))
    return found


if __name__ == "__main__":
    main(*sys.argv[1:])
