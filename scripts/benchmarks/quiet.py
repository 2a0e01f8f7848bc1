"""Whether this machine did anything else while it was measured: that can slow one side down far more than the other."""

import os
import time
from pathlib import Path

NOTICEABLE = 0.05
STAT = Path("/proc/stat")


class Others:
    """Counts the processor time of everything but this process and its children."""

    def __init__(self) -> None:
        self._before = _now()

    def share(self) -> float | None:
        """The part of all cores that others used since the last question; `None` where the system does not tell."""
        before, self._before = self._before, _now()
        if not STAT.exists():
            return None
        busy, own, wall = (after - start for after, start in zip(self._before, before, strict=True))
        return max(0.0, busy - own) / max(wall * (os.cpu_count() or 1), 1e-9)


def _now() -> tuple[float, float, float]:
    """Processor seconds of everything, those of this process and its children, and the time."""
    own = sum(os.times()[:4])
    if not STAT.exists():
        return 0.0, own, time.monotonic()
    user, nice, system, _idle, _waiting, *interrupts_and_stolen = map(int, STAT.read_text().split("\n")[0].split()[1:9])
    ticks = user + nice + system + sum(interrupts_and_stolen)
    return ticks / os.sysconf("SC_CLK_TCK"), own, time.monotonic()
