"""Synthetic tensors: well-known distributions to look at without any file, made again whenever they are read."""

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from qexplorer.errors import UserError
from qexplorer.progress import Progress, Steps
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import Checkpoint, TensorInfo
from qexplorer.weights.readers import Reader, Source, readers

_Draw = Callable[[np.random.Generator, int], NDArray[np.floating[Any]]]
_DRAWN_AT_ONCE = 1 << 20

_DRAW: dict[str, _Draw] = {
    "normal": lambda rng, n: rng.standard_normal(n, np.float32),
    "laplace": lambda rng, n: rng.laplace(size=n),
    "uniform": lambda rng, n: rng.uniform(-1, 1, n),
    "student_t": lambda rng, n: rng.standard_t(3, n),
    "exponential": lambda rng, n: rng.exponential(2, n) - 7,
}
"""By name: the standard normal and Laplace distributions, uniform on −1…1, Student's t with 3 degrees of freedom, and
the skewed one: an exponential distribution of scale 2, moved by −7."""

DISTRIBUTIONS = tuple(_DRAW)
"""The name of each distribution, as in `synthetic:laplace`."""


@readers.register
@dataclass(frozen=True)
class Synthetic(Reader):
    """`n` float32 values of a distribution, or a tensor of each where none is named; equal seeds give equal values."""

    distribution: str = ""
    n: int = 20_000
    seed: int = 0

    name: ClassVar[str] = "synthetic"
    title: ClassVar[str] = "Synthetic values"
    help: ClassVar[str] = f"{', '.join(DISTRIBUTIONS)}: made by a seeded generator, no file needed."
    order: ClassVar[int] = 90

    def __post_init__(self) -> None:
        if self.distribution and self.distribution not in DISTRIBUTIONS:
            known = ", ".join(DISTRIBUTIONS)
            raise UserError(
                f"There is no distribution “{self.distribution}”.", f"Known: {known}.", field="distribution"
            )
        if not 1 <= self.n <= limits.SYNTHETIC_VALUES:
            raise UserError(f"{self.n:,} values cannot be made.", f"1 to {limits.SYNTHETIC_VALUES:,} can.", field="n")
        if self.seed < 0:
            raise UserError("The seed is negative.", "Choose 0 or more.", field="seed")

    def accepts(self, source: Source) -> bool:
        return False  # it is asked for by its text, never found in a file

    def open(self, source: Source) -> Steps[Checkpoint]:
        yield Progress("Listing the distributions")
        names = [self.distribution] if self.distribution else list(DISTRIBUTIONS)
        tensors = tuple(TensorInfo(name, (self.n,), "float32", 4 * self.n, source.path) for name in names)
        return _SyntheticCheckpoint(source.path, "synthetic", tensors, {"seed": str(self.seed)}, seed=self.seed)


@dataclass(frozen=True)
class _SyntheticCheckpoint(Checkpoint):
    seed: int = field(kw_only=True)

    def compact_blocks(self, tensor: TensorInfo) -> Generator[NDArray[Any]]:
        # Each distribution has a stream of its own, so that a tensor does not depend on which others are listed.
        rng = np.random.default_rng([self.seed, DISTRIBUTIONS.index(tensor.name)])
        for start in range(0, tensor.n, _DRAWN_AT_ONCE):
            values = _DRAW[tensor.name](rng, min(_DRAWN_AT_ONCE, tensor.n - start))
            yield values.astype(np.float32, copy=False)
