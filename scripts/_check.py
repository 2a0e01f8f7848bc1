"""Whether an environment is as it was installed and can show a window here; changes nothing."""

import subprocess

from _environment import Environment
from _problems import EXIT_CODE, listed, say

MEND = "python3 scripts/launch.py --repair"


def check(environment: Environment) -> int:
    """Say what is wrong, a line each, and the command that mends it; 0 where nothing is, else `EXIT_CODE`."""
    found = environment.complaints()
    damaged = environment.damaged(read=True)
    if damaged:
        found.append(f"Files of {listed(damaged)} are missing or damaged.")
    for what in found:
        say(f"{what} Mend it: {MEND}")
    if found:
        return EXIT_CODE
    print(f"{environment.folder}: every installed file is as it was installed.", flush=True)
    command = [str(environment.python), "-P", "-m", "qexplorer.platform_check"]
    return subprocess.run(command, check=False).returncode
