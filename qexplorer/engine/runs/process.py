"""Whether the process that began something is still the one that runs, on each platform and without signals."""

import ctypes
import os
import platform
import subprocess
import sys
from pathlib import Path


def start_token(pid: int) -> str:
    """A word for when process `pid` began, or "" where there is none: a process id alone is used again and again."""
    if sys.platform == "win32":
        return _windows(pid)
    if Path("/proc/self/stat").exists():
        return _linux(pid)
    return _ps(pid)


def own_token() -> tuple[int, str]:
    """This process: its id and its start token."""
    return os.getpid(), start_token(os.getpid())


def is_alive(pid: int, token: str) -> bool:
    """Whether the process that gave `pid` and `token` is still there."""
    return bool(token) and start_token(pid) == token


def host_name() -> str:
    """This machine's name: several may share one data folder, and a process id means something on one of them only."""
    return platform.node()


def _ps(pid: int) -> str:
    same_for_all = {**os.environ, "LC_ALL": "C", "TZ": "UTC0"}  # it writes the date in its caller's language and time
    command = ["ps", "-o", "lstart=", "-p", str(pid)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=same_for_all).stdout.strip()


def _linux(pid: int) -> str:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()  # a program's name, in brackets, may itself hold spaces
    return "" if fields[0] in "ZX" else f"{boot} {fields[19]}"  # proc(5): field 22, in ticks since the boot


def _windows(pid: int) -> str:
    query_limited, still_active = 0x1000, 259
    kernel = ctypes.WinDLL("kernel32")  # pyright: ignore[reportAttributeAccessIssue]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(query_limited, False, pid))
    if not handle:
        return ""
    try:
        code, times = ctypes.c_ulong(), [ctypes.c_ulonglong() for _ in range(4)]
        running = kernel.GetExitCodeProcess(handle, ctypes.byref(code)) and code.value == still_active
        known = kernel.GetProcessTimes(handle, *(ctypes.byref(t) for t in times))
        return str(times[0].value) if running and known else ""
    finally:
        kernel.CloseHandle(handle)
