"""The last session: the state as a JSON file of the person's own, written whole or not at all."""

import contextlib
import json
import os
from pathlib import Path
from typing import Any

from qexplorer.errors import UserError
from qexplorer.state.app_state import AppState

VERSION = 1


def save_session(path: Path, state: AppState) -> None:
    """Write the state. Raises `UserError` where the disk is full or the folder cannot be written."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8") as file:
            json.dump({"version": VERSION, "state": state.to_json()}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):  # where the folder is none, this fails as well
            part.unlink(missing_ok=True)
        raise UserError(
            f"The session could not be saved to {path}: {error.strerror}.", "Free some space or check the folder."
        ) from error


def load_session(path: Path) -> AppState | None:
    """The saved state, or `None` where there is no file. Raises `UserError` for a file that is not a session."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"The session {path} cannot be read.", "Starting afresh.") from error
    try:
        document: Any = json.loads(text)
        if not isinstance(document, dict) or document.get("version") != VERSION:  # pyright: ignore[reportUnknownMemberType]
            raise UserError(f"The session {path} was written by another version.", "Starting afresh.")
        try:
            return AppState.from_json(document["state"])  # pyright: ignore[reportUnknownArgumentType]
        except UserError as error:
            raise UserError(f"The saved session could not be used: {error.what}", "Starting afresh.") from error
    except (ValueError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(f"The session {path} is damaged.", "Starting afresh.") from error
