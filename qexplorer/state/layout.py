"""Where the panels are, and which files were opened last: a JSON file of the person's own.

Qt's `QSettings` would not do: PySide unpickles what such a file calls a Python object.
"""

import base64
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from qexplorer.errors import UserError
from qexplorer.folders import set_aside, write_whole
from qexplorer.settings import read, write

FILE = "layout.json"
MOST_RECENT = 10
MOST_BYTES = 1 << 20


Rect = tuple[int, int, int, int]
"""Left, top, width and height in pixels."""


@dataclass(frozen=True)
class PageLayout:
    """The docks of a workspace: where they are, as Qt tells and takes it in base64; the names of all that it has, of
    those that are folded, and of those that gave way for want of room, with the layouts from which they did.
    """

    panels: str = ""
    docks: list[str] = field(default_factory=list[str])
    folded: list[str] = field(default_factory=list[str])
    yielded: list[str] = field(default_factory=list[str])
    before: list[str] = field(default_factory=list[str])


@dataclass(frozen=True)
class Layout:
    """Where a window was on each screen, and on which it was last; each workspace's docks; the paths that were opened
    last.
    """

    places: dict[str, Rect] = field(default_factory=dict[str, Rect])
    screen: str = ""
    maximized: bool = False
    pages: dict[str, PageLayout] = field(default_factory=dict[str, PageLayout])
    recent: list[str] = field(default_factory=list[str])

    def opened(self, path: str) -> "Layout":
        """The same where that path was opened last."""
        return replace(self, recent=list(dict.fromkeys([path, *self.recent]))[:MOST_RECENT])


class LayoutFile:
    """One file for all windows. What is damaged is set aside; `damage` says so."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage = ""
        self.read()

    def read(self) -> Layout:
        """What was written last, by whichever window."""
        try:
            with self.path.open("rb") as file:
                content = file.read(MOST_BYTES)
            return read(Layout, json.loads(content), "the layout")
        except OSError:  # mostly there is none yet
            return Layout()
        except (ValueError, RecursionError, UserError):
            aside = set_aside(self.path)
            self.damage = f"The layout {self.path} is damaged{f' and was kept as {aside.name}' if aside else ''}."
            return Layout()

    def write(self, layout: Layout) -> None:
        """Keep a layout, whole or not at all. Raises `UserError` where the disk is full or may not be written."""
        try:
            write_whole(self.path, json.dumps(write(layout)).encode())
        except UserError as error:
            raise UserError(f"The layout could not be saved. {error.what}", error.remedy) from error


def packed(content: Any) -> str:
    """A `QByteArray` as text."""
    return base64.b64encode(bytes(content)).decode()


def unpacked(text: str) -> bytes:
    """The bytes that `packed` wrote; none where it is damaged."""
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return b""
