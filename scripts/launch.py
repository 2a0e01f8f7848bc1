"""Start qexplorer from a checkout: `python3 scripts/launch.py [FILE ...]`.

Makes `.venv` when it is missing or out of date, then becomes the program. Standard library only. This file keeps to
the syntax of Python 3.6, so that an older Python can read it and say what it lacks; what needs more is imported later.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _environment import Environment

OLDEST = (3, 11)
APP_ID = "org.qexplorer.QExplorer"
HELP = """\
usage: python3 scripts/launch.py [ARGUMENT ...]
       python3 scripts/launch.py --install-desktop

Starts qexplorer, on its sample model when no file is named. The first start installs what it needs into .venv (about
2 GB); later ones start at once. Every argument but these two goes to qexplorer:

  --install-desktop   put qexplorer among the desktop's applications, so that it starts by a click and opens files
                      that are dropped on it or opened with it (Linux)
  -h, --help          this text, and that of qexplorer once it is installed

On Linux PyPI's torch brings NVIDIA's libraries. Without such a GPU the install is much smaller like this:

  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu python3 scripts/launch.py
"""

# Types for which the desktop offers the program. Most have no name in the shared database yet, so it gets one.
FILE_TYPES = {
    "application/x-safetensors": ("Safetensors weights", ("safetensors",)),
    "application/x-pytorch": ("PyTorch checkpoint", ("pt", "pth", "ckpt")),
    "application/x-numpy": ("NumPy array", ("npy", "npz")),
}


def require_python(version: tuple) -> None:
    """End with one line that says what to do when `version`, that of `sys.version_info`, is too old."""
    if tuple(version[:2]) >= OLDEST:
        return
    this, needed = (".".join(map(str, numbers)) for numbers in (version[:3], OLDEST))
    sys.stderr.write(
        f"qexplorer: This is Python {this}, and {needed} or newer is needed. Install one from your system's packages "
        "or https://www.python.org/downloads/ and start with it, for example: python3.12 scripts/launch.py\n"
    )
    sys.exit(3)


def main(arguments: "list[str]") -> int:
    """Make the environment ready and become the program; returns an exit status only where that is not possible."""
    require_python(sys.version_info)
    from _environment import EXIT_CODE, INTERRUPTED, Environment, SetupError, say

    environment = Environment()
    asks_for_help = arguments[:1] in (["-h"], ["--help"])
    if asks_for_help:
        print(HELP, flush=True)
        if not environment.is_ready():
            return 0
    try:
        environment.prepare()
        if arguments[:1] == ["--install-desktop"]:
            return install_desktop(environment)
    except SetupError as error:
        say(str(error))
        return EXIT_CODE
    except KeyboardInterrupt:
        say("Interrupted. The next start takes it up again.")
        return INTERRUPTED
    return become([str(environment.python), "-P", "-m", "qexplorer", *arguments])


def become(command: "list[str]") -> int:
    """Replace this process by `command`; on Windows, which cannot, run it and return its exit status."""
    if os.name == "posix":
        os.execv(command[0], command)  # noqa: S606 - there is no shell between, which is the point
    import subprocess

    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:  # the console sent it to the program as well, which ends in its own way
            continue


def install_desktop(environment: "Environment") -> int:
    """Write the desktop entry, the icon and the names of the file types where this user's desktop looks for them."""
    from _environment import os_problem, say

    if not sys.platform.startswith("linux"):
        say("Only Linux desktops take such an entry. Here, make a shortcut to scripts/launch.py instead.")
        return 2
    import shutil
    import subprocess
    from pathlib import Path

    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    icon = environment.root / "resources" / "qexplorer.svg"
    files = {
        data / "applications" / f"{APP_ID}.desktop": desktop_entry(environment),
        data / "icons" / "hicolor" / "scalable" / "apps" / f"{APP_ID}.svg": icon.read_text(encoding="utf-8"),
        data / "mime" / "packages" / f"{APP_ID}.xml": file_type_names(),
    }
    try:
        for path, text in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise os_problem(error, data) from error
    for command, folder in (("update-mime-database", "mime"), ("update-desktop-database", "applications")):
        if shutil.which(command):
            subprocess.run([command, str(data / folder)], check=False)
    say(f"Installed {data / 'applications' / APP_ID}.desktop; qexplorer is among the desktop's applications now.")
    return 0


def desktop_entry(environment: "Environment") -> str:
    """The text of the desktop entry: it starts this script, and is hidden while the checkout's `.venv` is gone."""
    from _environment import base_python

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


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
