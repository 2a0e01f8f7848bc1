"""Scheme: how the weights are quantized."""

import shlex
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QWidget

from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.quant import Analysis, QuantSpec
from qexplorer.state.app_state import AppState
from qexplorer.weights import Checkpoint
from qexplorer.widgets.controls import Button
from qexplorer.widgets.spec_form import SpecForm
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars


@panels.register
class SchemePanel(Panel):
    """The form of the spec, and what to do with it."""

    name: ClassVar[str] = "scheme"
    title: ClassVar[str] = "Scheme"
    order: ClassVar[int] = 40
    place: ClassVar[Place] = Place(1, "weights", Qt.Orientation.Horizontal)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._form = SpecForm()
        self._reset = Button("Rese&t")
        self._reset.setToolTip("Put every choice of the scheme back to its default; undo brings them back")
        self._copy = Button("Cop&y command")
        self._copy.setToolTip("Copy the command line that prints this analysis as JSON, for scripts and notebooks")
        for button in (self._reset, self._copy):
            button.setAccessibleName(button.text().replace("&", ""))
        row = QHBoxLayout()
        row.setContentsMargins(12, 0, 12, 8)
        row.addWidget(self._reset, 1)
        row.addWidget(self._copy, 1)
        inner = QWidget()
        inner_column = QHBoxLayout(inner)
        inner_column.setContentsMargins(0, 0, 0, 0)
        inner_column.addWidget(self._form, 1, Qt.AlignmentFlag.AlignTop)
        area = QScrollArea()
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        area.viewport().setAutoFillBackground(False)
        inner.setAutoFillBackground(False)
        self._area = area
        parts.themes.changed.connect(self._on_theme)
        self._on_theme(parts.themes.current)
        self.body.addWidget(area, 1)
        self.body.addLayout(row)
        self._form.edited.connect(self._on_edited)
        self._reset.clicked.connect(self._on_reset)
        self._copy.clicked.connect(self._on_copy)
        parts.store.changed.connect(self._on_changed)
        parts.preview.opened.connect(self._on_opened)
        parts.preview.analyzed.connect(self._on_analyzed)
        self._show()

    def _on_theme(self, theme: Theme) -> None:
        thin_scroll_bars(self._area, theme)
        inner = self._area.widget()
        if inner is not None:
            self._area.setMinimumWidth(inner.minimumSizeHint().width() + 12)

    def _show(self) -> None:
        checkpoint, state = self.parts.preview.checkpoint, self.parts.store.state
        tensor = checkpoint.by_name.get(state.tensor) if checkpoint else None
        if checkpoint is None or tensor is None:
            self._form.show_spec(state.spec, None)
        else:
            guess = checkpoint.kind(tensor)
            self._form.show_spec(state.spec, tensor.shape, guess.kind, guess.text)

    def _on_edited(self, spec: QuantSpec) -> None:
        before = self.parts.store.state
        self.parts.store.update(spec=spec)
        if self.parts.store.state is before:  # nobody was told: the form goes back to what holds
            self._show()

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.spec != old.spec or new.tensor != old.tensor:
            self._show()

    def _on_opened(self, checkpoint: Checkpoint) -> None:
        self._show()

    def _on_analyzed(self, analysis: Analysis) -> None:
        self._reset.setEnabled(analysis.spec != QuantSpec())
        self._form.show_limits(max(analysis.lo, analysis.data_lo), min(analysis.hi, analysis.data_hi))

    def _on_reset(self) -> None:
        self.parts.store.update(spec=QuantSpec())

    def _on_copy(self) -> None:
        state = self.parts.store.state
        words = ["qexplorer", "analyze", state.path, "--tensor", state.tensor]
        for name, value in state.spec.to_json().items():
            if name == "format" or getattr(state.spec, name) != state.spec.default(name):
                words += [f"--{name.replace('_', '-')}", value]
        QGuiApplication.clipboard().setText(shlex.join([*words, "--json"]))
