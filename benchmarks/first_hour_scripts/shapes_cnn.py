"""Train a small convolutional network on folders of images, one folder per class: a script as people have it."""

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset, random_split


class Shapes(Dataset):
    """Images in ROOT/CLASS/*.png."""

    def __init__(self, root="shapes"):
        folders = sorted(path for path in Path(root).iterdir() if path.is_dir())
        self.classes = [folder.name for folder in folders]
        self.samples = [
            (path, number) for number, folder in enumerate(folders) for path in sorted(folder.glob("*.png"))
        ]

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, place):
        path, number = self.samples[place]
        pixels = np.asarray(Image.open(path).convert("RGB"), dtype=np.float32) / 255
        return torch.from_numpy(pixels).permute(2, 0, 1), number


class Net(nn.Module):
    """Three convolutions and a linear layer."""

    def __init__(self, classes=3, width=16):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(2 * width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
        )
        self.classifier = nn.Linear(2 * width, classes)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=10)
    options = parser.parse_args()
    data = Shapes("shapes")
    train, test = random_split(data, [0.8, 0.2], torch.Generator().manual_seed(0))
    model = Net(classes=3)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.003)
    loss_of = nn.CrossEntropyLoss()
    for epoch in range(options.epochs):
        model.train()
        for x, y in DataLoader(train, batch_size=32, shuffle=True):
            optimizer.zero_grad()
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(x).argmax(1) == y).sum().item() for x, y in DataLoader(test, batch_size=64))
        print(f"epoch {epoch}: accuracy {right / len(test):.2%}")
    torch.save(model.state_dict(), "net.pt")


if __name__ == "__main__":
    main()
