"""Small models of every task, with samples for them: rows, series, images, and tokens with a mask by name."""

import torch
from torch import nn
from torch.nn import functional

from overwinter import tasks
from tests.support.networks import language_model


class Rows(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 24), nn.Linear(24, 16), nn.Linear(16, outputs)

    def forward(self, rows):
        return self.head(torch.relu(self.second(torch.relu(self.first(rows)))))


class Series(nn.Module):
    def __init__(self):
        super().__init__()
        self.smooth, self.again = nn.Conv1d(2, 8, 3, padding=1), nn.Conv1d(8, 4, 3, padding=1)
        self.memory, self.head = nn.LSTM(4, 8, batch_first=True), nn.Linear(8, 6)

    def forward(self, series):
        smooth = self.again(torch.relu(self.smooth(series.transpose(1, 2)))).transpose(1, 2)
        return self.head(self.memory(smooth)[0][:, -1]).view(-1, 3, 2)


class Masks(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = (
            nn.Conv2d(1, 8, 3, padding=1),
            nn.BatchNorm2d(8),
            nn.Conv2d(8, 8, 3, padding=1),
        )
        self.head = nn.Conv2d(16, 2, 1)

    def forward(self, images):
        early = torch.relu(self.norm(self.first(images)))
        return self.head(torch.cat([early, torch.relu(self.second(early))], 1))


class Tags(nn.Module):
    """Tokens and a mask by name; attention of torch's own."""

    def __init__(self):
        super().__init__()
        self.embedding, self.attention = nn.Embedding(20, 16), nn.MultiheadAttention(16, 2, batch_first=True)
        self.up, self.down, self.head = nn.Linear(16, 32), nn.Linear(32, 16), nn.Linear(16, 3)

    def forward(self, input_ids, attention_mask):
        states = self.embedding(input_ids)
        states = states + self.attention(states, states, states, key_padding_mask=attention_mask == 0)[0]
        return {"logits": self.head(states + self.down(functional.gelu(self.up(states))))}


def cases():
    """Return name of a task -> model, inputs, targets, task."""
    torch.manual_seed(0)
    rows, tokens = torch.randn(48, 6), torch.randint(1, 20, (48, 7))
    series, images = torch.randn(48, 9, 2), torch.randn(24, 1, 8, 8)
    text = {"input_ids": tokens, "attention_mask": torch.ones_like(tokens)}
    return {
        "regression": (Rows(1), rows, rows.sum(1), tasks.Regression(("sum",))),
        "multilabel": (Rows(4), rows, (rows[:, :4] > 0).float(), tasks.Multilabel(tuple("abcd"))),
        "forecasting": (Series(), series, series[:, -3:], tasks.Forecasting(("a", "b"))),
        "segmentation": (Masks(), images, (images[:, 0] > 0).long(), tasks.Segmentation(("no", "yes"))),
        "token_classification": (Tags(), text, tokens % 3, tasks.TokenClassification(("a", "b", "c"))),
        "language_modeling": (language_model(), tokens, tokens.roll(-1, 1), tasks.LanguageModeling(())),
    }
