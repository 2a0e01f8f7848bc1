"""A model as a point over its size, and which of many no other beats."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from qexplorer.numbers import interval, percent, size


@dataclass(frozen=True)
class SizePoint:
    """A model: what it takes, and the share of samples that it gets right (1 for 100 %) with its interval."""

    key: object
    title: str
    bytes_on_disk: int
    bytes_theoretical: int
    top1: float
    top1_ci95: tuple[float, float]
    real: bool
    reference: bool

    @property
    def kind(self) -> str:
        """Which of the marks it has."""
        return "float" if self.reference else "real" if self.real else "simulated"

    @property
    def bytes(self) -> int:
        """Where it stands on the axis of sizes."""
        return self.bytes_theoretical if self.kind == "simulated" else self.bytes_on_disk

    @property
    def interval(self) -> tuple[float, float]:
        """Its interval; the point itself where there is none."""
        low, high = self.top1_ci95
        return (low, high) if math.isfinite(low + high) else (self.top1, self.top1)

    @property
    def words(self) -> str:
        """The model and its figures, in lines."""
        disk, packed = size(self.bytes_on_disk), size(self.bytes_theoretical)
        takes = f"{packed} in theory" if self.kind == "simulated" else f"{disk} on disk, {packed} in theory"
        kind = {"float": "Float model", "real": "REAL", "simulated": "SIMULATED"}[self.kind]
        top1 = f"top-1 {percent(self.top1)}, with 95 % confidence {interval(self.interval)}"
        return f"{self.title}\n{kind}: {takes}\n{top1}"


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Of points in order of size, those that no other of their size or less is as good as."""
    found: list[int] = []
    for at, (size_, top1) in enumerate(points):
        if found and points[found[-1]][0] == size_ and points[found[-1]][1] < top1:
            found.pop()
        if not found or top1 > points[found[-1]][1]:
            found.append(at)
    return found
