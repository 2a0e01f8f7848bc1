"""Weights: what is open, and which of its tensors is looked at."""

from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QStackedLayout, QWidget

from qexplorer.numbers import count, many, size
from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.state.app_state import AppState
from qexplorer.state.runner import Failed
from qexplorer.text import printable
from qexplorer.weights import Checkpoint, TensorInfo, what_opens
from qexplorer.widgets.controls import caption
from qexplorer.widgets.elided import subject
from qexplorer.widgets.filter_field import NO_MATCH, FilterField
from qexplorer.widgets.messages import Placeholder
from qexplorer.widgets.tensor_model import TensorRow
from qexplorer.widgets.tensor_tree import TensorTree

LEAST_WIDTH = 15
"""So many times the height of a line the tree is wide at least: names, shapes and figures can be read."""


@panels.register
class WeightsPanel(Panel):
    """A filter over the tree of tensors, with totals below."""

    name: ClassVar[str] = "weights"
    title: ClassVar[str] = "Weights"
    order: ClassVar[int] = 10
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 0, width=22, height=30),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._filter = FilterField("Filter tensors", "the SQNR (Ctrl+F)")
        self._filter.setObjectName("filter")
        self._tree = TensorTree()
        self._empty = Placeholder("No weights are open", f"Drop a {what_opens()} here.", "O&pen …")
        self._nothing = Placeholder(*NO_MATCH)
        self._totals = subject()
        self._totals.setContentsMargins(12, 2, 12, 8)
        self._warning = caption("")
        self._warning.setWordWrap(True)
        self._warning.setContentsMargins(12, 0, 12, 0)
        self._warning.hide()
        content = QWidget()
        self._stack = QStackedLayout(content)
        self._stack.addWidget(self._empty)
        self._stack.addWidget(self._tree)
        self._stack.addWidget(self._nothing)
        line = QWidget()
        margin = QHBoxLayout(line)
        margin.setContentsMargins(10, 0, 10, 0)
        margin.addWidget(self._filter)
        self.body.addWidget(line)
        content.setMinimumWidth(LEAST_WIDTH * self.fontMetrics().height())
        self.body.addWidget(content, 1)
        self.body.addWidget(self._warning)
        self.body.addWidget(self._totals)
        self._filter.textChanged.connect(self._tree.show_filter)
        for signal in (self._tree.filter.rowsInserted, self._tree.filter.rowsRemoved, self._tree.filter.layoutChanged):
            signal.connect(self._on_matches)
        self._tree.chosen.connect(self._on_chosen)
        self._empty.pressed.connect(self.open_pressed)
        parts.preview.opened.connect(self.show_checkpoint)
        parts.preview.refused.connect(self.show_refused)
        parts.layers.measured.connect(self._tree.tensors.show_sqnr)
        parts.layers.lost.connect(self._tree.tensors.show_lost)
        parts.layers.flagged.connect(self._tree.tensors.show_flags)
        parts.layers.cleared.connect(self._tree.tensors.clear_sqnr)
        parts.store.changed.connect(self._on_changed)
        parts.themes.changed.connect(self._tree.show_theme)
        self._tree.show_theme(parts.themes.current)

    def focus_tree(self) -> None:
        """Put the keyboard onto the tensors."""
        self._tree.setFocus()

    def focus_filter(self) -> None:
        """Put the cursor into the filter."""
        self._filter.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._filter.selectAll()

    def show_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Show the tensors of an opened file."""
        self.banner.clear()
        self._tree.show_tensors(
            TensorRow(t.name, printable(t.name), t.shape, t.dtype, t.n, t.unsupported, role.name, role.reason,
                      role.weighs, _kind(checkpoint, t))
            for t in checkpoint.tensors
            for role in [checkpoint.roles[t.name]]
        )  # fmt: skip
        self._stack.setCurrentWidget(self._tree)
        self._tree.show_chosen(self.parts.store.state.tensor)
        if self.focusWidget() is None or not self._filter.text():
            self._tree.setFocus()
        self._show_totals()
        remarks = list(checkpoint.warnings)
        if checkpoint.code_references:
            names = ", ".join(printable(r) for r in checkpoint.code_references[:4])
            remarks.append(f"The file refers to code ({names}). It was not run.")
        self._warning.setText("\n".join(remarks))
        self._warning.setVisible(bool(remarks))

    def show_refused(self, failed: Failed) -> None:
        """Say why a file was not opened; what is open stays."""
        if self.parts.preview.checkpoint is None:
            self._tree.show_tensors(())
            self._totals.clear()
            self._warning.hide()
            self._stack.setCurrentWidget(self._empty)
        self.banner.show_message(failed.message, failed.details)

    def _show_totals(self) -> None:
        checkpoint = self.parts.preview.checkpoint
        if checkpoint is None:
            self._totals.clear()
            return
        n, left = len(checkpoint.tensors), self._tree.filter.tensors_left
        tensors = f"{left:,} of {n:,} tensors" if left < n else f"{n:,} tensors" if n != 1 else "1 tensor"
        self._totals.setText(f"{tensors} · {many(checkpoint.parameters)} parameters · {size(checkpoint.nbytes)}")
        roles = sorted(checkpoint.by_role.items(), key=lambda each: -each[1].values)
        self._totals.setToolTip(
            "\n".join(f"{role}: {count(n.values)} values in {count(n.tensors)} tensors" for role, n in roles)
        )

    def _on_matches(self) -> None:
        """Say so where nothing matches, whether the filter or the figures that it compares have changed."""
        self._show_totals()
        if self.parts.preview.checkpoint is not None:
            wanted = self._tree if self._tree.matches or not self._filter.text().strip() else self._nothing
            if self._stack.currentWidget() is not wanted:
                self._stack.setCurrentWidget(wanted)
                self._tree.show_filter(self._filter.text())

    def _on_chosen(self, name: str) -> None:
        self.parts.store.update(tensor=name)

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.tensor != old.tensor:
            self._tree.show_chosen(new.tensor)
        if new.path != old.path:
            self.banner.clear()


def _kind(checkpoint: Checkpoint, tensor: TensorInfo) -> str:
    """Which axis of a tensor is the output's, and how that is known."""
    text = checkpoint.kind(tensor).text
    return f"{text[0].upper()}{text[1:]}." if len(tensor.shape) > 1 else ""
