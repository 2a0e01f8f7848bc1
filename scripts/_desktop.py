"""What a Linux desktop needs to start the program by a click and to open files with it."""

import shutil
import subprocess
import sys
from pathlib import Path

from _environment import Environment, base_python
from _folders import home_of
from _problems import os_problem, say

APP_ID = "org.qexplorer.QExplorer"
# Types for which the desktop offers the program. Most have no name in the shared database yet, so it gets one.
FILE_TYPES = {
    "application/x-safetensors": ("Safetensors weights", ("safetensors",)),
    "application/x-pytorch": ("PyTorch checkpoint", ("pt", "pth", "ckpt")),
    "application/x-numpy": ("NumPy array", ("npy", "npz")),
}


def install_desktop(environment: Environment) -> int:
    """Write the desktop entry, the icon and the names of the file types where this user's desktop looks for them."""
    if not sys.platform.startswith("linux"):
        say("Only Linux desktops take such an entry. Here, make a shortcut to scripts/launch.py instead.")
        return 2
    icon = environment.root / "resources" / "qexplorer.svg"
    texts = (desktop_entry(environment), icon.read_text(encoding="utf-8"), file_type_names())
    entry, *_ = desktop_files()
    try:
        for path, text in zip(desktop_files(), texts, strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise os_problem(error, entry.parent) from error
    tell_desktop()
    say(f"Installed {entry}; qexplorer is among the desktop's applications now.")
    return 0


def desktop_files() -> tuple[Path, Path, Path]:
    """Where this user's desktop looks for the entry, the icon and the file types."""
    data = home_of("DATA")
    return (
        data / "applications" / f"{APP_ID}.desktop",
        data / "icons" / "hicolor" / "scalable" / "apps" / f"{APP_ID}.svg",
        data / "mime" / "packages" / f"{APP_ID}.xml",
    )


def tell_desktop() -> None:
    """Let the desktop read anew which programs and file types there are."""
    for command, folder in (("update-mime-database", "mime"), ("update-desktop-database", "applications")):
        place = home_of("DATA") / folder
        if shutil.which(command) and place.is_dir():
            subprocess.run([command, str(place)], check=False)


def desktop_entry(environment: Environment) -> str:
    """The text of the desktop entry: it starts the launcher, and is hidden while the checkout's `.venv` is gone."""
    script = environment.root / "scripts" / "launch.py"
    return "\n".join(
        [
            "[Desktop Entry]",
            "Type=Application",
            "Name=qexplorer",
            "GenericName=Quantization Explorer",
            "Comment=See what a number format does to the weights of a model",
            f"Exec={quoted(base_python())} {quoted(str(script))} %F",
            f"TryExec={escaped(str(environment.python))}",
            f"Icon={APP_ID}",
            "Terminal=false",
            "StartupNotify=true",
            "StartupWMClass=qexplorer",
            "Categories=Science;ArtificialIntelligence;DataVisualization;",
            "Keywords=quantization;weights;model;int8;safetensors;gguf;",
            f"MimeType={''.join(f'{name};' for name in FILE_TYPES)}",
            "",
        ]
    )


def quoted(argument: str) -> str:
    """`argument` as one word of a desktop entry's Exec line, by the rules of the Desktop Entry Specification."""
    for sign in '\\"`$':
        argument = argument.replace(sign, f"\\{sign}")
    return escaped(f'"{argument}"'.replace("%", "%%"))


def escaped(value: str) -> str:
    """`value` as a string of a desktop entry."""
    for sign, name in (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        value = value.replace(sign, name)
    return value


def file_type_names() -> str:
    """The definition of `FILE_TYPES` for the shared database of file types."""
    types = "".join(
        f'  <mime-type type="{name}">\n    <comment>{comment}</comment>\n'
        + "".join(f'    <glob pattern="*.{ending}"/>\n' for ending in endings)
        + "  </mime-type>\n"
        for name, (comment, endings) in FILE_TYPES.items()
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<mime-info xmlns="http://www.freedesktop.org/standards/shared-mime-info">\n{types}</mime-info>\n'
    )
