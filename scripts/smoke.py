"""Starts the real program in a real window, clicks through the main job, and saves a picture as proof.

Run by the tests on a virtual screen; exits 0 when everything that was clicked did what it should.
"""

import sys

if __name__ == "__main__":
    from launch import require_python

    require_python(sys.version_info)
    from _inside import enter

    enter("", "PySide6", "torch", "qexplorer")

import argparse
import gc
import time
from collections.abc import Callable
from pathlib import Path

from PySide6.QtCore import Qt, QTimer
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication

from qexplorer.app import make_application, run_window
from qexplorer.main_window import MainWindow
from qexplorer.panels.jobs import JobsPanel
from qexplorer.panels.runs import RunsPanel
from qexplorer.widgets.controls import Combo
from qexplorer.widgets.segmented import Segmented


class Smoke:
    """The clicks, each followed by a look at what they did."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.window.resize(1440, 900)
        self.wait("the sample is drawn", lambda: self.window.settled)

    def wait(self, what: str, condition: Callable[[], bool], seconds: float = 240) -> None:
        """Let events run until something is so."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                sys.exit(f"smoke: this did not happen in {seconds:.0f} s: {what}. {self.window.failure}")
            QApplication.processEvents()
            time.sleep(0.01)
        print(f"smoke: {what}", flush=True)

    def click(self, name: str, value: object) -> None:
        """Click an option of a segmented control."""
        control = self.window.findChild(Segmented, name)
        if control is None:
            sys.exit(f"smoke: there is no control {name}")
        at = control.rect_of(value).center().toPoint()
        QTest.mouseClick(control, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier, at)

    def choose(self, name: str, value: str) -> None:
        """Choose an entry of a list by the keyboard."""
        control = self.window.findChild(Combo, name)
        if control is None:
            sys.exit(f"smoke: there is no control {name}")
        control.setFocus()
        QTest.keyClick(control, Qt.Key.Key_Home)
        for _ in range(control.findData(value)):
            QTest.keyClick(control, Qt.Key.Key_Down)

    def run(self) -> None:
        """Explore, run, cancel."""
        before = self.sqnr()
        self.click("bits", "int8")
        self.wait("8 bits raise the SQNR", lambda: self.sqnr() > before + 10)
        self.choose("granularity", "channel")
        self.wait("a scale per channel", lambda: self.scales() > 1)
        jobs, runs = self.window.panel(JobsPanel), self.window.panel(RunsPanel)
        QTest.mouseClick(jobs.run_button, Qt.MouseButton.LeftButton)
        QTest.mouseClick(jobs.run_button, Qt.MouseButton.LeftButton)
        self.wait("two jobs are queued", lambda: len(self.window.jobs.tasks) == 2)
        self.window.jobs.cancel(self.window.jobs.tasks[1])
        self.wait("four results are in the table", lambda: len(runs.table.lines.shown) == 4)
        self.wait("nothing is running", lambda: not self.window.jobs.tasks)
        self.choose("granularity", "tensor")
        self.click("bits", "int4")
        self.wait("the window is settled", lambda: self.window.settled)

    def sqnr(self) -> float:
        """The SQNR on screen, in dB."""
        analysis = self.window.preview.analysis
        return analysis.metrics.sqnr_db if analysis else 0.0

    def scales(self) -> int:
        """How many scales the tensor on screen has."""
        analysis = self.window.preview.analysis
        return len(analysis.params.scale) if analysis else 0

    def save(self, target: Path) -> None:
        """Save the picture, and look whether there is something on it."""
        picture = self.window.grab()
        image = picture.toImage()
        colors = {image.pixel(x, y) for x in range(0, image.width(), 7) for y in range(0, image.height(), 7)}
        if not picture.save(str(target)) or len(colors) < 20:
            sys.exit(f"smoke: the picture is blank: {len(colors)} colours")
        size = f"{image.width()}×{image.height()}, {target.stat().st_size:,} bytes"
        print(f"smoke: {target.name}: {size}, {len(colors)} colours, platform {QApplication.platformName()}")


def main() -> int:
    """Start the program as a person does, click through, save the picture, close."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--screenshot", type=Path, required=True, help="where to save the picture")
    target = parser.parse_args().screenshot
    app = make_application()
    failures: list[str] = []

    def drive() -> None:
        gc.collect()  # what nobody holds is gone now, not some time later
        window = next(w for w in app.topLevelWidgets() if isinstance(w, MainWindow))
        try:
            smoke = Smoke(window)
            smoke.run()
            smoke.save(target)
        except SystemExit as stop:
            failures.append(str(stop))
        for task in window.jobs.tasks:
            window.jobs.cancel(task)
        while window.jobs.tasks:
            QApplication.processEvents()
        window.close()

    QTimer.singleShot(1500, app, drive)
    status = run_window([])
    for failure in failures:
        print(failure, file=sys.stderr)
    return status or len(failures)


if __name__ == "__main__":
    sys.exit(main())
