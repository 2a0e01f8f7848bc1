"""The dialog that asks where a file is to be saved."""

from collections.abc import Callable, Mapping

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QWidget


def ask_where(parent: QWidget, title: str, kinds: Mapping[str, str], save: Callable[[str], object],
              name: str = "") -> QFileDialog:  # fmt: skip
    """Ask for a path, and then `save` there.

    `kinds` has the ending of each kind of file by its filter, `Table (*.csv)`: `csv`; the first is offered. `name`
    proposes a file without its ending.
    """
    dialog = QFileDialog(parent, title, filter=";;".join(kinds))

    def show_kind(kind: str) -> None:
        dialog.setDefaultSuffix(kinds[kind])
        if name:
            dialog.selectFile(f"{name}.{kinds[kind]}")

    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.filterSelected.connect(show_kind)
    show_kind(next(iter(kinds)))
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.fileSelected.connect(save)
    dialog.open()
    return dialog
