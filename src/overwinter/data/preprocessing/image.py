"""Preprocessing of images: PNG and JPEG files, or arrays, to one size and scale. Needs pillow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from overwinter.data.preprocessing.interface import above_zero, numbers, refuse_unknown
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

MAX_PIXELS = 1 << 25  # 5792 x 5792: 100 MB once decoded; a file of a few KB can claim more
FORMATS = ("PNG", "JPEG")
_MODES = {1: "L", 3: "RGB"}  # channels -> pillow's mode
_FITS = ("stretch", "crop")
_FILTERS = ("nearest", "bilinear", "bicubic")
_HIGHEST = 255.0
_KEYS = ("size", "channels", "mean", "std", "fit", "filter")


class Image:
    """Images to float32 (n, channels, height, width): decoded, resized, then ``(pixel / 255 - mean) / std``.

    Args:
        size: height and width of a model input; None: those of the image, and all of a batch must have the same.
        channels: 3 for red, green and blue, 1 for grey.
        mean: of pixels from 0 to 1, a number or one per channel.
        std: likewise, above zero.
        fit: ``stretch`` to the size, or ``crop`` the middle after the shorter side fits.
        filter: of the resizing: ``nearest``, ``bilinear`` or ``bicubic``.

    Raises:
        ConfigError: an argument is wrong.
    """

    kind = "image"
    extras = None

    def __init__(
        self,
        size: Sequence[int] | None = None,
        *,
        channels: int = 3,
        mean: Any = 0.0,
        std: Any = 1.0,
        fit: str = "stretch",
        filter: str = "bilinear",  # noqa: A002 -- the word of the configuration
    ) -> None:
        if channels not in _MODES:
            raise ConfigError(f"preprocessing.channels={channels!r} must be 1 or 3.")
        if size is not None and not _is_size(size):
            raise ConfigError(f"preprocessing.size={size!r} must be [height, width], up to {MAX_PIXELS} pixels.")
        for key, value, choices in (("fit", fit, _FITS), ("filter", filter, _FILTERS)):
            if value not in choices:
                raise ConfigError(f"preprocessing.{key}={value!r} must be one of {', '.join(choices)}.")
        self._size = None if size is None else (int(size[0]), int(size[1]))
        self._channels, self._fit, self._filter = channels, fit, filter
        self._mean, self._std = numbers("mean", mean), above_zero("std", std)
        for key, values in (("mean", self._mean), ("std", self._std)):
            if values.ndim and len(values) != channels:
                raise ConfigError(f"preprocessing.{key} has {len(values)} values for {channels} channels.")

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """Create it from JSON.

        Raises:
            ConfigError: a key is unknown, or a value is wrong.
        """
        refuse_unknown(content, _KEYS)
        return cls(**{key: value for key, value in content.items() if key != "kind"})

    def to_json(self) -> dict[str, Any]:
        """Return what a bundle keeps."""
        size = None if self._size is None else list(self._size)
        values = (size, self._channels, self._mean.tolist(), self._std.tolist(), self._fit, self._filter)
        return {"kind": self.kind, **dict(zip(_KEYS, values, strict=True))}

    def describe_raw(self) -> list[dict[str, Any]]:
        """Return the raw input: the bytes of a file for each sample."""
        return [{"name": "raw", "datatype": "BYTES", "shape": [-1]}]

    def prepare(self, raw: Any) -> NDArray[np.float32]:
        """Return model inputs (n, channels, height, width), float32.

        Args:
            raw: n files as bytes, or arrays (height, width) or (height, width, channels), uint8.

        Raises:
            ConfigError: one is no PNG or JPEG file, is damaged or too large, or is no such array.
        """
        pixels = [self._pixels(each, place) for place, each in enumerate(raw)]
        if not pixels:
            raise ConfigError("There is no image.")
        shapes = sorted({each.shape[1:] for each in pixels})
        if len(shapes) > 1:
            raise ConfigError(
                f"The images have different sizes, {shapes[0]} and {shapes[-1]}, and preprocessing.size is null: give "
                "images of one size at once."
            )
        # Decoded pixels have their channels innermost, which np.stack would keep: a model's view() fails on that.
        batch = np.ascontiguousarray(np.stack(pixels))  # (n, channels, height, width), uint8
        mean, std = (values.reshape(-1, 1, 1) for values in (self._mean, self._std))
        scale, shift = (1 / (_HIGHEST * std)).astype(np.float32), (mean / std).astype(np.float32)
        prepared: NDArray[np.float32] = batch.astype(np.float32) * scale - shift
        return prepared

    def _pixels(self, sample: Any, place: int) -> NDArray[np.uint8]:
        """Return the pixels of one image (channels, height, width)."""
        try:
            picture = _decoded(sample) if isinstance(sample, bytes | bytearray | memoryview) else _of_array(sample)
        except ConfigError as error:
            raise ConfigError(f"Image {place}: {error}") from None
        pixels = np.asarray(self._fitted(picture.convert(_MODES[self._channels])))
        return pixels[np.newaxis] if self._channels == 1 else np.moveaxis(pixels, -1, 0)

    def _fitted(self, picture: Picture) -> Picture:
        from PIL import ImageOps

        if self._size is None or picture.size == self._size[::-1]:
            return picture
        method = _pillow().Resampling[self._filter.upper()]
        if self._fit == "crop":
            return ImageOps.fit(picture, self._size[::-1], method=method)
        return picture.resize(self._size[::-1], method)


def _is_size(value: Any) -> bool:
    sides = list(value) if isinstance(value, list | tuple) else []
    return (
        len(sides) == 2 and all(type(side) is int and side > 0 for side in sides) and sides[0] * sides[1] <= MAX_PIXELS
    )


def _decoded(content: Any) -> Picture:
    """Return a file's image; its size is read from its head, and checked before it is decoded."""
    pillow = _pillow()
    try:
        picture = pillow.open(io.BytesIO(content), formats=FORMATS)
    except pillow.UnidentifiedImageError:
        raise ConfigError(f"it is no {' or '.join(FORMATS)} file.") from None
    except Exception as error:  # noqa: BLE001 -- a damaged file can make a decoder raise anything
        raise ConfigError(f"it cannot be read: {error}.") from None
    _check_pixels(*picture.size)
    if picture.mode.startswith(("I", "F")):
        raise ConfigError(f"it has more than 8 bits per channel ({picture.mode}): convert it to 8.")
    try:
        picture.load()
    except Exception as error:  # noqa: BLE001 -- likewise
        raise ConfigError(f"it is damaged: {error}.") from None
    loaded: Picture = picture
    return loaded


def _of_array(sample: Any) -> Picture:
    pixels = np.asarray(sample)
    if pixels.ndim == 3 and pixels.shape[2] == 1:  # (height, width, channels)
        pixels = pixels[..., 0]
    grey, coloured = pixels.ndim == 2, pixels.ndim == 3 and pixels.shape[-1] == 3  # (height, width[, 3])
    if pixels.dtype != np.uint8 or not (grey or coloured) or not pixels.size:
        raise ConfigError(
            f"it is {pixels.dtype} {list(pixels.shape)}; an image is a PNG or JPEG file, or uint8 [height, width] or "
            "[height, width, 3]."
        )
    _check_pixels(pixels.shape[1], pixels.shape[0])
    picture: Picture = _pillow().fromarray(np.ascontiguousarray(pixels))
    return picture


def _check_pixels(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ConfigError(f"it has {width} x {height} pixels; at most {MAX_PIXELS} are taken.")


def _pillow() -> Any:
    try:
        from PIL import Image as pillow  # noqa: N813 -- this module has an Image of its own
    except ImportError as error:
        raise ConfigError(f"Images need pillow: pip install 'overwinter[images]' ({error}).") from error
    return pillow
