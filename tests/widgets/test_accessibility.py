"""Every control has a name that a screen reader says, and a tooltip; every plot, tree and table has a name."""

import numpy as np
import pytest
from hands import accessible_name, analysis_of, focusable
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QAbstractButton, QAbstractScrollArea, QLabel, QMainWindow, QMenu, QWidget

from qexplorer.engine.jobs import jobs
from qexplorer.panels.run_columns import runs_table
from qexplorer.panels.study_columns import COLUMNS
from qexplorer.presentation import Advice, Bar, Curve, FrontPoint, Paired
from qexplorer.quant.spec import QuantSpec
from qexplorer.settings import Setting
from qexplorer.widgets.advice_list import AdviceList
from qexplorer.widgets.bits_chart import BitsChart
from qexplorer.widgets.contingency import PairedTest
from qexplorer.widgets.curves_plot import CurvesPlot
from qexplorer.widgets.distribution_plot import DistributionPlot
from qexplorer.widgets.docks import Dock
from qexplorer.widgets.error_plot import ChannelPlot, ErrorPlot
from qexplorer.widgets.fields import control as control_of
from qexplorer.widgets.fields import titled
from qexplorer.widgets.flips_grid import Flip, FlipsGrid
from qexplorer.widgets.front_plot import FrontPlot
from qexplorer.widgets.job_form import JobForm
from qexplorer.widgets.messages import Banner, Placeholder
from qexplorer.widgets.metrics_list import MetricsList
from qexplorer.widgets.observer_plot import ObserverPlot
from qexplorer.widgets.observers_table import ObserversTable
from qexplorer.widgets.offered import Offered
from qexplorer.widgets.ranked_bars import RankedBars
from qexplorer.widgets.size_accuracy_plot import SizeAccuracyPlot
from qexplorer.widgets.size_point import SizePoint
from qexplorer.widgets.spec_form import SpecForm
from qexplorer.widgets.table import Table
from qexplorer.widgets.task_row import TaskRow
from qexplorer.widgets.tensor_model import TensorRow
from qexplorer.widgets.tensor_tree import TensorTree


def spec_form(**fields: str) -> SpecForm:
    form = SpecForm()
    form.show_spec(QuantSpec.from_json(fields), (4, 4))
    return form


def banner() -> Banner:
    shown = Banner()
    shown.show_message("Something failed.", "In detail")
    return shown


def dock() -> QWidget:
    window = QMainWindow()
    panel = Dock("metrics", "Metrics", window, folds=True)
    panel.hold(MetricsList())
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, panel)
    return window


def advice() -> AdviceList:
    shown = AdviceList()
    shown.show_advice([Advice(f"This is wrong with it, {i}.", "Take MSE", picture="error") for i in range(2)], "")
    return shown


def sizes() -> SizeAccuracyPlot:
    shown = SizeAccuracyPlot()
    shown.show_points([SizePoint("a", "INT8", 2_000_000, 2_000_000, 0.98, (0.97, 0.99), real=True, reference=False)])
    return shown


def curves() -> CurvesPlot:
    shown = CurvesPlot()
    shown.show_curves([Curve(unit, [1, 2, 3], [0.5, 0.2, 0.1], unit, "line") for unit in ("Loss", "Scale")], "Epoch")
    return shown


def bars() -> RankedBars:
    shown = RankedBars()
    shown.show_bars([Bar(f"l{i}", f"l{i}", float(i), "", None, None) for i in range(4)], "dB", "SQNR of the layer")
    return shown


def front() -> FrontPlot:
    shown = FrontPlot()
    shown.show_front([FrontPoint(10**6 * i, 2.0 * i, 1 / i, 0.9, (0.8, 0.95)) for i in range(1, 5)], 2)
    return shown


def flips() -> FlipsGrid:
    shown = FlipsGrid()
    shown.show_flips([Flip(np.zeros((1, 8, 8), np.float32), 1, i % 2, 1 - i % 2, i) for i in range(6)])
    return shown


def pair() -> PairedTest:
    shown = PairedTest()
    shown.show_test("FP32", "INT4", Paired(90, 6, 2, 2, 0.29))
    return shown


def path():
    key = Setting("Key", "The key of your certificate", browse="file", files="PEM files (*.pem)")
    return titled(key, control_of(key))


WIDGETS = {
    "spec form": spec_form,
    "spec form with settings": lambda: spec_form(granularity="group:8", observer="fixed:-1,1"),
    **{f"form of {job.name}": lambda job=job: JobForm(job()) for job in jobs},
    "banner": banner,
    "placeholder": lambda: Placeholder("Nothing here", "Drop a file.", "&Open …"),
    "path": path,
    "task": lambda: TaskRow(1, "Evaluate"),
    "dock": dock,
    "advice": advice,
    "front": front,
    "flips": flips,
}
VIEWS = {
    "advice": AdviceList,
    "table": lambda: Table("Runs", COLUMNS, lambda run: run.key),
    "sizes": SizeAccuracyPlot,
    "bars": RankedBars,
    "tree": TensorTree,
    "runs": runs_table,
    "distribution": DistributionPlot,
    "error": ErrorPlot,
    "channels": ChannelPlot,
    "formats": BitsChart,
    "clips": ObserverPlot,
    "observers": ObserversTable,
}
WHOLES = {
    "advice": (advice, 4 + 1),
    "sizes": (sizes, 1),
    "curves": (curves, 2),
    "bars": (bars, 1),
    "front": (front, 3),
    "flips": (flips, 2),
    "pair": (pair, 1),
}
"""Widgets of several parts, and how many of these the Tab key comes to."""


@pytest.mark.parametrize("name", WIDGETS)
def test_every_control_has_a_name_and_a_tooltip(shown, name):
    widget = WIDGETS[name]()
    shown(widget, 500, 400)
    controls = focusable(widget)
    assert controls
    for control in controls:
        assert accessible_name(control), control
        assert control.toolTip() or isinstance(control, QAbstractScrollArea), accessible_name(control)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_has_a_name_and_is_reached_by_the_keyboard(shown, name):
    view = shown(VIEWS[name]())
    assert accessible_name(view)
    assert view.focusPolicy() & Qt.FocusPolicy.TabFocus


@pytest.mark.parametrize("name", WHOLES)
def test_the_tab_key_comes_to_every_part_which_says_what_it_is_and_what_it_shows(shown, qtbot, name):
    build, stops = WHOLES[name]
    whole, window = build(), QWidget()
    whole.setParent(window)
    shown(window, 520, 420)
    whole.setGeometry(window.rect())
    whole.show()
    window.activateWindow()
    window.setFocus()
    met: list[QWidget] = []
    for _ in range(stops + 2):
        QTest.keyClick(window.focusWidget() or window, Qt.Key.Key_Tab)
        found = window.focusWidget()
        if found is not None and found not in (*met, window):
            met.append(found)
    assert len(met) == stops, met
    for part in met:
        assert accessible_name(part), part
    assert accessible_name(whole)
    assert whole.accessibleDescription()


def test_what_the_cells_of_a_pair_mean_is_said_without_pointing_at_them(shown):
    test = shown(pair())
    cells = [cell for row in test.grid.cells for cell in row]
    assert all(isinstance(cell, QLabel) and cell.accessibleName() == cell.toolTip() for cell in cells)
    assert cells[1].accessibleName() == "FP32 right and INT4 wrong: 6 images (6.00 %)"


def test_what_is_offered_is_taken_from_the_keyboard(shown, qtbot):
    field = shown(Offered(["", "mse", "percentile:99"]))
    field.setFocus()
    qtbot.keyClick(field, Qt.Key.Key_Down)
    menu = field.findChild(QMenu)
    for key in (Qt.Key.Key_Down, Qt.Key.Key_Down, Qt.Key.Key_Return):
        qtbot.keyClick(menu, key)
    assert field.text() == "mse"
    qtbot.waitUntil(lambda: field.findChild(QMenu) is None)


@pytest.mark.parametrize("kind", [DistributionPlot, ErrorPlot, ChannelPlot])
def test_a_plot_tells_its_numbers_in_words(shown, bell, kind):
    plot = shown(kind())
    plot.show_analysis(analysis_of(bell))
    assert any(figure.isdigit() for figure in plot.accessibleDescription())


def test_the_tab_key_leaves_a_table_and_a_tree(shown):
    assert not shown(runs_table()).tabKeyNavigation()
    assert not shown(ObserversTable()).tabKeyNavigation()
    assert not shown(bars()).tabKeyNavigation()
    assert not shown(flips()).view.tabKeyNavigation()
    tree = shown(TensorTree())
    tree.show_tensors([TensorRow("w", "w", (1,), "float32", 1)])
    assert not tree.tabKeyNavigation()


def test_a_dock_can_be_floated_docked_and_closed_from_the_keyboard(shown, qtbot):
    window = shown(dock())
    panel = window.findChild(Dock)
    buttons = {control.glyph: control for control in focusable(panel) if hasattr(control, "glyph")}
    QTest.keyClick(buttons["float"], Qt.Key.Key_Space)
    assert panel.isFloating()
    back = next(each for each in panel.findChildren(QAbstractButton) if each.accessibleName() == "Dock Metrics")
    QTest.keyClick(back, Qt.Key.Key_Space)
    assert not panel.isFloating()
    QTest.keyClick(buttons["close"], Qt.Key.Key_Space)
    assert panel.isHidden()
