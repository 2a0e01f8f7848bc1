"""Panels: one file a dock. A panel binds the store, the preview and the runner to widgets, and holds nothing itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from qexplorer.engine.runs.history import History
from qexplorer.plugins import Classes
from qexplorer.state.advisor import Advisor
from qexplorer.state.app_state import Workspace
from qexplorer.state.chosen_runs import ChosenRuns
from qexplorer.state.closer_look import CloserLook
from qexplorer.state.latest import Latest
from qexplorer.state.layer_scan import LayerScan
from qexplorer.state.preview import Preview
from qexplorer.state.rules import Rules
from qexplorer.state.runner import Runner
from qexplorer.state.store import Store
from qexplorer.state.surveys import Surveys
from qexplorer.text import printable
from qexplorer.widgets.messages import Banner
from qexplorer.widgets.theme import Themes


@dataclass(frozen=True)
class Parts:
    """What the window gives each panel."""

    store: Store
    preview: Preview
    surveys: Surveys
    advisor: Advisor
    layers: LayerScan
    jobs: Runner
    history: History
    themes: Themes
    runs: ChosenRuns
    comparing: Latest
    closer: CloserLook
    rules: Rules


@dataclass(frozen=True)
class Place:
    """Where a panel stands in the default layout of a workspace, with the size that it would like, in lines of text.

    It takes room from the panel `beside`, below it or to its right (`across`), in the `step`-th split; the first has
    none. A `tabbed` one takes no room but lies behind it. One that `folds` can be a single line, its title; `folded`
    ones are so at first.

    Where the window has no room for all, those with a number in `yields` give way, the least number first: one with a
    panel `onto` which it can go becomes a tab of that, any other folds.
    """

    workspace: Workspace
    step: int
    beside: str = ""
    across: bool = False
    tabbed: bool = False
    width: int = 0
    height: int = 0
    folds: bool = False
    folded: bool = False
    yields: int = 0
    onto: str = ""


class Panel(QWidget):
    """The content of a dock. `order` is its place for the eye and the Tab key.

    `places` are those in the default layouts; it is at home in the first of them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    places: ClassVar[tuple["Place", ...]]
    order: ClassVar[int]
    open_pressed = Signal()
    panel_asked = Signal(str)  # the name of another panel that is to be shown

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.parts = parts
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(4)
        self.banner = Banner(self)

    @property
    def subject_text(self) -> str:
        """The file and the tensor that are chosen, for the head of saved data."""
        state = self.parts.store.state
        return f"{printable(Path(state.path).name)}, {printable(state.tensor)}"

    def fill_title(self, row: QHBoxLayout) -> None:
        """Put something into the row of the dock's title."""

    @classmethod
    def place_in(cls, workspace: str) -> Place | None:
        """Its place in a workspace's default layout, if it has one."""
        return next((place for place in cls.places if place.workspace == workspace), None)

    def show_in_sight(self, in_sight: bool) -> None:
        """Learn whether the person can see the panel: it is neither closed nor behind another."""


panels: Classes[Panel] = Classes("panel")
"""Each has a dock."""
panels.discover(__name__, list(__path__))
