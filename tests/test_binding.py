"""What the program relies on in the Qt binding itself, and which parts of Qt it may load."""

import json
import subprocess
import sys

from PySide6.QtCore import QObject

ALLOWED = {
    "QtCore", "QtGui", "QtWidgets", "QtSvg", "QtPrintSupport", "QtOpenGL", "QtOpenGLWidgets", "QtTest", "QtNetwork",
    "QtDBus",
}  # fmt: skip
"""Modules under the LGPL; QtCharts and others are under the GPL alone, and no such list is ever complete."""

START = """
import json, sys
from qexplorer.app import make_application
from qexplorer.main_window import MainWindow
from qexplorer.state.app_state import AppState
from qexplorer.widgets.theme import Themes
app = make_application()
window = MainWindow(AppState(), Themes(app))
window.show()
app.processEvents()
loaded = [m for m in sys.modules if m.startswith("PySide6.")]
window.close()
print(json.dumps(loaded))
"""


def test_the_binding_keeps_none_alive():
    """PySide6 6.12.0 on Python 3.11 loses a reference to `None` with each call, and aborts after some thousand."""
    thing = QObject()
    before = sys.getrefcount(None)
    for _ in range(200):
        thing.setObjectName("x")
    assert sys.getrefcount(None) > before - 100


def test_only_modules_of_qt_under_the_lgpl_are_loaded():
    done = subprocess.run([sys.executable, "-c", START], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    loaded = {name.split(".")[1] for name in json.loads(done.stdout.splitlines()[-1])}
    loaded = {name for name in loaded if name.startswith("Qt")}
    assert {"QtCore", "QtGui", "QtWidgets"} <= loaded
    assert loaded <= ALLOWED
