"""Whether this machine did anything else while it was measured: that can slow one side down far more than the other."""

import os
import time

import psutil

NOTICEABLE = 0.05


class Others:
    """Counts the processor time of everything but this process and its children."""

    def __init__(self) -> None:
        psutil.cpu_percent()
        self._before = _now()

    def share(self) -> float:
        """The part of all cores that others used since the last question."""
        before, self._before = self._before, _now()
        own, wall = (after - start for after, start in zip(self._before, before, strict=True))
        return max(0.0, psutil.cpu_percent() / 100 - own / max(wall * (psutil.cpu_count() or 1), 1e-9))


def _now() -> tuple[float, float]:
    """Processor seconds of this process and its children, and the time."""
    return sum(os.times()[:4]), time.monotonic()
