"""How good an SQNR is, in a word and a colour."""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Band:
    """An SQNR `below` so many dB: a word for it, how far it reaches, and the colour of the theme that stands for it."""

    below: float
    word: str
    reach: str
    role: str


BANDS = (
    Band(15.0, "poor", ": below 15 dB", "clip"),
    Band(25.0, "fair", ": 15 to 25 dB", "warn"),
    Band(math.inf, "good", ": above 25 dB", "good"),
)
NO_ERROR = Band(math.inf, "no error at all", "", "good")


def band_of(db: float) -> Band:
    """The band of an SQNR that is a number."""
    return next((band for band in BANDS if db < band.below), NO_ERROR)
