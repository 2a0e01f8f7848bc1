"""The last session: the state as a JSON file of the person's own, written whole or not at all."""

import json
from pathlib import Path
from typing import Any

from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.state.app_state import AppState

VERSION = 1
STARTED = "A new session was started."


def save_session(path: Path, state: AppState) -> None:
    """Write the state. Raises `UserError` where the disk is full or the folder cannot be written."""
    content = json.dumps({"version": VERSION, "state": state.to_json()}, indent=1)
    try:
        write_whole(path, content.encode())
    except UserError as error:
        raise UserError(f"The session could not be saved. {error.what}", error.remedy) from error


def load_session(path: Path) -> AppState | None:
    """The saved state, or `None` where there is no file. Raises `UserError` for a file that is not a session."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The session {path} cannot be read.", STARTED) from error
    try:
        document: Any = json.loads(text)
        if not isinstance(document, dict) or document.get("version") != VERSION:  # pyright: ignore[reportUnknownMemberType]
            raise UserError(f"The session {path} was written by another version.", STARTED)
        try:
            return AppState.from_json(document["state"])  # pyright: ignore[reportUnknownArgumentType]
        except UserError as error:
            raise UserError(f"The saved session could not be used. {error}", STARTED) from error
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"The session {path} is damaged.", STARTED) from error
