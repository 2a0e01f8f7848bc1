"""Every control has a name that a screen reader says, and a tooltip; every plot, tree and table has a name."""

import pytest
from hands import accessible_name, analysis_of, focusable
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QMainWindow, QWidget

from qexplorer.engine.jobs import jobs
from qexplorer.quant.spec import QuantSpec
from qexplorer.widgets.bits_chart import BitsChart
from qexplorer.widgets.distribution_plot import DistributionPlot
from qexplorer.widgets.docks import Dock
from qexplorer.widgets.error_plot import ChannelPlot, ErrorPlot
from qexplorer.widgets.job_form import JobForm
from qexplorer.widgets.messages import Banner, Placeholder
from qexplorer.widgets.metrics_list import MetricsList
from qexplorer.widgets.observer_plot import ObserverPlot
from qexplorer.widgets.observers_table import ObserversTable
from qexplorer.widgets.runs_table import RunsTable
from qexplorer.widgets.spec_form import SpecForm
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
    window.addDockWidget(Qt.DockWidgetArea.LeftDockWidgetArea, Dock("metrics", "Metrics", MetricsList(), window))
    return window


WIDGETS = {
    "spec form": spec_form,
    "spec form with settings": lambda: spec_form(granularity="group:8", observer="fixed:-1,1"),
    **{f"form of {job.name}": lambda job=job: JobForm(job()) for job in jobs},
    "banner": banner,
    "placeholder": lambda: Placeholder("Nothing here", "Drop a file.", "&Open …"),
    "task": lambda: TaskRow(1, "Evaluate"),
    "dock": dock,
}
VIEWS = {
    "tree": TensorTree,
    "runs": RunsTable,
    "distribution": DistributionPlot,
    "error": ErrorPlot,
    "channels": ChannelPlot,
    "formats": BitsChart,
    "clips": ObserverPlot,
    "observers": ObserversTable,
}


@pytest.mark.parametrize("name", WIDGETS)
def test_every_control_has_a_name_and_a_tooltip(shown, name):
    widget = WIDGETS[name]()
    shown(widget, 500, 400)
    controls = focusable(widget)
    assert controls
    for control in controls:
        assert accessible_name(control), control
        assert control.toolTip(), accessible_name(control)


@pytest.mark.parametrize("name", VIEWS)
def test_every_view_has_a_name_and_is_reached_by_the_keyboard(shown, name):
    view = shown(VIEWS[name]())
    assert accessible_name(view)
    assert view.focusPolicy() & Qt.FocusPolicy.TabFocus


@pytest.mark.parametrize("kind", [DistributionPlot, ErrorPlot, ChannelPlot])
def test_a_plot_tells_its_numbers_in_words(shown, bell, kind):
    plot = shown(kind())
    plot.show_analysis(analysis_of(bell))
    assert any(figure.isdigit() for figure in plot.accessibleDescription())


def test_the_tab_key_leaves_a_table_and_a_tree(shown):
    assert not shown(RunsTable()).tabKeyNavigation()
    assert not shown(ObserversTable()).tabKeyNavigation()
    tree = shown(TensorTree())
    tree.show_tensors([TensorRow("w", "w", (1,), "float32", 1)])
    assert not tree.tabKeyNavigation()


def test_a_dock_can_be_floated_docked_and_closed_from_the_keyboard(shown, qtbot):
    from PySide6.QtTest import QTest

    window = shown(dock())
    panel = window.findChild(Dock)
    buttons = {control.glyph: control for control in focusable(panel) if hasattr(control, "glyph")}
    QTest.keyClick(buttons["float"], Qt.Key.Key_Space)
    assert panel.isFloating()
    QTest.keyClick(buttons["float"], Qt.Key.Key_Space)
    assert not panel.isFloating()
    QTest.keyClick(buttons["close"], Qt.Key.Key_Space)
    assert panel.isHidden()
