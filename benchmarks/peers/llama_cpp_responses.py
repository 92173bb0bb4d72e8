"""Responses of llama.cpp to a GGUF file, as its Python package offers it: run by the peer's own Python (`make peers`).

    .venv-peers/llama-cpp/bin/python benchmarks/peers/llama_cpp_responses.py MODEL.gguf THREADS

`pip` compiles it for the CPU that it is installed on, with AVX-512 where there is one.
"""

import itertools
import sys

from llama_cpp import Llama
from responding import answer

CONTEXT = 1024  # tokens, enough for the longest response


def main(path: str, threads: str) -> None:
    """Load, and respond."""
    model = Llama(path, n_ctx=CONTEXT, n_threads=int(threads), n_threads_batch=int(threads), verbose=False)

    def respond(prompt: list[int], count: int) -> list[int]:
        model.reset()  # or the beginning of the last prompt would not be read again
        return list(itertools.islice(model.generate(prompt, temp=0.0), count))

    answer(respond)


if __name__ == "__main__":
    main(*sys.argv[1:])
