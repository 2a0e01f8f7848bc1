"""What this machine lacks for a Qt window, found before Qt starts: Qt itself ends the process without an exception.

`check()` needs the standard library only, and imports PySide6 as its last step. Where nothing is wrong it takes about
as long as `ldd` (some 15 ms) beside that import, which the window needs anyway; so its answer is not kept, and a
library that was removed since yesterday is noticed today.
"""

import argparse
import ctypes
import importlib
import importlib.util
import os
import platform as machine
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

GLIBC = (2, 34)  # the manylinux tag of PySide6's wheels
EXIT_CODE = 3
OS_RELEASE = Path("/etc/os-release")
_DISPLAYS = {"wayland": "WAYLAND_DISPLAY", "xcb": "DISPLAY"}
_OTHER_DISPLAYS = (
    "connect with ssh -X, or use a virtual display (xvfb-run -a ...);"
    " --screenshot FILE draws the window into a picture and needs none."
)

_INSTALL = {
    "apt": "sudo apt install",
    "dnf": "sudo dnf install",
    "pacman": "sudo pacman -S --needed",
    "zypper": "sudo zypper install",
}
_MANAGER_OF = {
    "debian": "apt",
    "ubuntu": "apt",
    "fedora": "dnf",
    "rhel": "dnf",
    "centos": "dnf",
    "arch": "pacman",
    "suse": "zypper",
    "opensuse": "zypper",
}
# Debian and openSUSE name a library's package after its soname by rule; these are the exceptions. An RPM system also
# installs by what a package provides, which is the sure name where the rule does not hold or no name is known.
_DEBIAN = {
    "libglib-2.0.so.0": "libglib2.0-0",
    "libgthread-2.0.so.0": "libglib2.0-0",
    "libz.so.1": "zlib1g",
}
_SUSE_BY_PROVIDES = ("libEGL.", "libGL.", "libGLX.", "libOpenGL.", "libfontconfig.")
_FEDORA_AND_ARCH = {
    "libEGL.so.1": ("libglvnd-egl", "libglvnd"),
    "libGL.so.1": ("libglvnd-glx", "libglvnd"),
    "libGLX.so.0": ("libglvnd-glx", "libglvnd"),
    "libOpenGL.so.0": ("libglvnd-opengl", "libglvnd"),
    "libX11.so.6": ("libX11", "libx11"),
    "libX11-xcb.so.1": ("libX11-xcb", "libx11"),
    "libdbus-1.so.3": ("dbus-libs", "dbus"),
    "libfontconfig.so.1": ("fontconfig", "fontconfig"),
    "libfreetype.so.6": ("freetype", "freetype2"),
    "libglib-2.0.so.0": ("glib2", "glib2"),
    "libgthread-2.0.so.0": ("glib2", "glib2"),
    "libwayland-client.so.0": ("libwayland-client", "wayland"),
    "libwayland-cursor.so.0": ("libwayland-cursor", "wayland"),
    "libwayland-egl.so.1": ("libwayland-egl", "wayland"),
    "libxcb.so.1": ("libxcb", "libxcb"),
    "libxcb-cursor.so.0": ("xcb-util-cursor", "xcb-util-cursor"),
    "libxcb-icccm.so.4": ("xcb-util-wm", "xcb-util-wm"),
    "libxcb-image.so.0": ("xcb-util-image", "xcb-util-image"),
    "libxcb-keysyms.so.1": ("xcb-util-keysyms", "xcb-util-keysyms"),
    "libxcb-randr.so.0": ("libxcb", "libxcb"),
    "libxcb-render.so.0": ("libxcb", "libxcb"),
    "libxcb-render-util.so.0": ("xcb-util-renderutil", "xcb-util-renderutil"),
    "libxcb-shape.so.0": ("libxcb", "libxcb"),
    "libxcb-shm.so.0": ("libxcb", "libxcb"),
    "libxcb-sync.so.1": ("libxcb", "libxcb"),
    "libxcb-util.so.1": ("xcb-util", "xcb-util"),
    "libxcb-xfixes.so.0": ("libxcb", "libxcb"),
    "libxcb-xkb.so.1": ("libxcb", "libxcb"),
    "libxkbcommon.so.0": ("libxkbcommon", "libxkbcommon"),
    "libxkbcommon-x11.so.0": ("libxkbcommon-x11", "libxkbcommon-x11"),
}


@dataclass(frozen=True)
class Problem:
    """What keeps the window from opening, what to do, and the system packages (if any) that would mend it."""

    what: str
    remedy: str
    packages: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.what} {self.remedy}"


def check(environ: Mapping[str, str] = os.environ, platform: str = sys.platform) -> list[Problem]:
    """Everything that would keep Qt from opening a window here; empty when nothing would.

    `environ` and `platform` are those of the process that will start Qt. On Windows torch must have been imported
    before, because this imports Qt and torch's libraries do not load after Qt's.
    """
    found = [glibc_problem()] if platform == "linux" else []
    folder = _pyside_folder()
    if folder is None:
        found.append(Problem("PySide6 is not installed in this Python.", mend()))
    elif platform == "linux":
        found.extend(_linux_problems(folder, environ))
    problems = [problem for problem in found if problem is not None]
    return problems or [problem for problem in [_import_problem()] if problem is not None]


def glibc_problem(libc: tuple[str, str] | None = None) -> Problem | None:
    """The C library, `("glibc", "2.31")`, is older than Qt's wheels were built for; None when it is not."""
    name, version = machine.libc_ver() if libc is None else libc
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if name != "glibc" or numbers >= GLIBC:
        return None
    return Problem(
        f"This Linux has the C library glibc {version}; Qt needs {GLIBC[0]}.{GLIBC[1]} or newer.",
        "Use Debian 12, Ubuntu 22.04, RHEL 9 or anything newer.",
    )


def missing_libraries(ldd_output: str) -> list[str]:
    """The libraries that `ldd` did not find, in the order it names them, each once."""
    return list(dict.fromkeys(re.findall(r"^\s+(\S+) => not found", ldd_output, flags=re.MULTILINE)))


def package_manager(os_release: str) -> str:
    """`apt`, `dnf`, `pacman` or `zypper` for the text of /etc/os-release; empty when it is none of them."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    names = f"{fields.get('ID', '')} {fields.get('ID_LIKE', '')}".replace('"', "").replace("'", "")
    return next((_MANAGER_OF[name] for name in re.split(r"[\s-]+", names) if name in _MANAGER_OF), "")


def library_problem(libraries: Iterable[str], manager: str) -> Problem:
    """The problem of missing `libraries` (sonames), with one line for `manager` that installs them all."""
    libraries = list(libraries)
    what = f"Qt needs system libraries that are missing: {', '.join(libraries)}."
    if manager not in _INSTALL:
        return Problem(what, "Install the packages that contain them with your system's package manager.")
    packages = dict.fromkeys(_package(name, manager) for name in libraries)
    known = tuple(name for name in packages if name)
    unknown = [name for name in libraries if not _package(name, manager)]
    # A provided name such as libEGL.so.1()(64bit) has signs that a shell would take for its own.
    words = " ".join(f"'{name}'" if "(" in name else name for name in known)
    # The command stands last, without a full stop, so that the rest of the line can be copied as it is.
    remedy = f"Install them: {_INSTALL[manager]} {words}" if known else ""
    if unknown:
        remedy = f"No package is known for {', '.join(unknown)}: find and install it. {remedy}".rstrip()
    return Problem(what, remedy, known)


def main(arguments: list[str] | None = None) -> int:
    """Print what is wrong, one line each, and return 3; or say that all is fine and return 0."""
    parser = argparse.ArgumentParser(
        prog="python -m qexplorer.platform_check", description="Says what keeps a Qt window from opening here."
    )
    parser.add_argument(
        "--packages",
        action="store_true",
        help="print the names of the missing system packages only, one a line",
    )
    options = parser.parse_args(arguments)
    problems = check()
    if options.packages:
        print(*(name for problem in problems for name in problem.packages), sep="\n", end="")
        return 0
    for problem in problems:
        print(f"qexplorer: {problem}", file=sys.stderr)
    if not problems:
        print("Qt can open a window here.")
    return EXIT_CODE if problems else 0


def mend() -> str:
    """What installs this program again, or what of it is damaged, in the way in which it came here."""
    if getattr(sys, "frozen", False):
        return "Unpack it again."
    launcher = Path(__file__).resolve().parent.parent / "scripts" / "launch.py"
    if launcher.exists():
        return f"Mend it: python3 {launcher} --repair"
    return f"Install it again: {sys.executable} -m pip install --force-reinstall qexplorer"


def unexpected(error: BaseException) -> str:
    """One line for an error that nobody foresaw; where a package does not load, with what mends the installation."""
    line = f"Unexpected error: {type(error).__name__}: {error}"
    return f"{line}. The installation may be damaged. {mend()}" if isinstance(error, ImportError) else line


def _package(soname: str, manager: str) -> str:
    """The package of `manager` that contains `soname`; empty when it is not known."""
    name, _, version = soname.partition(".so.")
    dash = "-" if name[-1].isdigit() else ""
    fedora, arch = _FEDORA_AND_ARCH.get(soname, (f"{soname}()(64bit)", ""))
    if manager == "apt":
        return _DEBIAN.get(soname, f"{name.lower()}{dash}{version}")
    if manager == "zypper":
        by_rule = f"{name}{dash}{version}".replace(".", "_")
        return f"{soname}()(64bit)" if soname.startswith(_SUSE_BY_PROVIDES) else by_rule
    return fedora if manager == "dnf" else arch


def _pyside_folder() -> Path | None:
    spec = importlib.util.find_spec("PySide6")  # finds without importing
    places = spec.submodule_search_locations if spec is not None else None
    return Path(next(iter(places))) if places else None


def _linux_problems(folder: Path, environ: Mapping[str, str]) -> list[Problem]:
    wanted = _platform_names(environ)
    files = {name: folder / "Qt" / "plugins" / "platforms" / f"libq{name}.so" for name in wanted}
    missing = {name: _missing_of(folder, file) for name, file in files.items() if file.exists()}
    usable = [name for name, libraries in missing.items() if not libraries]
    if not wanted:
        libraries = _missing_of(folder)
        return [_no_display(), *([library_problem(libraries, _manager_here())] if libraries else [])]
    if not missing:
        return [
            Problem(
                f"Qt has no platform plugin named {' or '.join(wanted)}.",
                "Unset QT_QPA_PLATFORM, or set it to wayland, xcb or offscreen.",
            )
        ]
    if not usable:  # Qt takes the first that loads, so what the preferred one lacks is enough
        return [library_problem(next(iter(missing.values())), _manager_here())]
    return [] if any(_display_answers(name, environ) for name in usable) else [_dead_display(environ)]


def _no_display() -> Problem:
    return Problem(
        "There is no display: neither DISPLAY nor WAYLAND_DISPLAY is set.",
        f"Start it from a desktop, {_OTHER_DISPLAYS}",
    )


def _dead_display(environ: Mapping[str, str]) -> Problem:
    shown = " and ".join(f"{name}={environ[name]}" for name in _DISPLAYS.values() if environ.get(name))
    if not shown:
        return _no_display()
    return Problem(
        f"The display {shown} does not answer: it is gone or refuses this user.",
        f"Start it from a terminal of that desktop, {_OTHER_DISPLAYS}",
    )


def _platform_names(environ: Mapping[str, str]) -> list[str]:
    """The platform plugins that Qt will try, in its order (QGuiApplication takes the first that loads)."""
    if explicit := environ.get("QT_QPA_PLATFORM", ""):
        names = [part.split(":", 1)[0] for part in explicit.split(";")]
        return ["wayland" if name == "wayland-egl" else name for name in names if name]
    wayland = environ.get("WAYLAND_DISPLAY") or environ.get("XDG_SESSION_TYPE") == "wayland"
    return ["wayland"] * bool(wayland) + ["xcb"] * bool(environ.get("DISPLAY"))


def _missing_of(folder: Path, *plugins: Path) -> list[str]:
    files = [folder / "QtWidgets.abi3.so", *plugins]
    try:
        answer = subprocess.run(["ldd", *map(str, files)], capture_output=True, text=True, check=False)
    except OSError:  # no ldd here: ask the loader itself, which names the first library only
        return _loader_misses(files)
    return missing_libraries(answer.stdout)


def _loader_misses(files: list[Path]) -> list[str]:
    for file in files:
        try:
            ctypes.CDLL(str(file))
        except OSError as error:
            return [_library_named_in(str(error)) or str(error)]
    return []


def _library_named_in(message: str) -> str:
    match = re.match(r"(\S+\.so[.\d]*): cannot open shared object file", message)
    return match.group(1) if match else ""


def _manager_here() -> str:
    try:
        return package_manager(OS_RELEASE.read_text(encoding="utf-8", errors="replace"))
    except OSError:
        return ""


def _display_answers(name: str, environ: Mapping[str, str]) -> bool:
    """Whether the display of platform `name` lets this process in, asked with the library that Qt asks with."""
    if name not in _DISPLAYS:
        return True
    display = environ.get(_DISPLAYS[name], "").encode() or None
    try:
        if name == "wayland":
            return _wayland_answers(ctypes.CDLL("libwayland-client.so.0"), display)
        return _x11_answers(ctypes.CDLL("libxcb.so.1"), display)
    except OSError:
        return False


def _x11_answers(xcb: ctypes.CDLL, display: bytes | None) -> bool:
    xcb.xcb_connect.restype = ctypes.c_void_p
    xcb.xcb_connection_has_error.argtypes = xcb.xcb_disconnect.argtypes = [ctypes.c_void_p]
    connection = xcb.xcb_connect(display, None)
    refused = xcb.xcb_connection_has_error(connection)
    xcb.xcb_disconnect(connection)
    return not refused


def _wayland_answers(wayland: ctypes.CDLL, display: bytes | None) -> bool:
    wayland.wl_display_connect.restype = ctypes.c_void_p
    wayland.wl_display_disconnect.argtypes = [ctypes.c_void_p]
    connection = wayland.wl_display_connect(display)
    if connection:
        wayland.wl_display_disconnect(connection)
    return bool(connection)


def _import_problem() -> Problem | None:
    """PySide6 does not import: the last resort for what the files themselves did not tell."""
    try:
        importlib.import_module("PySide6.QtWidgets")
    except ImportError as error:
        if library := _library_named_in(str(error)):
            return library_problem([library], _manager_here())
        remedy = mend()
        if sys.platform == "win32":
            remedy = "Install Microsoft's Visual C++ runtime: https://aka.ms/vs/17/release/vc_redist.x64.exe"
        return Problem(f"Qt does not load: {error}.", remedy)
    return None


if __name__ == "__main__":
    sys.exit(main())
