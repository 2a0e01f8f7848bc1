"""The window: docks every registered panel, opens files, keeps the session, and shuts the work down."""

from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QEvent, Qt, QTimer, Signal
from PySide6.QtGui import (
    QCloseEvent,
    QDragEnterEvent,
    QDragLeaveEvent,
    QDropEvent,
    QGuiApplication,
    QHideEvent,
    QShowEvent,
)
from PySide6.QtWidgets import QFileDialog, QGridLayout, QLabel, QMainWindow, QMenuBar, QMessageBox, QWidget

from qexplorer.engine.jobs.record import let_go
from qexplorer.engine.runs.history import History
from qexplorer.errors import UserError
from qexplorer.folders import state_folder
from qexplorer.inspection.sketch_cache import SketchCache
from qexplorer.log import actions
from qexplorer.menus import Menus
from qexplorer.numbers import many
from qexplorer.panels import Panel, Parts
from qexplorer.panels.advice import AdvicePanel
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.recipe import RecipePanel
from qexplorer.panels.result import ResultPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.panels.weights import WeightsPanel
from qexplorer.quant import Analysis
from qexplorer.resources import resource
from qexplorer.state.advisor import Advisor
from qexplorer.state.app_state import AppState, describe
from qexplorer.state.chosen_runs import ChosenRuns
from qexplorer.state.closer_look import CloserLook
from qexplorer.state.latest import Latest, Service
from qexplorer.state.layer_scan import LayerScan
from qexplorer.state.layout import FILE as LAYOUT
from qexplorer.state.layout import Layout, LayoutFile
from qexplorer.state.preview import Preview
from qexplorer.state.report import facts, report
from qexplorer.state.rules import Rules
from qexplorer.state.runner import Failed, Runner, Task
from qexplorer.state.session import save_session
from qexplorer.state.store import Store
from qexplorer.state.surveys import Surveys
from qexplorer.text import printable
from qexplorer.weights import Checkpoint, is_synthetic, what_opens
from qexplorer.widgets.docks import Dock
from qexplorer.widgets.messages import Banner
from qexplorer.widgets.theme import Themes
from qexplorer.window_place import placed, restore_place
from qexplorer.workspaces import Workspaces, WorkspaceSwitch

SAVE_DELAY_MS = 800
SAMPLE = "mobilenet_v2_digits.safetensors"
P = TypeVar("P", bound=Panel)


class MainWindow(QMainWindow):
    """One model, its scheme, its jobs. Without a `session` file nothing of it is kept."""

    closed = Signal(object)

    def __init__(self, state: AppState, themes: Themes, history: History | None = None, *, session: Path | None = None,
                 layout: LayoutFile | None = None) -> None:  # fmt: skip
        super().__init__()
        self.setWindowTitle("qexplorer")
        self.setAcceptDrops(True)
        self._session = session
        self._layout = layout or LayoutFile(state_folder() / LAYOUT)
        restore_place(self, self._layout.read())
        self.store = Store(state, self)
        sketches = session.with_name("sketches.sqlite3") if session else None
        looking, reading = Runner("preview", parent=self), Runner("history", parent=self)
        measuring = Runner("measuring", after=looking, parent=self)
        self.preview = Preview(self.store, looking, self, SketchCache(sketches))
        self.surveys = Surveys(self.store, self.preview, measuring, self)
        advisor = Advisor(self.store, self.preview, measuring, self)
        self.closer = CloserLook(self.store, self.preview, looking, self)
        self.layers = LayerScan(self.store, self.preview, measuring, self)
        history = history or History()
        self.runs = ChosenRuns(history, reading, self)
        comparing = Latest(reading, rank=2, parent=self)
        self.services: tuple[Service, ...] = (self.surveys, advisor, self.layers, self.closer, self.preview, self.runs,
                                               comparing)  # fmt: skip
        self.jobs = Runner("jobs", timed=self.hold, let_go=let_go, parent=self)
        self.parts = Parts(self.store, self.preview, self.surveys, advisor, self.layers, self.jobs, history, themes,
                           self.runs, comparing, self.closer, Rules(self.store, self.preview, self))  # fmt: skip
        self._subject, self._closing = "", False
        self.workspaces = Workspaces(self.parts, self._layout, self)
        self.setCentralWidget(self.workspaces)
        for panel in self.panels.values():
            panel.open_pressed.connect(self.ask_open)
        self._add_bars()
        self.panel(RunsPanel).resume_asked.connect(self._on_resume_asked)
        self.panel(RunsPanel).train_asked.connect(self._on_train_asked)
        self.panel(RecipePanel).previewed.connect(self.panel(JobsPanel).try_on_a_layer)
        for panel in (self.panel(AdvicePanel), self.panel(ResultPanel)):
            panel.job_made.connect(self.panel(JobsPanel).take)
        self._saver = QTimer(self, singleShot=True, interval=SAVE_DELAY_MS)
        self._saver.timeout.connect(self.save)
        self.store.changed.connect(self._on_changed)
        self.preview.opened.connect(self._on_opened)
        self.preview.refused.connect(self._on_refused)
        self.preview.analyzed.connect(self._on_analyzed)
        for signal in (self.jobs.started, self.jobs.progressed, self.jobs.ended):
            signal.connect(self._on_job)
        themes.choose(state.theme)

    def start(self) -> None:
        """Restore the layout and begin to show what the state says; called once the window is on screen."""
        self.workspaces.start()
        self.panel(WeightsPanel).focus_tree()
        self.preview.start()
        self.runs.reload()

    @property
    def settled(self) -> bool:
        """Whether everything that was chosen is on screen."""
        idle = all(service.idle for service in self.services)
        seen = self.preview.analysis is not None or self.preview.spec is None
        return bool(self.failure) or (seen and idle)

    def hold(self, held: bool) -> None:
        """Let all background work wait while a job times something; any thread may say so."""
        for service in self.services:
            service.hold(held)

    @property
    def failure(self) -> str:
        """What a panel complains of; empty where all is well."""
        return next((text for panel in self.panels.values() if (text := panel.banner.text)), "")

    def show_failure(self, message: str, details: str) -> None:
        """Tell of an error that nobody caught."""
        self.banner.show_message(message, details)

    def report(self, what: str = "") -> str:
        """What the person may send to whoever mends the program."""
        return report(self.preview.checkpoint, what)

    def copy_report(self) -> None:
        """Put the report on the clipboard."""
        QGuiApplication.clipboard().setText(self.report())
        self.statusBar().showMessage("The report is on the clipboard. It names no folders and holds no values.", 8000)

    # -- parts of the window

    @property
    def panels(self) -> dict[str, Panel]:
        """Every panel by its name."""
        return self.workspaces.panels

    @property
    def docks(self) -> dict[str, Dock]:
        """The dock that each panel is in."""
        return self.workspaces.docks

    def show_panel(self, name: str) -> None:
        """Open a panel, where need be in its own workspace, and bring it before those that share its place."""
        self.workspaces.show_panel(name)

    def panel(self, cls: type[P]) -> P:
        """The panel of that class."""
        return next(panel for panel in self.panels.values() if isinstance(panel, cls))

    def _add_bars(self) -> None:
        top, self.banner = QWidget(), Banner(self, over=self.workspaces)
        bar, switch = QMenuBar(top), WorkspaceSwitch(self.store)
        row = QGridLayout(top)
        row.setContentsMargins(4, 4, 4, 4)
        row.setSpacing(0)
        row.addWidget(bar, 0, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(switch, 0, 1, Qt.AlignmentFlag.AlignCenter)
        for side in (0, 2):
            row.setColumnStretch(side, 1)  # the switch stands in the middle of the window
        self.setMenuWidget(top)
        for banner in (self.banner, *(panel.banner for panel in self.panels.values())):
            banner.compose = self.report
        slots = {
            "open": self.ask_open,
            "open_folder": self.ask_folder,
            "sample": self.open_sample,
            "quit": self.close,
            "find": self._on_find,
            "log": self._on_log,
            "report": self.copy_report,
            "reset_layout": self.reset_layout,
            "full_screen": self._on_full_screen,
            "run": self._on_run,
            "cancel": self.cancel_job,
        }
        self.menus = Menus(self, bar, self.store, slots, lambda: self._layout.read().recent)
        self.menus.add_panels({name: panel.title for name, panel in self.panels.items()}, self.workspaces)
        self.menus.path_chosen.connect(self.open_path)
        self.menus.actions["cancel"].setEnabled(False)
        self._facts = QLabel("")
        self._facts.setTextFormat(Qt.TextFormat.PlainText)
        self._facts.setContentsMargins(8, 0, 12, 0)
        self.statusBar().setContentsMargins(8, 0, 0, 0)
        self.statusBar().addPermanentWidget(self._facts)
        self.statusBar().setSizeGripEnabled(False)

    # -- layout and session

    def reset_layout(self) -> None:
        """Put every panel of the workspace back to its place."""
        self.workspaces.reset()

    def save(self) -> None:
        """Keep the session and the layout. A full disk is said in the banner, and what was saved before stays."""
        if self._session is None:
            return
        self._keep_layout(self.workspaces.saved(placed(self, self._layout.read())))
        try:
            save_session(self._session, self.store.state)
        except UserError as error:
            self.banner.show_message(str(error))

    def _keep_layout(self, layout: Layout) -> None:
        try:
            self._layout.write(layout)
        except UserError as error:
            self.banner.show_message(str(error))

    # -- opening

    def open_path(self, path: str) -> None:
        """Open a file, a folder, or `synthetic:NAME`."""
        if not is_synthetic(path):
            path = str(Path(path).expanduser().absolute())
        self.preview.open(path)

    def open_sample(self) -> None:
        """Open the shipped model."""
        self.open_path(str(resource(SAMPLE)))

    def ask_open(self) -> None:
        """Ask for a file."""
        dialog = QFileDialog(self, "Open weights", filter=f"Weights: {what_opens()} (*)")
        self._ask(dialog, QFileDialog.FileMode.ExistingFile)

    def ask_folder(self) -> None:
        """Ask for a folder with a sharded checkpoint."""
        self._ask(QFileDialog(self, "Open a folder of weights"), QFileDialog.FileMode.Directory)

    def _ask(self, dialog: QFileDialog, mode: QFileDialog.FileMode) -> None:
        dialog.setFileMode(mode)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.fileSelected.connect(self.open_path)
        dialog.open()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        urls = event.mimeData().urls()
        if len(urls) == 1 and urls[0].isLocalFile():
            event.acceptProposedAction()
            self.statusBar().showMessage(f"Drop to open {printable(Path(urls[0].toLocalFile()).name)}")
        elif urls:
            self.statusBar().showMessage("Drop one local file or folder.", 5000)

    def dragLeaveEvent(self, event: QDragLeaveEvent) -> None:
        self.statusBar().clearMessage()

    def dropEvent(self, event: QDropEvent) -> None:
        self.statusBar().clearMessage()
        event.acceptProposedAction()
        self.open_path(event.mimeData().urls()[0].toLocalFile())

    # -- what follows from changes

    def _on_changed(self, old: AppState, new: AppState) -> None:
        if new.theme != old.theme:
            self.parts.themes.choose(new.theme)
        same_layers = old.recipe.rules == new.recipe.rules  # rules name layers, which no report has
        actions.info("changed: %s", describe(old, new) if same_layers else "rules")
        self._saver.start()

    def _on_refused(self, failed: Failed) -> None:
        self.show_panel("weights")  # which says why
        actions.info("a file was refused: %s", getattr(failed.error, "kind", type(failed.error).__name__))
        if self.preview.checkpoint is None:
            self._subject = ""
            self._show_title(None)
            self._facts.clear()
        self.statusBar().clearMessage()

    def _on_opened(self, checkpoint: Checkpoint) -> None:
        actions.info("opened %s", facts(checkpoint))
        self._subject = printable(checkpoint.path.name, 80)
        self._show_title(None)
        self._facts.setText(f"{checkpoint.format} · {many(checkpoint.n)} values")
        if self._session is not None and not is_synthetic(checkpoint.path):
            self._keep_layout(self._layout.read().opened(str(checkpoint.path)))

    def _on_analyzed(self, analysis: Analysis) -> None:
        self.statusBar().showMessage(f"{analysis.spec.title}: measured in {analysis.seconds * 1000:.0f} ms", 5000)

    def _on_job(self, task: Task) -> None:
        running = self.jobs.current
        self._show_title(running.progress.fraction if running and running.progress else None)
        self.menus.actions["cancel"].setEnabled(running is not None)
        if task.outcome is not None:
            actions.info("%s: %s", task.title, type(task.outcome).__name__.lower())
            self.statusBar().showMessage(f"{task.title}: {type(task.outcome).__name__.lower()}", 8000)
            if self._closing and not self.jobs.tasks:
                self.close()

    def _show_title(self, share: float | None) -> None:
        parts = [f"{share * 100:.0f} %"] if share is not None else []
        self.setWindowTitle(" – ".join([*parts, *([self._subject] if self._subject else []), "qexplorer"]))

    def _on_run(self) -> None:
        self.show_panel("jobs")
        self.panel(JobsPanel).start()

    def _on_resume_asked(self, run_id: str) -> None:
        self.show_panel("jobs")
        self.panel(JobsPanel).resume(run_id)

    def _on_train_asked(self, run_id: str) -> None:
        self.show_panel("jobs")
        self.panel(JobsPanel).train_on(run_id)

    def _on_find(self) -> None:
        self.show_panel("weights")
        self.panel(WeightsPanel).focus_filter()

    def _on_log(self) -> None:
        self.store.update(log_counts=not self.store.state.log_counts)

    def _on_full_screen(self) -> None:
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)

    def cancel_job(self) -> None:
        """Stop the running job."""
        if self.jobs.current is not None:
            self.jobs.cancel(self.jobs.current)

    # -- being seen

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        self._watch()

    def hideEvent(self, event: QHideEvent) -> None:
        super().hideEvent(event)
        self._watch()

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.WindowStateChange:
            self._watch()

    def _watch(self) -> None:
        """What others write into the history is looked for only while the window can be seen."""
        self.runs.watch(self.isVisible() and not self.isMinimized())

    # -- the end

    def closeEvent(self, event: QCloseEvent) -> None:
        if self.jobs.tasks and not self._closing:
            event.ignore()
            self._ask_to_quit()
            return
        self.save()
        self._saver.stop()
        self.jobs.close()
        for service in self.services:
            service.close()
        self.closed.emit(self)
        event.accept()

    def _ask_to_quit(self) -> None:
        question = QMessageBox(QMessageBox.Icon.Question, "A job is running", "Cancel the job and quit?", parent=self)
        question.setInformativeText("Finished steps are kept: Resume in Runs goes on from the last of them.")
        question.addButton("Cancel the job and quit", QMessageBox.ButtonRole.AcceptRole)
        question.setDefaultButton(question.addButton("Keep running", QMessageBox.ButtonRole.RejectRole))
        question.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        question.accepted.connect(self.quit_after_jobs)
        question.open()

    def quit_after_jobs(self) -> None:
        """Cancel all jobs, and close when they have stopped."""
        self._closing = True
        for task in self.jobs.tasks:
            self.jobs.cancel(task)
        if not self.jobs.tasks:
            self.close()
