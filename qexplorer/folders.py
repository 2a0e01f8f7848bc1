"""Where the program keeps what is the person's own: one answer per platform, from platformdirs."""

from pathlib import Path

import platformdirs

APP = "qexplorer"


def data_folder() -> Path:
    """The folder of the run history and its artifacts (`XDG_DATA_HOME` on Linux); made if it is missing."""
    return platformdirs.user_data_path(APP, appauthor=False, ensure_exists=True)


def state_folder() -> Path:
    """The folder of the last session, the window's layout and crash reports; made if it is missing."""
    return platformdirs.user_state_path(APP, appauthor=False, ensure_exists=True)
