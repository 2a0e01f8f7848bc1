"""Where the program keeps what is the person's own: one answer per platform, from platformdirs."""

from pathlib import Path

import platformdirs

from qexplorer.errors import UserError

APP = "qexplorer"


def data_folder() -> Path:
    """The folder of the run history and its artifacts (`XDG_DATA_HOME` on Linux); made if it is missing.

    Raises `UserError` where it cannot be made.
    """
    return _made(platformdirs.user_data_path(APP, appauthor=False))


def state_folder() -> Path:
    """The folder of the last session, the window's layout and crash reports; made if it is missing."""
    return _made(platformdirs.user_state_path(APP, appauthor=False))


def cache_folder() -> Path:
    """The folder of what can be fetched again (`XDG_CACHE_HOME` on Linux); made if it is missing."""
    return _made(platformdirs.user_cache_path(APP, appauthor=False))


def _made(folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"The folder {folder} cannot be made: {error.strerror}.", "Nothing can be kept there until that is mended."
        ) from error
    return folder
