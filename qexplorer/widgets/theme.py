"""Colours and type: one frozen value for light, one for dark, and how they reach the application."""

from dataclasses import dataclass

from PySide6.QtCore import QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QColor, QFont, QFontDatabase, QGuiApplication, QPainter, QPalette, QPen, QPolygonF
from PySide6.QtWidgets import QApplication, QProxyStyle, QStyle, QStyleOption

from qexplorer.resources import resource


@dataclass(frozen=True)
class Theme:
    """The colours of one mode. Series colours are Okabe–Ito's, or lighter ones of the same hues on dark.

    Text stands at 4.5 : 1 or more against `window` and `base`, graphics and control edges at 3 : 1 or more.
    """

    name: str
    window: str
    base: str
    text: str
    muted: str
    hairline: str
    edge: str
    accent: str
    on_accent: str
    selection: str
    original: str
    dequantized: str
    clip: str
    good: str
    warn: str
    hover: str

    def color(self, role: str, alpha: float = 1.0) -> QColor:
        """A colour by the name of its field."""
        color = QColor(getattr(self, role))
        color.setAlphaF(alpha)
        return color


LIGHT = Theme(
    name="light", window="#f6f7f9", base="#ffffff", text="#16181d", muted="#565c66", hairline="#e1e4e8", edge="#868d98",
    accent="#0072b2", on_accent="#ffffff", selection="#d8e9f5", original="#0072b2", dequantized="#d55e00",
    clip="#c21f2e", good="#00734f", warn="#a34700", hover="#eceff3",
)  # fmt: skip
DARK = Theme(
    name="dark", window="#1b1d21", base="#22252a", text="#eceef1", muted="#a3a9b3", hairline="#34383f", edge="#7b828d",
    accent="#6cb2ff", on_accent="#0b1a29", selection="#27415f", original="#6cb2ff", dequantized="#ffa24a",
    clip="#ff7a7f", good="#52cfa2", warn="#ffb35c", hover="#2b2f36",
)  # fmt: skip


class Themes(QObject):
    """Which theme is in force: the system's, or the one that the person chose."""

    changed = Signal(object)  # Theme

    def __init__(self, app: QApplication) -> None:
        super().__init__(app)
        self._app = app
        self._wish = "system"
        self.current = LIGHT
        app.setStyle(FlatStyle("Fusion"))
        self._system = _system_scheme()
        QGuiApplication.styleHints().colorSchemeChanged.connect(self._on_system)
        _install_type(app)
        self.choose("system")

    def choose(self, wish: str) -> None:
        """Follow `system`, or be `light` or `dark`."""
        self._wish = wish
        hints = QGuiApplication.styleHints()
        if wish == "system":
            hints.unsetColorScheme()
        else:
            hints.setColorScheme(Qt.ColorScheme.Dark if wish == "dark" else Qt.ColorScheme.Light)
        self._apply()

    def _on_system(self) -> None:
        if self._wish == "system":
            self._system = _system_scheme()
            self._apply()

    def _apply(self) -> None:
        # Where the platform cannot switch schemes, the palette alone does; where it can, both agree.
        theme = {"light": LIGHT, "dark": DARK, "system": self._system}[self._wish]
        self.current = theme
        self._app.setPalette(_palette(theme))
        self.changed.emit(theme)


class FlatStyle(QProxyStyle):
    """Fusion without the dots on the lines between docks, where a little room is enough, nor the line below menus."""

    def drawControl(self, element, option, painter, widget=None) -> None:  # noqa: N802
        if element == QStyle.ControlElement.CE_MenuBarEmptyArea:
            painter.fillRect(option.rect, option.palette.window())
            return
        super().drawControl(element, option, painter, widget)
        if element == QStyle.ControlElement.CE_MenuBarItem:
            painter.fillRect(option.rect.adjusted(0, option.rect.height() - 1, 0, 0), option.palette.window())

    def drawPrimitive(self, element, option, painter, widget=None) -> None:  # noqa: N802
        if element == QStyle.PrimitiveElement.PE_IndicatorCheckBox:
            self._draw_box(option, painter)
        elif element != QStyle.PrimitiveElement.PE_IndicatorDockWidgetResizeHandle:
            super().drawPrimitive(element, option, painter, widget)

    @staticmethod
    def _draw_box(option: QStyleOption, painter: QPainter) -> None:
        """A box whose edge can be seen in either theme; Fusion's is darker than a dark ground."""
        palette, role, state = option.palette, QPalette.ColorRole, QStyle.StateFlag
        on, enabled = bool(option.state & state.State_On), bool(option.state & state.State_Enabled)
        focus = bool(option.state & state.State_HasFocus)
        area = QRectF(option.rect).adjusted(0.5, 0.5, -0.5, -0.5)
        painter.save()
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(palette.color(role.Accent if focus or (on and enabled) else role.Dark), 2 if focus else 1))
        painter.setBrush(palette.color((role.Accent if enabled else role.Dark) if on else role.Base))
        painter.drawRoundedRect(area, 2, 2)
        if on:
            painter.setPen(QPen(palette.color(role.HighlightedText), 1.8))
            x, y, w, h = area.x(), area.y(), area.width(), area.height()
            tick = [QPointF(x + 0.24 * w, y + 0.52 * h), QPointF(x + 0.43 * w, y + 0.71 * h),
                    QPointF(x + 0.77 * w, y + 0.31 * h)]  # fmt: skip
            painter.drawPolyline(QPolygonF(tick))
        painter.restore()

    def pixelMetric(self, metric, option=None, widget=None) -> int:  # noqa: N802
        return (
            5
            if metric == QStyle.PixelMetric.PM_DockWidgetSeparatorExtent
            else super().pixelMetric(metric, option, widget)
        )


def _system_scheme() -> Theme:
    scheme = QGuiApplication.styleHints().colorScheme()
    if scheme == Qt.ColorScheme.Unknown:
        return DARK if QGuiApplication.palette().window().color().lightnessF() < 0.5 else LIGHT
    return DARK if scheme == Qt.ColorScheme.Dark else LIGHT


def _palette(theme: Theme) -> QPalette:
    role = QPalette.ColorRole
    palette = QPalette()
    colors = {
        role.Window: theme.window, role.WindowText: theme.text, role.Base: theme.base, role.Text: theme.text,
        role.AlternateBase: theme.hover, role.Button: theme.base, role.ButtonText: theme.text, role.Mid: theme.hairline,
        role.Midlight: theme.hover, role.Dark: theme.edge, role.Light: theme.base, role.Shadow: theme.hairline,
        role.Highlight: theme.accent, role.HighlightedText: theme.on_accent, role.Accent: theme.accent,
        role.Link: theme.accent, role.PlaceholderText: theme.muted, role.ToolTipBase: theme.base,
        role.ToolTipText: theme.text, role.BrightText: theme.clip,
    }  # fmt: skip
    for which, color in colors.items():
        palette.setColor(which, QColor(color))
    for which in (role.WindowText, role.Text, role.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, which, QColor(theme.edge))
    return palette


def _install_type(app: QApplication) -> None:
    """One typeface on every machine, with figures of equal width, so that numbers stand in columns."""
    for file in ("Inter-Regular.otf", "Inter-SemiBold.otf"):
        QFontDatabase.addApplicationFont(str(resource(f"fonts/{file}")))
    font = QFont("Inter")
    font.setPointSizeF(9.5 if app.primaryScreen().logicalDotsPerInch() > 80 else 12.5)
    font.setFeature(QFont.Tag("tnum"), 1)
    font.setHintingPreference(QFont.HintingPreference.PreferNoHinting)
    app.setFont(font)


def scaled(factor: float, *, bold: bool = False) -> QFont:
    """The application's font, larger or smaller: the three sizes are 0.88, 1 and 2.2."""
    font = QFont(QApplication.font())
    font.setPointSizeF(font.pointSizeF() * factor)
    if bold:
        font.setWeight(QFont.Weight.DemiBold)
    return font
