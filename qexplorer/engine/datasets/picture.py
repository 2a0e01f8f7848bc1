"""One picture file, read with Pillow: its header first, its pixels when they are wanted."""

import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = {".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""Those that Pillow decodes by itself; it knows others that run a program or hold no picture at all."""
GREY_8, GREY_16 = {"1", "L"}, {"I;16", "I;16L", "I;16B"}
COLOUR = {"RGB", "RGBA", "RGBX", "P", "PA", "LA", "CMYK", "YCbCr", "LAB", "HSV"}
_TRIPS = (OSError, SyntaxError, ValueError, EOFError, LookupError, TypeError, OverflowError, struct.error, zlib.error)
"""What Pillow raises where a file is damaged."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a header says: Pillow's mode, width and height in pixels."""

    mode: str
    width: int
    height: int

    @property
    def is_grey(self) -> bool:
        """Whether it has one channel; with transparency or a palette it counts as coloured."""
        return self.mode in GREY_8 | GREY_16


def look_at(path: Path) -> Look:
    """The header of a picture. Raises `UserError` for what is none, or has too many pixels to be one in good faith."""
    from PIL import Image

    with _picture_errors(path), Image.open(path, formats=FORMATS) as image:
        look = Look(image.mode, image.width, image.height)
    most = Image.MAX_IMAGE_PIXELS
    if most is not None and look.width * look.height > most:  # Pillow itself only warns of up to twice as many
        raise _too_large(path)
    if look.mode not in GREY_8 | GREY_16 | COLOUR:
        what = f"{path} has pixels of a kind ({look.mode}) that is not read."
        raise UserError(what, "Save it with 8 bits per channel, or in 16 bits of grey.", field="data")
    return look


def pixels(path: Path, look: Look, *, channels: int, side: int = 0) -> NDArray[np.float32]:
    """The pixels [`channels`, H, W] of 0 … 1, transparency left out; resized to `side` × `side` unless that is 0.

    Raises `UserError` where the file is damaged, or no longer what it was at that `look`.
    """
    from PIL import Image

    with _picture_errors(path), Image.open(path, formats=FORMATS) as image:
        if look != Look(image.mode, image.width, image.height):
            raise UserError(f"{path} was changed while it was read.", "Open it again.", field="data")
        image.load()
        picture, most = _plain(image, "L" if channels == 1 else "RGB")
        if side:
            picture = picture.resize((side, side), Image.Resampling.BILINEAR)
        values = np.asarray(picture, np.float32) / np.float32(most)
    if values.ndim == 3:
        return np.moveaxis(values, 2, 0)
    return np.broadcast_to(values, (channels, *values.shape))


def _plain(image: "Image.Image", mode: str) -> "tuple[Image.Image, int]":
    """The picture with 8 bits per channel, or its 16 bits of grey as floats, and its highest value."""
    from PIL import Image

    if image.mode in GREY_16:  # Pillow would cut off what is above 255
        return Image.fromarray(np.asarray(image, np.float32)), 65535
    if image.mode == "P":  # its transparency first, of which Pillow would warn
        image = image.convert("RGBA")
    return image.convert(mode), 255


@contextmanager
def _picture_errors(path: Path) -> Iterator[None]:
    """Say what goes wrong with a file as a `UserError` that names it."""
    from PIL import Image, UnidentifiedImageError

    try:
        yield
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(path) from error
    except UnidentifiedImageError as error:
        raise UserError(f"{path} is not a picture of a known kind.", "Replace or remove it.", field="data") from error
    except _TRIPS as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise UserError(f"{path} cannot be read: {reason}.", "Replace or remove it.", field="data") from error


def _too_large(path: Path) -> UserError:
    return UserError(f"{path} claims more pixels than a picture of a data set has.", "Remove it.", field="data")
