"""How a script goes on in the environment that has what it needs. Standard library only."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec

from _environment import chosen
from _problems import EXIT_CODE, INTERRUPTED, SetupError, say

ENTERED = "QEXPLORER_SCRIPT_ENTERED"


def inside(extra: str, words: list[str]) -> int:
    """Run Python with `words` in the environment with that extra, made ready first; returns its exit status."""
    environment = chosen(extra)
    try:
        environment.prepare(extra)
        return wait_for([str(environment.python), *words])
    except SetupError as error:
        say(str(error))
        return EXIT_CODE
    except KeyboardInterrupt:
        say("Interrupted. The next start takes it up again.")
        return INTERRUPTED


def enter(extra: str, *modules: str) -> None:
    """Before any work: where this Python lacks one of the `modules`, run this script where they are, and end with it.

    Where that would have to be installed first, help is the script's docstring.
    """
    lacking = [name for name in modules if find_spec(name) is None]
    if not lacking:
        return
    if {"-h", "--help"} & set(sys.argv[1:]) and not chosen(extra).is_ready(extra):
        print(sys.modules["__main__"].__doc__)
        sys.exit(0)
    if os.environ.get(ENTERED):
        say(f"{', '.join(lacking)} cannot be found in {sys.prefix}. Mend it: python3 scripts/launch.py --repair")
        sys.exit(EXIT_CODE)
    os.environ[ENTERED] = "1"
    sys.exit(inside(extra, sys.argv))


def to_the_end(main: Callable[[], int]) -> int:
    """Do long work that keeps what is done; its exit status, also where a person stops it."""
    try:
        return main()
    except KeyboardInterrupt:
        say("Interrupted. The same command goes on from what is done.")
        return INTERRUPTED


def wait_for(command: list[str]) -> int:
    """Run a command and return its exit status; Ctrl-C reaches it from the console too, and it ends in its own way."""
    process = subprocess.Popen(command)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
