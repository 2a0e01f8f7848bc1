"""What can be taken out of a plot: its picture, and its numbers as a table."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PySide6.QtCore import QBuffer, QObject, QPoint, QRect, Signal
from PySide6.QtGui import QGuiApplication, QPainter
from PySide6.QtSvg import QSvgGenerator
from PySide6.QtWidgets import QGraphicsView, QMenu

from qexplorer.errors import UserError
from qexplorer.folders import write_whole
from qexplorer.numbers import count, shape
from qexplorer.quant.analysis import Analysis
from qexplorer.widgets.save_dialog import ask_where


@dataclass(frozen=True)
class PlotData:
    """The numbers behind a plot: what they are of, and columns of equal length by title."""

    about: str
    columns: dict[str, np.ndarray]

    def as_text(self, separator: str) -> str:
        """The table with its titles; numbers with a decimal point, whatever the language of the system."""
        out = io.StringIO()
        writer = csv.writer(out, delimiter=separator, lineterminator="\n")
        if separator == ",":
            out.write("".join(f"# {line}\n" for line in self.about.splitlines()))
        writer.writerow(self.columns)
        writer.writerows(zip(*(column.tolist() for column in self.columns.values()), strict=True))
        return out.getvalue()


def about(analysis: Analysis) -> str:
    """What the numbers are of: the shape, every field of the spec, and how much was counted."""
    spec = ", ".join(f"{name} {value}" for name, value in analysis.applied.to_json().items())
    return f"{shape(analysis.shape)}, {count(analysis.metrics.n)} values ({analysis.coverage})\n{spec}"


class PlotMenu(QObject):
    """The context menu of a plot. `failed` says why a file could not be written."""

    failed = Signal(str)

    def __init__(self, plot: QGraphicsView) -> None:
        super().__init__(plot)
        self.data: PlotData | None = None
        self.subject = ""
        """The file and tensor, for the head of saved data; whoever shows the plot knows it."""
        self.menu = QMenu(plot)
        for text, slot in (
            ("Copy &Image", self.copy_image),
            ("Copy &Data", self.copy_data),
            ("&Save Image …", self._ask_image),
            ("Save Da&ta …", self._ask_data),
        ):
            self.menu.addAction(text).triggered.connect(slot)

    @property
    def _plot(self) -> QGraphicsView:
        plot = self.parent()  # asked for, not held: two that hold each other outlive their window
        assert isinstance(plot, QGraphicsView)  # noqa: S101
        return plot

    def show_at(self, at: QPoint) -> None:
        """Open the menu at a place of the screen."""
        for action in self.menu.actions():
            action.setEnabled(self.data is not None)
        self.menu.popup(at)

    def copy_image(self) -> None:
        """Put the picture, as it is on screen, on the clipboard."""
        QGuiApplication.clipboard().setPixmap(self._plot.grab())

    def copy_data(self) -> None:
        """Put the numbers on the clipboard, for a spreadsheet."""
        if self.data is not None:
            QGuiApplication.clipboard().setText(self.data.as_text("\t"))

    def save_image(self, path: str) -> None:
        """Save the picture: as SVG where the name ends so, else in pixels."""
        if path.lower().endswith(".svg"):
            self._write(path, self._svg())
        else:
            picture = QBuffer()
            kind = Path(path).suffix.removeprefix(".") or "png"
            if self._plot.grab().save(picture, kind):
                self._write(path, bytes(picture.data().data()))
            else:
                self.failed.emit(f"There are no pictures of the kind “{kind}”. Save it as PNG or SVG.")

    def _svg(self) -> bytes:
        buffer, svg, size = QBuffer(), QSvgGenerator(), self._plot.size()
        svg.setOutputDevice(buffer)
        svg.setSize(size)
        svg.setViewBox(QRect(QPoint(0, 0), size))
        svg.setResolution(96)
        painter = QPainter(svg)
        self._plot.render(painter)
        painter.end()
        return bytes(buffer.data().data())

    def save_data(self, path: str) -> None:
        """Save the numbers as CSV; comment lines say what they are of."""
        if self.data is not None:
            data = PlotData(f"{self.subject}\n{self.data.about}".strip(), self.data.columns)
            self._write(path, data.as_text(",").encode())

    def _write(self, path: str, content: bytes) -> None:
        try:
            write_whole(Path(path), content)
        except UserError as error:
            self.failed.emit(str(error))

    def _ask_image(self) -> None:
        ask_where(self._plot, "Save the picture", {"Pictures (*.png *.svg)": "png"}, self.save_image)

    def _ask_data(self) -> None:
        ask_where(self._plot, "Save the data", {"Comma-separated values (*.csv)": "csv"}, self.save_data)
