"""Passages of Shakespeare's plays, and which play each is from. Speakers' names and directions are left out.

And the optimizer that teaches an encoder to tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

import overwinter as ow
from overwinter.errors import ConfigError
from overwinter.models.local_files import model_folder

_SCENE = re.compile(r"^#{2,4} (?=SCENE|PROLOGUE|EPILOGUE|INDUCTION)", re.MULTILINE)
_NOT_SPOKEN = re.compile(r"_[^_]*_|^\*\*.*?\*\*\s*$|^#.*$", re.MULTILINE)  # directions, speakers, headings
_SPECIAL_TOKENS = 2  # of every passage: its beginning and its end


class Passages(Dataset[tuple[str, int]]):
    """Passages as text, each with the number of its play."""

    def __init__(self, samples: list[tuple[str, int]]) -> None:
        self._samples = samples

    def __len__(self) -> int:
        return len(self._samples)

    def __getitem__(self, index: int) -> tuple[str, int]:
        return self._samples[index]


class Plays:
    """Passages of as many tokens as the model is given, cut one after another from what is spoken in a scene.

    All passages of a scene are in one split, so that none is recognised by its neighbours.

    Args:
        root: folder of the plays, one Markdown file each, or its address.
        tokenizer: folder of the model's tokenizer, named as `model.root` is.
        tokens: length of a passage, special tokens included.
        split_seed: seed that assigns scenes to splits, and draws passages.
        validation_share: share of each play's scenes, 0 to 1, and at least one scene.
        test_share: likewise.
        passages: most passages of each play, by split; null: all.
    """

    def __init__(
        self,
        *,
        root: str,
        tokenizer: str,
        tokens: int,
        split_seed: int,
        validation_share: float,
        test_share: float,
        passages: dict[str, int | None],
    ) -> None:
        folder = ow.data.data_path(root)
        self._plays = sorted(folder.rglob("*.md"))
        if not self._plays:
            raise ConfigError(f"data.root={root!r} has no play (*.md). Name the folder of the plays.")
        self.labels = tuple(path.stem for path in self._plays)
        self._tokenizer = model_folder(tokenizer, key="data.tokenizer")
        self._tokens, self._seed, self._most = tokens, split_seed, passages
        self._shares = {"test": test_share, "validation": validation_share}
        self._splits: dict[str, Passages] = {}  # all plays are tokenized for each, which takes seconds

    @property
    def preprocessing(self) -> ow.data.TokenizedText:
        """Return the conversion of a passage to tokens, which the server uses too."""
        return ow.data.TokenizedText(self._tokenizer, max_length=self._tokens)

    def split(self, name: str) -> Passages:
        """Return ``train``, ``validation`` or ``test``."""
        if name not in self._splits:
            self._splits[name] = Passages(self._samples(name))
        return self._splits[name]

    def _samples(self, name: str) -> list[tuple[str, int]]:
        samples = []
        for number, path in enumerate(self._plays):
            chance = np.random.default_rng([self._seed, number])
            scenes = list(spoken(path.read_text(encoding="utf-8")))
            members = self._scenes(len(scenes), chance)[name]
            found = [passage for scene in members for passage in self._cut(scenes[scene])]
            drawn = chance.permutation(len(found))[: self._most[name]]
            samples += [(found[place], number) for place in sorted(drawn)]
        return samples

    def _scenes(self, count: int, chance: np.random.Generator) -> dict[str, Any]:
        order = chance.permutation(count)
        test, validation = (max(1, round(share * count)) for share in self._shares.values())
        return {
            "test": order[:test],
            "validation": order[test : test + validation],
            "train": order[test + validation :],
        }

    def _cut(self, scene: str) -> Iterator[str]:
        from tokenizers import Tokenizer

        tokenizer = Tokenizer.from_file(str(self._tokenizer / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        places = tokenizer.encode(scene, add_special_tokens=False).offsets  # (first, end) letter of each token
        length = self._tokens - _SPECIAL_TOKENS
        for first in range(0, len(places) - length + 1, length):
            yield scene[places[first][0] : places[first + length - 1][1]]


class HeadFirstAdamW(torch.optim.AdamW):
    """AdamW that moves the last layer further in each step than the encoder, because it starts from nothing.

    Discriminative fine-tuning: Howard & Ruder, 2018, https://arxiv.org/abs/1801.06146.

    Args:
        params: of the whole model; the last two are the weight and the bias of its last layer.
        lr: peak learning rate of the encoder.
        head_factor: the last layer's learning rate over the encoder's.
        weight_decay: decoupled.
    """

    def __init__(
        self, params: Iterable[torch.nn.Parameter], *, lr: float, head_factor: float, weight_decay: float
    ) -> None:
        *encoder, weight, bias = params
        groups = [{"params": encoder}, {"params": [weight, bias], "lr": head_factor * lr}]
        super().__init__(groups, lr=lr, weight_decay=weight_decay)


def spoken(play: str) -> Iterator[str]:
    """Yield what is spoken in each scene of a play in Markdown, as one line."""
    for scene in _SCENE.split(play)[1:]:
        _heading, _, text = scene.partition("\n")
        yield " ".join(_NOT_SPOKEN.sub("", text).split())
