"""Start qexplorer from a checkout: `python3 scripts/launch.py [FILE ...]`.

Makes `.venv` when it is missing or out of date, mends it when it is damaged, then becomes the program. Standard library
only. This file keeps to the syntax of Python 3.6, so that an older Python can read it and say what it lacks; what needs
more is imported later.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _environment import Environment

OLDEST = (3, 11)
HELP = """\
usage: python3 scripts/launch.py [--offline] [ARGUMENT ...]
       python3 scripts/launch.py [--offline] --repair | --bundle [FOLDER]
       python3 scripts/launch.py --check | --install-desktop | --uninstall [--yes]

Starts qexplorer, on its sample model when no file is named. The first start installs what it needs into .venv (about
2 GB); later ones start at once, and mend .venv where files of it are missing. A checkout that may not be written gets
its environment in qexplorer-environments among your data (~/.local/share on Linux). Every argument but these goes to
qexplorer:

  --offline           use no network: install only from the folder “wheels” in the checkout and PIP_FIND_LINKS; filled
                      on a like machine with: python3 -m pip download -d wheels -c constraints.txt . hatchling editables
  --check             read every installed file, ask whether Qt can open a window, and say what is wrong
  --repair            read every installed file, and install again what is not as it was installed
  --install-desktop   put qexplorer among the desktop's applications, so that it starts by a click and opens files
                      that are dropped on it or opened with it (Linux)
  --uninstall         remove the environment and the desktop entry, then, if you say so, also your runs, settings and
                      caches; each question comes with sizes, and --yes answers all of them
  --bundle [FOLDER]   make FOLDER/qexplorer (default: dist), which starts where there is no Python, and try it
  -h, --help          this text, and that of qexplorer once it is installed

pip takes your proxy and mirror from HTTPS_PROXY, PIP_INDEX_URL and the like, or from its own configuration. On Linux
PyPI's torch brings NVIDIA's libraries. Without such a GPU the install is much smaller like this:

  PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu python3 scripts/launch.py
"""
ACTIONS = ("--check", "--repair", "--install-desktop", "--uninstall", "--bundle")


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
    from _environment import chosen
    from _problems import EXIT_CODE, INTERRUPTED, SetupError, say

    environment = chosen()
    if arguments[:1] == ["--offline"]:
        from _pip import go_offline

        go_offline(environment.root)
        arguments = arguments[1:]
    if arguments[:1] in (["-h"], ["--help"]):
        print(HELP, flush=True)
        if not environment.is_ready():
            return 0
    try:
        if arguments and arguments[0] in ACTIONS:
            return act(environment, arguments[0], arguments[1:])
        environment.prepare()
    except SetupError as error:
        say(str(error))
        return EXIT_CODE
    except KeyboardInterrupt:
        say("Interrupted. The next start takes it up again.")
        return INTERRUPTED
    return become([str(environment.python), "-P", "-m", "qexplorer", *arguments])


def act(environment: "Environment", action: str, options: "list[str]") -> int:
    """Do one of `ACTIONS` and return its exit status."""
    if action == "--check":
        from _check import check

        return check(environment)
    if action == "--uninstall":
        from _uninstall import uninstall

        return uninstall(environment, options)
    if action == "--bundle":
        from _bundle import bundle

        return bundle(environment, options)
    environment.prepare(repair=action == "--repair")
    if action == "--install-desktop":
        from _desktop import install_desktop

        return install_desktop(environment)
    print(f"{environment.folder}: every installed file is as it was installed.")
    return 0


def become(command: "list[str]") -> int:
    """Replace this process by `command`; on Windows, which cannot, run it and return its exit status."""
    if os.name == "posix":
        os.execv(command[0], command)  # noqa: S606 - there is no shell between, which is the point
    from _inside import wait_for

    return wait_for(command)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
