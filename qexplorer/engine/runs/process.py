"""Whether the process that began something is still the one that runs."""

import os
import platform


def start_token(pid: int) -> str:
    """When process `pid` began, or "" where there is none: a process id alone is used again and again.

    In seconds since the boot on Linux, where the clock may be set while a process runs, and since 1970 elsewhere.
    """
    import psutil  # not before the window is there

    if not psutil.pid_exists(pid):
        return ""
    try:
        process = psutil.Process(pid)
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return ""
        began = process.create_time()
    except psutil.Error:
        return ""
    return f"{began - psutil.boot_time() if psutil.LINUX else began:.2f}"


def own_token() -> tuple[int, str]:
    """This process: its id and its start token."""
    return os.getpid(), start_token(os.getpid())


def is_alive(pid: int, token: str) -> bool:
    """Whether the process that gave `pid` and `token` is still there."""
    now = start_token(pid)
    return bool(now) and now == _in_seconds(token)


def host_name() -> str:
    """This machine's name: several may share one data folder, and a process id means something on one of them only."""
    return platform.node()


def _in_seconds(token: str) -> str:
    """Histories of qexplorer 0.1 have the id of the boot and ticks since then: “0b1f… 12345”."""
    import psutil

    boot, _, ticks = token.partition(" ")
    return f"{int(ticks) / os.sysconf('SC_CLK_TCK'):.2f}" if boot and ticks.isdecimal() and psutil.LINUX else token
