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


def test_the_state_needs_no_more_of_qt_than_its_core():
    code = (
        "import sys, pkgutil, importlib, qexplorer.state as s\n"
        "for m in pkgutil.iter_modules(s.__path__): importlib.import_module(f'qexplorer.state.{m.name}')\n"
        "print([m for m in sys.modules if m.startswith(('PySide6.Qt', 'pyqtgraph'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.strip() == "['PySide6.QtCore']", done.stderr


def test_an_error_is_reported_where_there_is_no_console():
    code = (
        "import sys; from PySide6.QtCore import QCoreApplication\n"
        "from qexplorer.state.failures import Failures\n"
        "app = QCoreApplication([]); f = Failures(); f.install(); told = []\n"
        "f.happened.connect(lambda a, b: told.append(a)); out, sys.stderr = sys.stdout, None\n"
        "sys.excepthook(ValueError, ValueError('lost'), None); app.processEvents(); print(told, file=out)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert "lost" in done.stdout
