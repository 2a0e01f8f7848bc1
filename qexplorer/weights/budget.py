"""How much memory reading may take: what this machine, its container and this process's limits leave free."""

import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from qexplorer.weights import limits

PROC, CGROUPS = Path("/proc/self/cgroup"), Path("/sys/fs/cgroup")


def budget() -> int:
    """The bytes that reading may hold at once: a share of what is free now, which leaves room for all else."""
    return int(min(_free()) * limits.MEMORY_SHARE)


def _free() -> Iterator[int]:
    import psutil  # not before the window is there

    yield psutil.virtual_memory().available
    yield from _free_in_container()
    if sys.platform == "linux":
        import resource  # Unix only

        most, _ = resource.getrlimit(resource.RLIMIT_AS)
        if most != resource.RLIM_INFINITY:
            yield max(0, most - psutil.Process().memory_info().vms)


def _free_in_container() -> Iterator[int]:
    """What each control group that this process is in leaves free; of Linux only, versions 1 and 2."""
    with suppress(OSError):
        for line in PROC.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            names = ("memory.max", "memory.current") if not controllers else (
                "memory.limit_in_bytes", "memory.usage_in_bytes")  # fmt: skip
            root = CGROUPS / "memory" if controllers else CGROUPS
            inner = root / path.lstrip("/")
            for group in (inner, *inner.parents):
                if not group.is_relative_to(root):
                    break
                with suppress(OSError, ValueError):  # "max" is no number, and no limit
                    most, used = (int((group / name).read_text()) for name in names)
                    yield max(0, most - used + _cached(group))


def _cached(group: Path) -> int:
    """What of a group's use are pages of files that the system drops as soon as memory is needed."""
    with suppress(OSError, ValueError, StopIteration):
        lines = (group / "memory.stat").read_text().splitlines()
        return int(
            next(line.split()[1] for line in lines if line.startswith(("inactive_file ", "total_inactive_file ")))
        )
    return 0
