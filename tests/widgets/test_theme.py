import pytest
from hands import analysis_of
from PySide6.QtCore import QEvent
from PySide6.QtGui import QColor, QGuiApplication, QPalette
from PySide6.QtWidgets import QWidget

from qexplorer.widgets.controls import Button, Combo, Field
from qexplorer.widgets.distribution_plot import DistributionPlot
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.theme import DARK, LIGHT, Theme, scaled

TEXT = ("text", "muted", "clip", "good", "warn")
GRAPHICS = ("edge", "accent", "original", "dequantized", "clip", "good", "warn")


def luminance(color: str) -> float:
    """WCAG 2.2's relative luminance."""
    parts = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in QColor(color).getRgbF()]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a: str, b: str) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_the_measure_itself_knows_black_and_white():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
@pytest.mark.parametrize("behind", ["base", "window"])
@pytest.mark.parametrize("role", TEXT)
def test_text_can_be_read(theme: Theme, role, behind):
    assert contrast(getattr(theme, role), getattr(theme, behind)) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
@pytest.mark.parametrize("behind", ["base", "window"])
@pytest.mark.parametrize("role", GRAPHICS)
def test_edges_and_series_can_be_seen(theme: Theme, role, behind):
    assert contrast(getattr(theme, role), getattr(theme, behind)) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
@pytest.mark.parametrize(("role", "behind"), [("on_accent", "accent"), ("text", "selection"), ("text", "hover")])
def test_text_on_a_coloured_ground_can_be_read(theme: Theme, role, behind):
    assert contrast(getattr(theme, role), getattr(theme, behind)) >= 4.5


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda t: t.name)
def test_the_two_series_differ_in_more_than_hue(theme: Theme):
    a, b = QColor(theme.original), QColor(theme.dequantized)
    distance = abs(a.hueF() - b.hueF())
    assert min(distance, 1 - distance) > 0.25


@pytest.mark.parametrize(("wish", "theme"), [("light", LIGHT), ("dark", DARK), ("system", LIGHT)])
def test_the_palette_follows_where_the_platform_itself_cannot_switch(themes, qtbot, wish, theme):
    with qtbot.waitSignal(themes.changed) as blocker:
        themes.choose(wish)
    assert blocker.args == [theme]
    assert themes.current is theme
    palette = QGuiApplication.palette()
    for role, color in ((QPalette.ColorRole.Window, theme.window), (QPalette.ColorRole.Text, theme.text)):
        assert palette.color(role).name() == color


def test_greyed_out_text_is_weaker_than_text(themes):
    for wish in ("light", "dark"):
        themes.choose(wish)
        palette, base = QGuiApplication.palette(), themes.current.base
        greyed = palette.color(QPalette.ColorGroup.Disabled, QPalette.ColorRole.Text).name()
        assert 3 <= contrast(greyed, base) < contrast(themes.current.muted, base)


class Watcher(QWidget):
    def __init__(self) -> None:
        super().__init__()
        self.events: list[QEvent.Type] = []

    def changeEvent(self, event: QEvent) -> None:
        self.events.append(event.type())
        super().changeEvent(event)


def test_every_widget_hears_of_another_theme(themes, shown, qtbot):
    watcher = shown(Watcher())
    watcher.events.clear()
    themes.choose("dark")
    qtbot.waitUntil(lambda: QEvent.Type.PaletteChange in watcher.events)


@pytest.mark.parametrize("kind", ["combo", "field", "button", "segmented"])
def test_every_control_is_repainted_in_another_theme(themes, shown, qtbot, kind):
    widget = {
        "combo": Combo,
        "field": Field,
        "button": lambda: Button("Run", primary=True),
        "segmented": lambda: Segmented([(1, "One"), (2, "Two")], "Number"),
    }[kind]()
    shown(widget, 160, 28)
    pictures = []
    for wish in ("light", "dark", "light"):
        themes.choose(wish)
        qtbot.waitUntil(lambda: widget.palette().text().color().name() == themes.current.text)
        pictures.append(widget.grab().toImage())
    assert pictures[0] == pictures[2] != pictures[1]


def test_a_plot_is_repainted_in_another_theme(themes, shown, bell):
    plot = shown(DistributionPlot(), 300, 200)
    themes.changed.connect(plot.show_theme)
    plot.show_analysis(analysis_of(bell, format="int4"))
    for wish, theme in (("dark", DARK), ("light", LIGHT)):
        themes.choose(wish)
        assert plot.grab().toImage().pixelColor(2, 2).name() == theme.base


def test_the_font_is_the_program_s_own_and_scales(themes):
    assert scaled(1.0).family() == "Inter"
    assert scaled(2.2).pointSizeF() == pytest.approx(2.2 * scaled(1.0).pointSizeF())
    assert scaled(1.0, bold=True).weight() > scaled(1.0).weight()


def test_a_colour_can_be_translucent():
    assert LIGHT.color("accent", 0.5).alphaF() == pytest.approx(0.5, abs=0.01)
    assert LIGHT.color("accent").alpha() == 255
