import csv
import io
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PySide6.QtCore import QPoint
from PySide6.QtGui import QContextMenuEvent, QGuiApplication, QImage
from PySide6.QtWidgets import QApplication

from qexplorer.progress import finish
from qexplorer.quant import QuantSpec, analyze
from qexplorer.widgets.distribution_plot import DistributionPlot
from qexplorer.widgets.error_plot import ChannelPlot, ErrorPlot


@pytest.fixture
def values():
    return np.random.default_rng(5).normal(size=(8, 50)).astype(np.float32)


@pytest.fixture
def plot(qtbot, themes, values):
    widget = DistributionPlot()
    qtbot.addWidget(widget)
    widget.resize(600, 300)
    widget.show()
    widget.show_analysis(finish(analyze(values, QuantSpec())), "values")
    return widget


def columns_of(text: str, separator: str = ",") -> dict[str, list[float]]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines)), delimiter=separator))
    return {name: [float(row[name]) for row in rows] for name in rows[0]}


def test_saved_data_are_the_histogram_with_what_it_is_of(plot, values, tmp_path: Path) -> None:
    plot.menu.subject = "model.safetensors, conv.weight"
    plot.menu.save_data(str(tmp_path / "bins.csv"))
    text = (tmp_path / "bins.csv").read_text("utf-8")
    assert text.startswith("# model.safetensors, conv.weight\n")
    assert "observer minmax" in text
    assert "exact" in text
    columns = columns_of(text)
    edges = [*columns["from"], columns["to"][-1]]
    assert columns["original"] == np.histogram(values.astype(np.float64), edges)[0].tolist()
    assert sum(columns["dequantized"]) == values.size


def test_copied_data_go_to_the_clipboard_as_a_table(plot) -> None:
    plot.menu.copy_data()
    assert sum(columns_of(QGuiApplication.clipboard().text(), "\t")["original"]) == 400


def test_pictures_are_saved_in_pixels_and_as_svg(plot, tmp_path: Path) -> None:
    plot.menu.save_image(str(tmp_path / "a.png"))
    assert QImage(str(tmp_path / "a.png")).width() == 600
    plot.menu.save_image(str(tmp_path / "a.svg"))
    root = ET.parse(tmp_path / "a.svg").getroot()  # noqa: S314  it is our own
    assert root.attrib["viewBox"] == "0 0 600 300"
    assert len(list(root.iter("{http://www.w3.org/2000/svg}path"))) > 3


@pytest.mark.parametrize("name", ["x.png", "x.svg", "x.csv"])
def test_a_place_that_cannot_be_written_is_one_message(qtbot, plot, tmp_path: Path, name: str) -> None:
    (tmp_path / "file").touch()
    target = str(tmp_path / "file" / name)
    with qtbot.waitSignal(plot.menu.failed) as failed:
        plot.menu.save_data(target) if name.endswith("csv") else plot.menu.save_image(target)
    assert target in failed.args[0]


def test_the_menu_opens_by_a_right_click_and_is_grey_without_a_result(qtbot, plot) -> None:
    for result, enabled in ((True, True), (False, False)):
        if not result:
            plot.show_analysis(None)
        at = QPoint(100, 100)
        event = QContextMenuEvent(QContextMenuEvent.Reason.Mouse, at, plot.mapToGlobal(at))
        QApplication.sendEvent(plot.viewport(), event)
        qtbot.waitUntil(plot.menu.menu.isVisible)
        assert all(action.isEnabled() == enabled for action in plot.menu.menu.actions() if action.isVisible())
        plot.menu.menu.close()


def test_every_plot_has_its_table(qtbot, themes, values) -> None:
    a = finish(analyze(values, QuantSpec()))
    for kind, column, total in ((ErrorPlot, "values", 400), (ChannelPlot, "channel", 28)):
        plot = kind()
        qtbot.addWidget(plot)
        plot.show_analysis(a)
        assert sum(plot.menu.data.columns[column].tolist()) == total
