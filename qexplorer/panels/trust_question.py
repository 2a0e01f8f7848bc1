"""The question whether code of the person's own may run."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMessageBox, QWidget

from qexplorer.engine.models.trust import Untrusted, trust
from qexplorer.errors import UserError


def ask_for_trust(
    parent: QWidget, question: Untrusted, again: Callable[[], None], *, refused: Callable[[UserError], None]
) -> None:
    """Ask; after a yes, which is remembered, try `again`. `refused` hears why it could not be remembered."""

    def trusted() -> None:
        try:
            trust(question.path, question.fingerprint)
        except UserError as error:
            refused(error)
        else:
            again()

    box = QMessageBox(QMessageBox.Icon.Warning, "Run this code?", question.what, parent=parent)
    box.setInformativeText(question.remedy)
    box.setTextFormat(Qt.TextFormat.PlainText)
    run = box.addButton("Trust it and run", QMessageBox.ButtonRole.AcceptRole)
    run.setObjectName("trust")
    box.setDefaultButton(box.addButton("Do not run it", QMessageBox.ButtonRole.RejectRole))
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.accepted.connect(trusted)
    box.open()
