"""Random use of the window, in a process that is killed at any time: `python -m soaking.use SEED FOLDER`.

What has certainly reached the disk is written to FOLDER/told.jsonl, one line at a time, for whoever looks afterwards.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QApplication, QMenu, QWidget

from qexplorer.app import make_application, run_window
from qexplorer.engine.jobs import jobs
from qexplorer.errors import UserError
from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.weights import WeightsPanel
from qexplorer.progress import finish
from qexplorer.quant import QuantSpec
from qexplorer.quant.formats import formats
from qexplorer.quant.recipe import LayerSpec, Rule
from qexplorer.state.runner import Done, Task
from qexplorer.weights import DISTRIBUTIONS, open_checkpoint
from soaking.files import mutant

SMALL: dict[str, Any] = {"limit": 8, "timing": "off", "threads": 1, "model": "vit_digits"}
MUTANTS_AT_ONCE = 10
FORBIDDEN = ("socket.connect", "socket.getaddrinfo", "os.system", "os.exec", "os.fork", "webbrowser.open")
GRANULARITIES = ("tensor", "channel", "group:32", "last_axis:16", "block:4x4", "channel:1")
OBSERVERS = ("minmax", "mse", "percentile:99.9", "lp:3", "entropy", "histogram", "aciq", "octav", "hqq", "fixed:-1,1")


class Use:
    """One action after the other, a few a second."""

    def __init__(self, window: MainWindow, rng: random.Random, folder: Path) -> None:
        self.window, self.rng, self.folder = window, rng, folder
        self.good = sorted((folder / "good").iterdir())
        self.attacks = sorted((folder / "attacks").iterdir())
        self.actions: list[Callable[[], None]] = [
            self.open, self.open, self.scheme, self.scheme, self.scheme, self.tensor, self.tensor, self.dock, self.dock,
            self.zoom, self.undo, self.job, self.cancel, self.resume, self.session, self.mutants, self.attack,
            self.click, self.click, self.view,
        ]  # fmt: skip
        window.jobs.ended.connect(self.on_ended)
        self.timer = QTimer(window, interval=40)
        self.timer.timeout.connect(self.act)
        self.timer.start()

    def act(self) -> None:
        for widget in (QApplication.activePopupWidget(), QApplication.activeModalWidget()):
            if widget is not None:
                widget.close()
        self.rng.choice(self.actions)()
        self.timer.setInterval(self.rng.choice((1, 10, 40, 100, 300)))

    def tell(self, kind: str, **facts: object) -> None:
        with (self.folder / "told.jsonl").open("a") as file:
            file.write(json.dumps({"kind": kind, "at": time.time(), **facts}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def on_ended(self, task: Task) -> None:
        if isinstance(task.outcome, Done) and task.about is not None:
            self.tell("done", run_id=task.about, result=self.window.parts.history.get(task.about).result_json)
        elif task.outcome is not None:
            self.tell("ended", how=type(task.outcome).__name__, why=getattr(task.outcome, "message", ""))

    def open(self) -> None:
        made_up = [f"synthetic:{name}" for name in DISTRIBUTIONS]
        self.window.open_path(self.rng.choice([*map(str, self.good), self.rng.choice(made_up)]))

    def attack(self) -> None:
        self.window.open_path(str(self.rng.choice(self.attacks)))
        self.tell("attack")

    def mutants(self) -> None:
        path = self.good[0]
        for _ in range(MUTANTS_AT_ONCE):
            original = self.rng.choice([path for path in self.good if path.is_file()])
            path = mutant(original, self.folder / f"mutant{original.suffix}", self.rng)
            try:
                checkpoint = finish(open_checkpoint(str(path)))
                for tensor in checkpoint.tensors[:2]:
                    checkpoint.read(tensor)
            except UserError:
                pass
        self.window.open_path(str(path))
        self.tell("mutants", n=MUTANTS_AT_ONCE)

    def scheme(self) -> None:
        state, rng = self.window.store.state, self.rng
        spec = state.recipe.of(state.tensor).weights or QuantSpec()
        name, value = rng.choice((
            ("format", rng.choice([each.name for each in formats])), ("granularity", rng.choice(GRANULARITIES)),
            ("observer", rng.choice(OBSERVERS)), ("scheme", rng.choice(("symmetric", "affine"))),
        ))  # fmt: skip
        try:
            layer = LayerSpec(QuantSpec.from_json({**spec.to_json(), name: value}))
        except UserError:
            return
        own = state.tensor and rng.random() < 0.3
        recipe = state.recipe.with_rule(Rule(state.tensor, layer)) if own else replace(state.recipe, every=layer)
        self.window.store.update(recipe=recipe)

    def tensor(self) -> None:
        checkpoint = self.window.preview.checkpoint
        if checkpoint is not None and checkpoint.tensors:
            self.window.store.update(tensor=self.rng.choice(checkpoint.tensors).name)
            self.window.panel(WeightsPanel).focus_filter()

    def dock(self) -> None:
        dock = self.rng.choice(list(self.window.docks.values()))
        match self.rng.randrange(5):
            case 0 | 1:
                dock.setFloating(not dock.isFloating())
            case 2:
                dock.setVisible(not dock.isVisible())
            case 3:
                self.window.show_panel(dock.objectName())
            case _:
                self.window.reset_layout()

    def zoom(self) -> None:
        keys = (Qt.Key.Key_Plus, Qt.Key.Key_Minus, Qt.Key.Key_Left, Qt.Key.Key_Home, Qt.Key.Key_B)
        for widget in self.window.docks["distribution"].findChildren(QWidget)[:20]:
            if widget.isVisible():
                QTest.keyClick(widget, self.rng.choice(keys))

    def undo(self) -> None:
        (self.window.store.undo if self.rng.random() < 0.7 else self.window.store.redo)()

    def job(self) -> None:
        if len(self.window.jobs.tasks) < 2:
            name = self.rng.choice(("evaluate", "weight-only", "ptq-dynamic", "ptq-static", "cast"))
            known = {field for field in SMALL if field in jobs[name].__dataclass_fields__}
            self.window.store.update(job=jobs[name](**{field: SMALL[field] for field in known}))
            self.window.panel(JobsPanel).start()

    def cancel(self) -> None:
        if self.rng.random() < 0.2:
            self.window.cancel_job()

    def resume(self) -> None:
        runs = [run for run in self.window.parts.history.runs() if run.status in ("interrupted", "cancelled")]
        if runs and not self.window.jobs.tasks:
            self.window.panel(JobsPanel).resume(self.rng.choice(runs).run_id)

    def session(self) -> None:
        self.window.save()
        self.tell("saved")

    def view(self) -> None:
        names = ("log", "full_screen", "reset_layout", "find", "report", "sample", "keys", "about")
        self.window.menus.actions[self.rng.choice(names)].trigger()
        self.window.store.update(theme=self.rng.choice(("light", "dark", "system")))

    def click(self) -> None:
        """Press what can be pressed, or click anywhere."""
        found = [w for w in self.window.findChildren(QWidget) if w.isVisible() and not isinstance(w, QMenu)]
        buttons = [w for w in found if isinstance(w, QAbstractButton)]
        widget = self.rng.choice(buttons if buttons and self.rng.random() < 0.5 else found)
        at = QPoint(self.rng.randrange(max(1, widget.width())), self.rng.randrange(max(1, widget.height())))
        QTimer.singleShot(50, self.window, self._close_popups)
        QTest.mouseClick(widget, Qt.MouseButton.LeftButton, pos=at)

    def _close_popups(self) -> None:
        for widget in (QApplication.activePopupWidget(), QApplication.activeModalWidget()):
            if widget is not None:
                widget.close()


def _forbid(event: str, args: tuple[object, ...]) -> None:
    """Nothing in a file, and nothing in this program while it looks at files, reaches for the network or a shell."""
    if event in FORBIDDEN:
        raise RuntimeError(f"{event} {args}")


def main() -> int:
    """Use the window until it is killed, or close it after so many seconds."""
    seed, folder, seconds = int(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
    app, uses = make_application(), list[Use]()
    sys.addaudithook(_forbid)

    def begin() -> None:
        window = next((w for w in app.topLevelWidgets() if isinstance(w, MainWindow)), None)
        if window is None or not (window.settled or window.failure):
            QTimer.singleShot(50, app, begin)
            return
        (folder / "ready.part").write_text(window.banner.text)
        (folder / "ready.part").replace(folder / "ready.txt")
        if seconds > 0:
            uses.append(Use(window, random.Random(seed), folder))  # noqa: S311
        QTimer.singleShot(round(seconds * 1000), window, window.quit_after_jobs)

    QTimer.singleShot(0, app, begin)
    return run_window([])


if __name__ == "__main__":
    sys.exit(main())
