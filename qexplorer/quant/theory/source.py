"""The sources that theory speaks of: normal and Laplace values, of mean 0 and variance 1."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal

import numpy as np

from qexplorer.quant.arrays import Doubles

Density = Literal["gauss", "laplace"]
Moments = tuple[Doubles, Doubles, Doubles]


@dataclass(frozen=True)
class Source(ABC):
    """A symmetric density f of mean 0 and variance 1, with its partial moments in closed form."""

    @abstractmethod
    def pdf(self, x: Doubles) -> Doubles:
        """The density f(x)."""

    @abstractmethod
    def tails(self, x: Doubles) -> Moments:
        """∫f, ∫t·f and ∫t²·f from x ≥ 0 to infinity; x is finite."""

    @abstractmethod
    def companded(self, shares: Doubles) -> Doubles:
        """Quantiles of the density ∝ f^⅓, which is where many levels belong (Panter and Dite 1951)."""

    def moments(self, edges: Doubles) -> Moments:
        """∫f, ∫x·f and ∫x²·f between neighbouring ascending edges: `[..., K + 1]` → `[..., K]` each.

        Edges may be infinite. Differences of tails keep their digits far out, where those of Φ lose them.
        """
        right = edges >= 0
        far = np.isinf(edges)
        zeroth, first, second = (np.where(far, 0.0, t) for t in self.tails(np.where(far, 0.0, np.abs(edges))))
        sign = np.where(right, -1.0, 1.0)
        across = right[..., 1:] & ~right[..., :-1]  # such a cell has the whole less two tails, and the whole is 1
        return np.diff(sign * zeroth) + across, -np.diff(first), np.diff(sign * second) + across


class _Gauss(Source):
    def pdf(self, x: Doubles) -> Doubles:
        return np.exp(-x * x / 2) / math.sqrt(2 * math.pi)

    def tails(self, x: Doubles) -> Moments:
        pdf = self.pdf(x)
        share = np.array([math.erfc(each) for each in (x / math.sqrt(2)).ravel().tolist()]).reshape(x.shape) / 2
        return share, pdf, x * pdf + share

    def companded(self, shares: Doubles) -> Doubles:
        return np.array([NormalDist(sigma=math.sqrt(3)).inv_cdf(share) for share in shares.tolist()])


class _Laplace(Source):
    """f = e^(−|x|/b)/2b with b = 1/√2."""

    B = 1 / math.sqrt(2)

    def pdf(self, x: Doubles) -> Doubles:
        return np.exp(-np.abs(x) / self.B) / (2 * self.B)

    def tails(self, x: Doubles) -> Moments:
        share = np.exp(-x / self.B) / 2
        return share, (x + self.B) * share, (x * x + 2 * self.B * x + 2 * self.B**2) * share

    def companded(self, shares: Doubles) -> Doubles:
        return np.sign(0.5 - shares) * np.log(2 * np.minimum(shares, 1 - shares)) * 3 * self.B


GAUSS: Source = _Gauss()
LAPLACE: Source = _Laplace()
SOURCES: dict[Density, Source] = {"gauss": GAUSS, "laplace": LAPLACE}


def moments(density: Density, edges: Doubles) -> Moments:
    """`Source.moments` of a density by its name."""
    return SOURCES[density].moments(edges)


def middles(levels: Doubles) -> Doubles:
    """The edges of the cells of ascending levels, with both infinities: `[..., K]` → `[..., K + 1]`."""
    ends = np.full((*levels.shape[:-1], 1), np.inf)
    return np.concatenate([-ends, (levels[..., 1:] + levels[..., :-1]) / 2, ends], axis=-1)
