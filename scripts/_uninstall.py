"""What launching and using the program has put on this machine, taken away again: each with its size, and asked for."""

import os
import shutil
from pathlib import Path

from _desktop import desktop_files, tell_desktop
from _environment import Environment
from _folders import own_folders
from _problems import os_problem, say

USAGE = 2


def uninstall(environment: Environment, options: list[str]) -> int:
    """Remove the environment and the desktop entry, then the person's own files, each only after a yes.

    Returns 2 where nobody is there to be asked. Raises `SetupError` where something cannot be removed.
    """
    if options not in ([], ["--yes"]):
        say(f"--uninstall takes no {options[0]}, only --yes.")
        return USAGE
    installed = {environment.folder: "the environment", **dict.fromkeys(desktop_files(), "for the desktop")}
    try:
        _remove("Installed for this checkout", installed, yes=bool(options))
        tell_desktop()
        _remove("Your own files, which every copy of qexplorer uses", own_folders(), yes=bool(options))
    except EOFError:
        say("Nobody is there to be asked, so that was not removed; --yes removes everything without a question.")
        return USAGE
    except OSError as error:
        raise os_problem(error, environment.root) from error
    return 0


def size_of(path: Path) -> int:
    """The bytes of a file or of all files in a folder; a link counts for nothing."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    with os.scandir(path) as entries:
        return sum(size_of(Path(entry.path)) for entry in entries)


def in_words(size: int) -> str:
    """A size for a person: `1.9 GB`."""
    number, unit = next(((size / 10**p, u) for p, u in ((9, "GB"), (6, "MB"), (3, "kB")) if size >= 10**p), (size, "B"))
    return f"{number:.1f} {unit}" if number < 10 and unit != "B" else f"{number:.0f} {unit}"


def _remove(title: str, paths: dict[Path, str], *, yes: bool) -> None:
    there = {path: what for path, what in paths.items() if path.is_symlink() or path.exists()}
    if not there:
        print(f"{title}: nothing.")
        return
    print(f"{title}:")
    for path, what in there.items():
        print(f"  {in_words(size_of(path)):>7}  {path} ({'only the link' if path.is_symlink() else what})")
    if not yes and input("Remove? [y/N] ").strip().lower() not in ("y", "yes"):
        print("Kept.")
        return
    for path in there:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
    print("Removed.")
