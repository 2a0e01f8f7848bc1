"""The observer that every other can be measured against: the exact optimum."""

from dataclasses import dataclass
from typing import Any, ClassVar

from qexplorer.progress import Steps, finish
from qexplorer.quant.observers import Ends, Observer, Target, observers
from qexplorer.quant.observers.sweep import best_ranges

MOST_BITS, MOST_AFFINE_BITS = 8, 4


@observers.register
@dataclass(frozen=True)
class Optimal(Observer):
    """The scale with the least Σe² of all scales, and with a zero point the best of all those too.

    Values are taken to be rounded to the nearest level. Exact for up to 262,144 distinct values a group; beyond, values
    alike in their upper 22 bits count as one, and in a stream those alike in their upper 16 bits.
    """

    name: ClassVar[str] = "optimal"
    title: ClassVar[str] = "Optimal (exact)"
    help: ClassVar[str] = (
        "The least mean squared error of all scales, where values round to the nearest level; exact for up to 262,144 "
        "distinct values."
    )
    order: ClassVar[int] = 44
    nearest_only: ClassVar[str] = "The exact optimum is worked out for roundings to the nearest level."

    def refusal(self, spec: Any) -> str:
        if spec.format.code_bits > MOST_BITS:
            return f"The exact optimum is worked out for at most {MOST_BITS} bits."
        if spec.scheme != "symmetric" and (spec.scheme != "affine" or spec.format.code_bits > MOST_AFFINE_BITS):
            return f"With a zero point the exact optimum is worked out for integers of at most {MOST_AFFINE_BITS} bits."
        if spec.scale_dtype.name != "float32":
            return "The exact optimum is worked out for float32 scales."
        return ""

    def range(self, stats: Any, target: Target) -> Ends:
        return finish(self.search(stats, target))

    def search(self, stats: Any, target: Target) -> Steps[Ends]:
        return (yield from best_ranges(stats, target.grids()))
