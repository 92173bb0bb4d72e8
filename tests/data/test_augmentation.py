import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from overwinter.data import RandomFlip, RandomShift
from overwinter.data.augmentation import AlternatingFlip, for_samples, image_augmentation
from overwinter.errors import ConfigError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(seed=st.integers(0, 1000), pixels=st.integers(1, 2))
def test_each_image_is_itself_somewhere_else(seed, pixels):
    images = torch.randn(3, 2, 5, 6, generator=generator(seed))
    shifted = RandomShift(pixels, -9.0)(images, generator(seed))
    padded = torch.nn.functional.pad(images, [pixels] * 4, value=-9.0)
    for number in range(3):
        windows = [
            padded[number, :, down : down + 5, right : right + 6]
            for down in range(2 * pixels + 1)
            for right in range(2 * pixels + 1)
        ]
        assert any(torch.equal(shifted[number], window) for window in windows)


def test_all_shifts_occur():
    image = torch.zeros(400, 1, 3, 3)
    image[:, 0, 1, 1] = 1.0
    places = RandomShift(1, 0.0)(image, generator()).flatten(1).argmax(1)
    assert set(places.tolist()) == set(range(9))


def test_about_half_is_mirrored_and_nothing_else_changes():
    images = torch.randn(200, 1, 2, 3, generator=generator())
    flipped = RandomFlip()(images, generator())
    same = (flipped == images).flatten(1).all(1)
    mirrored = (flipped == images.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < int(mirrored.sum()) < 130


def test_what_is_not_asked_is_not_done():
    assert image_augmentation(shift_pixels=0, flip=False, fill=0.0) is None


def test_equal_generators_augment_alike():
    both = image_augmentation(shift_pixels=1, flip=True, fill=0.0)
    images = torch.randn(8, 1, 4, 4)
    assert torch.equal(both(images, generator(1)), both(images, generator(1)))
    assert not torch.equal(both(images, generator(1)), both(images, generator(2)))


def test_two_epochs_show_every_image_from_both_sides():
    images, numbers = torch.randn(400, 1, 2, 3, generator=generator()), torch.arange(400)
    transform = image_augmentation(shift_pixels=0, flip="alternating", fill=0.0)
    first, second, third = (for_samples(transform, numbers, epoch)(images, generator(epoch)) for epoch in range(3))
    assert torch.equal(second, first.flip(-1))
    assert torch.equal(third, first)
    assert 150 < int((first != images).flatten(1).any(1).sum()) < 250


@given(order=st.permutations(range(12)), epoch=st.integers(0, 3))
def test_the_side_belongs_to_the_sample_not_to_its_place(order, epoch):
    images = torch.randn(12, 1, 2, 3, generator=generator())
    transform, order = AlternatingFlip(), torch.tensor(order)
    whole = transform.for_samples(torch.arange(12), epoch)(images, generator())
    assert torch.equal(transform.for_samples(order, epoch)(images[order], generator()), whole[order])


def test_neighbours_do_not_share_a_side():
    numbers = torch.arange(4096)
    mirrored = AlternatingFlip().for_samples(numbers, 0)(torch.tensor([[[[0.0, 1.0]]]]).expand(4096, 1, 1, 2), None)
    sides = mirrored[:, 0, 0, 0]
    assert 0.4 < float((sides[1:] == sides[:-1]).float().mean()) < 0.6
    assert 0.4 < float((sides[2:] == sides[:-2]).float().mean()) < 0.6


def test_an_unknown_flip_is_refused():
    with pytest.raises(ConfigError, match=r"data.flip='altrnating' is unknown. Allowed: true, false, alternating"):
        image_augmentation(shift_pixels=0, flip="altrnating", fill=0.0)
