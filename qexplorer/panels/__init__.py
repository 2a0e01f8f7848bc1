"""Panels: one file a dock. A panel binds the store, the preview and the runner to widgets, and holds nothing itself."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from qexplorer.engine.runs.history import History
from qexplorer.plugins import Classes
from qexplorer.state.advisor import Advisor
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
    """In the default layout a panel takes room from the panel `beside`, in the `step`-th split; the first has none.

    A `tabbed` one takes no room but lies behind it.
    """

    step: int
    beside: str = ""
    orientation: Qt.Orientation = Qt.Orientation.Vertical
    tabbed: bool = False


class Panel(QWidget):
    """The content of a dock. `order` is its place for the eye and the Tab key, `place` that in the default layout."""

    name: ClassVar[str]
    title: ClassVar[str]
    place: ClassVar["Place"]
    order: ClassVar[int]
    open_pressed = Signal()

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.parts = parts
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(4)
        self.banner = Banner()
        self.body.addWidget(self.banner)

    @property
    def subject_text(self) -> str:
        """The file and the tensor that are chosen, for the head of saved data."""
        state = self.parts.store.state
        return f"{printable(Path(state.path).name)}, {printable(state.tensor)}"

    def fill_title(self, row: QHBoxLayout) -> None:
        """Put something into the row of the dock's title."""

    def show_in_sight(self, in_sight: bool) -> None:
        """Learn whether the person can see the panel: it is neither closed nor behind another."""


panels: Classes[Panel] = Classes("panel")
"""Each has a dock."""
panels.discover(__name__, list(__path__))
