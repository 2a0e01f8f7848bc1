"""How long and how fast a model is trained."""

import math
from dataclasses import dataclass

WARM_UP = 0.05
"""The share of all steps in which the learning rate rises to its greatest."""


@dataclass(frozen=True)
class Schedule:
    """`epochs` of batches of `batch` images; learning rate `rate`, rising at first and then following a cosine to 0.

    From epoch `observers_until` on ranges stay, and from `norms_until` on batch norm does.
    """

    epochs: int
    batch: int
    rate: float
    observers_until: int
    norms_until: int
    seed: int

    def rate_at(self, step: int, steps: int) -> float:
        """The learning rate of a step, of so many in all."""
        warm = max(int(steps * WARM_UP), 1)
        if step < warm:
            return self.rate * (step + 1) / warm
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(steps - warm, 1)))
