"""The window: docks every panel, keeps the menus, and shuts the work down."""

from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings, Qt, QTimer, Signal
from PySide6.QtGui import QAction, QCloseEvent, QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import QFileDialog, QLabel, QMainWindow, QMenu, QMenuBar, QMessageBox, QVBoxLayout, QWidget

from qexplorer import __version__
from qexplorer.engine.history import History
from qexplorer.errors import UserError
from qexplorer.folders import state_folder
from qexplorer.panels import Panel, Parts, panels
from qexplorer.panels.distribution import DistributionPanel
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.panels.weights import READS, WeightsPanel
from qexplorer.resources import resource
from qexplorer.state.app_state import AppState
from qexplorer.state.preview import Preview
from qexplorer.state.runner import Runner, Task
from qexplorer.state.session import save_session
from qexplorer.state.store import Store
from qexplorer.weights import Checkpoint
from qexplorer.weights.text import shown
from qexplorer.widgets.docks import Dock
from qexplorer.widgets.messages import Banner
from qexplorer.widgets.numbers import many
from qexplorer.widgets.theme import Themes

LAYOUT_VERSION = 1
SAVE_DELAY_MS = 800
RECENT = 10
SAMPLE = "mobilenet_v2_digits.safetensors"
SYNTHETIC = ("normal", "laplace", "uniform", "student_t", "exponential")


def session_file() -> Path:
    """Where the last session is kept."""
    return state_folder() / "session.json"


class MainWindow(QMainWindow):
    """One model, its scheme, its jobs. `closed` is emitted once it has closed with nothing left running."""

    closed = Signal(object)

    def __init__(self, state: AppState, themes: Themes, history: History | None = None, *, session: Path | None = None,
                 settings: QSettings | None = None) -> None:  # fmt: skip
        super().__init__()
        self.setWindowTitle("qexplorer")
        self.setAcceptDrops(True)
        self.setDockNestingEnabled(True)
        self.resize(1440, 900)
        self._session = session
        self._settings = settings or QSettings(str(state_folder() / "layout.ini"), QSettings.Format.IniFormat)
        self.store = Store(state, self)
        self.preview = Preview(self.store, self)
        self.jobs = Runner("jobs", parent=self)
        self.parts = Parts(self.store, self.preview, self.jobs, history or History(), themes)
        self.docks: dict[str, Dock] = {}
        self.panels: dict[str, Panel] = {}
        self.banner = Banner()
        self._add_panels()
        self._add_status()
        self.actions_by_name: dict[str, QAction] = {}
        self._add_menus()
        self._default_layout()
        self._saver = QTimer(self, singleShot=True, interval=SAVE_DELAY_MS)
        self._saver.timeout.connect(self.save)
        self._closing = False
        self._subject = ""
        self.store.changed.connect(self._on_changed)
        self.preview.opened.connect(self._on_opened)
        self.preview.analyzed.connect(self._on_analyzed)
        for signal in (self.jobs.started, self.jobs.progressed, self.jobs.ended):
            signal.connect(self._on_job)
        themes.choose(state.theme)
        self._show_undo()

    def start(self) -> None:
        """Restore the layout and begin to show what the state says; called once the window is on screen."""
        self.restore_layout()
        self.preview.start()

    @property
    def settled(self) -> bool:
        """Whether everything that was chosen is on screen."""
        return bool(self.failure) or (self.preview.analysis is not None and self.preview.idle)

    @property
    def failure(self) -> str:
        """Why nothing can be shown; empty where it can."""
        panels_with_banner = (self.panels["weights"], self.panels["distribution"])
        return next((text for panel in panels_with_banner if (text := getattr(panel, "banner").text)), "")

    def show_failure(self, message: str, report: str) -> None:
        """Tell of an error that nobody caught."""
        self.banner.show_message(message, f"qexplorer {__version__}\n{report}")

    # -- parts of the window

    def _add_panels(self) -> None:
        top = QWidget()
        column = QVBoxLayout(top)
        column.setContentsMargins(0, 0, 0, 0)
        self._menus = QMenuBar(top)
        column.addWidget(self._menus)
        column.addWidget(self.banner)
        self.setMenuWidget(top)
        for cls in panels:
            panel = cls(self.parts)
            dock = Dock(cls.name, cls.title, panel, self)
            panel.fill_title(dock.title_bar.extra)
            self.docks[cls.name], self.panels[cls.name] = dock, panel
        for panel in self.panels.values():
            if isinstance(panel, WeightsPanel | DistributionPanel):
                panel.open_pressed.connect(self.ask_open)

    def _add_status(self) -> None:
        self._facts = QLabel("")
        self._facts.setTextFormat(Qt.TextFormat.PlainText)
        self.statusBar().addPermanentWidget(self._facts)
        self.statusBar().setSizeGripEnabled(False)

    def _add_menus(self) -> None:
        key = QKeySequence.StandardKey
        quit_keys = QKeySequence.keyBindings(key.Quit) or [QKeySequence("Ctrl+Q")]
        jobs, runs = self.panels["jobs"], self.panels["runs"]
        assert isinstance(jobs, JobsPanel)  # noqa: S101
        assert isinstance(runs, RunsPanel)  # noqa: S101
        file, edit, view, run, help_menu = (self._menus.addMenu(t) for t in ("&File", "&Edit", "&View", "&Run", "&Help"))
        self._action(file, "open", "&Open …", key.Open, self.ask_open, "Open a file of weights")
        self._action(file, "open_folder", "Open &Folder …", "Ctrl+Shift+O", self.ask_folder, "Open a sharded checkpoint")
        self._recent = file.addMenu("Open &Recent")
        self._recent.aboutToShow.connect(self._fill_recent)
        self._recent.triggered.connect(self._on_recent)
        self._action(file, "sample", "Open the &Sample Model", "", self.open_sample, "MobileNetV2, trained on digits")
        synthetic = file.addMenu("Open S&ynthetic Values")
        for name in SYNTHETIC:
            synthetic.addAction(name.replace("_", " ").capitalize()).setData(f"synthetic:{name}")
        synthetic.triggered.connect(self._on_recent)
        file.addSeparator()
        self._action(file, "quit", "&Quit", quit_keys, self.close, "Close the window").setMenuRole(QAction.MenuRole.QuitRole)
        self._action(edit, "undo", "&Undo", key.Undo, self.store.undo, "Take the last choice back")
        redo_keys = [QKeySequence("Ctrl+Shift+Z"), QKeySequence("Ctrl+Y")]
        self._action(edit, "redo", "&Redo", redo_keys, self.store.redo, "Make the choice again")
        edit.addSeparator()
        self._action(edit, "find", "&Find a Tensor", key.Find, self._on_find, "Filter the tensors by name, size or SQNR")
        panels_menu = view.addMenu("&Panels")
        for dock in self.docks.values():
            panels_menu.addAction(dock.toggleViewAction())
        self._themes = view.addMenu("&Theme")
        for name in ("system", "light", "dark"):
            action = self._themes.addAction(f"&{name.capitalize()}")
            action.setCheckable(True)
            action.setData(name)
        self._themes.triggered.connect(self._on_theme)
        self._action(view, "log", "&Logarithmic Counts", "Ctrl+L", self._on_log, "Switch the count axis")
        self._action(view, "reset_layout", "&Reset Layout", "", self.reset_layout, "Put every panel back to its place")
        self._action(view, "full_screen", "F&ull Screen", "F11", self._on_full_screen, "Use the whole screen")
        self._action(run, "run", "&Run the Job", "F5", jobs.start, "Queue the job as it is set in Jobs")
        self._action(run, "cancel", "&Cancel the Running Job", "Shift+F5", self.cancel_job, "Stop it; nothing is kept")
        self._action(help_menu, "keys", "&Keyboard Shortcuts", "F1", self.show_keys, "Every key in one list")
        about = self._action(help_menu, "about", "&About qexplorer", "", self.show_about, "Versions and licences")
        about.setMenuRole(QAction.MenuRole.AboutRole)

    def _action(self, menu: QMenu, name: str, text: str, keys: object, slot: Callable[[], object], tip: str) -> QAction:
        action = menu.addAction(text)
        action.setObjectName(name)
        if isinstance(keys, list):
            action.setShortcuts(keys)
        elif keys:
            action.setShortcut(QKeySequence(keys))  # pyright: ignore[reportArgumentType, reportCallIssue]
        action.setStatusTip(tip)
        action.triggered.connect(slot)
        self.addAction(action)  # so that its keys work while the menu bar belongs to the system
        self.actions_by_name[name] = action
        return action

    # -- layout

    def _default_layout(self) -> None:
        area, across, down = Qt.DockWidgetArea, Qt.Orientation.Horizontal, Qt.Orientation.Vertical
        self.setCorner(Qt.Corner.BottomRightCorner, area.RightDockWidgetArea)
        self.setCorner(Qt.Corner.TopRightCorner, area.RightDockWidgetArea)
        self.setCorner(Qt.Corner.TopLeftCorner, area.LeftDockWidgetArea)
        self.setCorner(Qt.Corner.BottomLeftCorner, area.BottomDockWidgetArea)
        last: dict[Qt.DockWidgetArea, Dock] = {}
        for name, dock in self.docks.items():
            where = self.panels[name].area
            dock.setFloating(False)
            if where in last:
                self.splitDockWidget(last[where], dock, down)
            else:
                self.addDockWidget(where, dock)
            last[where] = dock
            dock.show()
        em = self.fontMetrics().height()
        self.resizeDocks([self.docks["weights"], self.docks["distribution"], self.docks["scheme"]],
                         [19 * em, 46 * em, 20 * em], across)  # fmt: skip
        self.resizeDocks([self.docks["distribution"], self.docks["error"], self.docks["jobs"], self.docks["runs"]],
                         [26 * em, 13 * em, 6 * em, 9 * em], down)  # fmt: skip
        self.resizeDocks([self.docks["scheme"], self.docks["metrics"]], [26 * em, 24 * em], down)

    def reset_layout(self) -> None:
        """Put every panel back to its place."""
        for dock in self.docks.values():
            self.removeDockWidget(dock)
        self._default_layout()

    def restore_layout(self) -> None:
        """Bring the last layout back; one that does not fit this version changes nothing."""
        geometry, layout = self._settings.value("geometry"), self._settings.value("layout")
        if isinstance(geometry, QByteArray):
            self.restoreGeometry(geometry)
        if isinstance(layout, QByteArray):
            self.restoreState(layout, LAYOUT_VERSION)

    def save(self) -> None:
        """Keep the session and the layout. A full disk is said in the banner, and nothing is lost that was saved."""
        if self._session is None:
            return
        self._settings.setValue("geometry", self.saveGeometry())
        self._settings.setValue("layout", self.saveState(LAYOUT_VERSION))
        try:
            save_session(self._session, self.store.state)
        except UserError as error:
            self.banner.show_message(str(error))

    # -- opening

    def open_path(self, path: str) -> None:
        """Open a file, a folder, or `synthetic:NAME`."""
        if not path.startswith("synthetic"):
            path = str(Path(path).expanduser().absolute())
        self.store.update(path=path, tensor="")

    def open_sample(self) -> None:
        """Open the shipped model."""
        self.open_path(str(resource(SAMPLE)))

    def ask_open(self) -> None:
        """Ask for a file."""
        dialog = QFileDialog(self, "Open weights", filter=f"Weights ({READS}) (*);;All files (*)")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.open_path)
        dialog.open()

    def ask_folder(self) -> None:
        """Ask for a folder with a sharded checkpoint."""
        dialog = QFileDialog(self, "Open a folder of weights")
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(self.open_path)
        dialog.open()

    def _fill_recent(self) -> None:
        self._recent.clear()
        for path in self._recent_paths():
            action = self._recent.addAction(Path(path).name.replace("&", "&&"))
            action.setData(path)
            action.setStatusTip(path)
        self._recent.setEnabled(True)
        if not self._recent.actions():
            self._recent.addAction("Nothing yet").setEnabled(False)

    def _recent_paths(self) -> list[str]:
        value = self._settings.value("recent", [])
        return [str(p) for p in (value if isinstance(value, list) else [value]) if p]

    def _on_recent(self, action: QAction) -> None:
        self.open_path(str(action.data()))

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        urls = event.mimeData().urls()
        if len(urls) == 1 and urls[0].isLocalFile():
            event.acceptProposedAction()
            self.statusBar().showMessage(f"Drop to open {Path(urls[0].toLocalFile()).name}")
        elif urls:
            self.statusBar().showMessage("Drop one local file or folder.")

    def dragLeaveEvent(self, event: object) -> None:
        self.statusBar().clearMessage()

    def dropEvent(self, event: QDropEvent) -> None:
        self.statusBar().clearMessage()
        event.acceptProposedAction()
        self.open_path(event.mimeData().urls()[0].toLocalFile())

    # -- what follows from changes

    def _on_changed(self, old: AppState, new: AppState) -> None:
        self._show_undo()
        if new.theme != old.theme:
            self.parts.themes.choose(new.theme)
        self._saver.start()

    def _on_opened(self, checkpoint: Checkpoint) -> None:
        path = self.store.state.path
        self._subject = shown(checkpoint.path.name, 80)
        self._show_title(None)
        self._facts.setText(f"{checkpoint.format} · {many(checkpoint.n)} values")
        if self._session is not None:
            recent = [path, *(p for p in self._recent_paths() if p != path)][:RECENT]
            self._settings.setValue("recent", recent)

    def _on_analyzed(self) -> None:
        analysis = self.preview.analysis
        if analysis is not None:
            self.statusBar().showMessage(f"{analysis.spec.title}: measured in {analysis.seconds * 1000:.0f} ms", 5000)

    def _on_job(self, task: Task) -> None:
        running = self.jobs.current
        share = running.progress.fraction if running and running.progress else None
        self._show_title(share)
        self.actions_by_name["cancel"].setEnabled(running is not None)
        if task.outcome is not None:
            self.statusBar().showMessage(f"{task.title}: {type(task.outcome).__name__.lower()}", 8000)
            if self._closing and not self.jobs.tasks:
                self.close()

    def _show_title(self, share: float | None) -> None:
        parts = [f"{share * 100:.0f} %"] if share is not None else []
        self.setWindowTitle(" – ".join([*parts, *([self._subject] if self._subject else []), "qexplorer"]))

    def _show_undo(self) -> None:
        for name, text in (("undo", self.store.undo_text), ("redo", self.store.redo_text)):
            action = self.actions_by_name[name]
            action.setEnabled(bool(text))
            action.setText(f"&{name.capitalize()} {text}".rstrip())
        for action in self._themes.actions():
            action.setChecked(action.data() == self.store.state.theme)

    def _on_find(self) -> None:
        panel = self.panels["weights"]
        self.docks["weights"].show()
        if isinstance(panel, WeightsPanel):
            panel.focus_filter()

    def _on_theme(self, action: QAction) -> None:
        self.store.update(theme=action.data())

    def _on_log(self) -> None:
        self.store.update(log_counts=not self.store.state.log_counts)

    def _on_full_screen(self) -> None:
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def cancel_job(self) -> None:
        """Stop the running job."""
        if self.jobs.current is not None:
            self.jobs.cancel(self.jobs.current)

    # -- help

    def show_keys(self) -> None:
        """List every key."""
        lines = [(a.text().replace("&", ""), ", ".join(k.toString() for k in a.shortcuts())) for a in self.actions_by_name.values()]
        lines += [("Plots: pan, zoom, show all", "arrows, + and −, Home"), ("Choices in a row", "arrows")]
        rows = "".join(f"<tr><td style='padding-right:24px'>{t}</td><td>{k}</td></tr>" for t, k in lines if k)
        self._tell("Keyboard shortcuts", f"<table>{rows}</table>")

    def show_about(self) -> None:
        """Say which versions these are, and under which licences."""
        import platform
        from importlib.metadata import version

        names = ("PySide6-Essentials", "pyqtgraph", "numpy", "torch", "numba")
        parts = "<br>".join(f"{name} {version(name)}" for name in names)
        self._tell(
            f"qexplorer {__version__}",
            f"<p>Python {platform.python_version()}<br>{parts}</p><p>MIT licence. Qt and PySide6 are used under the "
            "LGPL 3; the typeface is Inter (SIL OFL 1.1); the digits are UCI's (CC BY 4.0).</p>",
        )

    def _tell(self, title: str, text: str) -> None:
        box = QMessageBox(QMessageBox.Icon.NoIcon, title, text, QMessageBox.StandardButton.Close, self)
        box.setTextInteractionFlags(Qt.TextInteractionFlag.TextBrowserInteraction)
        box.open()

    # -- the end

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.jobs.tasks and not self._closing:
            event.ignore()
            question = QMessageBox(QMessageBox.Icon.Question, "A job is running", "Cancel the job and quit?", parent=self)
            question.addButton("Cancel the job and quit", QMessageBox.ButtonRole.AcceptRole)
            question.addButton("Go on", QMessageBox.ButtonRole.RejectRole)
            question.accepted.connect(self._quit_after_jobs)
            question.open()
            return
        self.save()
        self._saver.stop()
        self.preview.close()
        self.jobs.close()
        self.closed.emit(self)
        event.accept()

    def _quit_after_jobs(self) -> None:
        self._closing = True
        for task in self.jobs.tasks:
            self.jobs.cancel(task)
        if not self.jobs.tasks:
            self.close()
