"""A line for the path of a file, with its name above it and a button that asks for it."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QFileDialog, QGridLayout, QWidget

from qexplorer.widgets.controls import Button, Field, field_title


class PathField(QWidget):
    """Value in: a path; signal out: that another one was written or chosen. `files` is the filter of the dialog."""

    edited = Signal()

    def __init__(self, name: str, tip: str, files: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._name, self._files = name, files
        self.field = Field()
        self.field.setAccessibleName(name)
        self.field.setToolTip(tip)
        self.field.setMinimumWidth(72)
        self.field.editingFinished.connect(self.edited)
        self.button = Button("…")
        self.button.setMaximumWidth(28)
        self.button.setAccessibleName(f"Choose: {name}")
        self.button.setToolTip(f"Choose: {name}")
        self.button.clicked.connect(self._on_clicked)
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(3)
        grid.setVerticalSpacing(1)
        grid.addWidget(field_title(name, self.field), 0, 0)
        grid.addWidget(self.field, 1, 0)
        grid.addWidget(self.button, 1, 1)

    @property
    def path(self) -> str:
        """What stands there."""
        return self.field.text().strip()

    def show_path(self, path: str) -> None:
        """Show another path."""
        if path != self.path:
            self.field.setText(path)
            self.field.setCursorPosition(0)

    def _on_clicked(self) -> None:
        dialog = QFileDialog(self, f"Choose: {self._name}", filter=f"{self._files};;All files (*)")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self._on_chosen)
        dialog.open()

    def _on_chosen(self, path: str) -> None:
        self.field.setText(path)
        self.edited.emit()
