"""The form of a quantization spec, built from the spec's fields, its formats and its plugins."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPalette, QStandardItemModel
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin
from qexplorer.quant.formats import Format, formats
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.params import CONVENTIONS
from qexplorer.quant.spec import DEFAULTS, QuantSpec
from qexplorer.settings import Setting, schema
from qexplorer.widgets.controls import Combo, caption
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.settings_row import SettingsRow
from qexplorer.widgets.theme import scaled

FEW = 4
"""So many choices stand in a row; more go into a list."""


FIELDS: Mapping[str, Setting] = {each.name: each for each in schema(QuantSpec)}
WITH_SETTINGS = ("granularity", "observer", "rounding")
"""The fields whose values have settings of their own."""
TITLES = {
    "format": "For&mat",
    "bits": "&Bits",
    "scheme": "&Scheme",
    "convention": "&Convention",
    "granularity": "&Granularity",
    "scale_dtype": "Sca&le type",
    "observer": "&Observer",
    "rounding": "Rou&nding",
    "division": "&Division",
}


class SpecForm(QWidget):
    """Value in: a spec and the tensor's shape; signal out: the spec that the person wants.

    What is impossible is greyed out and says why; what is not at its default has a dot beside its name; what a format
    put back to its default comes again with the next format that can have it.
    """

    edited = Signal(object)  # QuantSpec

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._spec = QuantSpec()
        self._shape: tuple[int, ...] | None = None
        self._wanted: dict[str, Any] = {}
        self._last_of: dict[str, Format] = {}
        self._limits = Fixed()
        self._made: QuantSpec | None = None
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(12, 2, 12, 4)
        self._grid.setHorizontalSpacing(8)
        self._grid.setVerticalSpacing(6)
        self._grid.setColumnStretch(1, 1)
        self._labels: dict[str, QLabel] = {}
        self.controls: dict[str, Combo | Segmented] = {}
        self.settings: dict[str, SettingsRow] = {}
        self._remarks: dict[str, QLabel] = {}
        families = list(dict.fromkeys(f.family for f in formats))
        self._add_choice("format", [(family, family) for family in families], many=True)
        self._add_choice("bits", _members(self._spec), many=False)
        for name in list(FIELDS)[1:]:
            self._add_choice(name, _options(FIELDS[name]))
            if name in WITH_SETTINGS:
                self._add_settings(name)
        self.show_spec(self._spec, None)

    def show_spec(self, spec: QuantSpec, shape: tuple[int, ...] | None) -> None:
        """Show a spec, and what else is possible for a tensor of this shape."""
        if spec != self._made:  # undone, or from a file: what was wanted beside another spec is forgotten
            self._wanted.clear()
        self._spec, self._shape = spec, shape
        self._last_of[spec.format.family] = spec.format
        self._show_value("format", spec.format.family)
        bits = self.controls["bits"]
        assert isinstance(bits, Segmented)  # noqa: S101
        bits.show_options(_members(spec))
        self._show_value("bits", spec.format.name)
        for name in list(FIELDS)[1:]:
            value = getattr(spec, name)
            self._show_value(name, value.name if FIELDS[name].registry else value)
            if name in WITH_SETTINGS:
                self.settings[name].show_plugin(value)
        for name in self._remarks:
            self._show_remark(name, *self._remark_on(name))
        for name in self.controls:
            self._show_possible(name)
            self._show_default(name)
        for name, settings in self.settings.items():
            settings.setEnabled(not spec.applies(name))
        self._show_code_ranges()

    def show_limits(self, lo: float, hi: float) -> None:
        """The range in use now, from which fixed limits start."""
        if lo < hi and np.isfinite([lo, hi]).all():
            self._limits = Fixed(float(f"{lo:.6g}"), float(f"{hi:.6g}"))

    def _remark_on(self, name: str) -> tuple[str, bool]:
        """What is to be said below a field, and whether it is an error."""
        if name != "granularity" or self._shape is None:
            return "", False
        reason = self._spec.granularity.refusal(self._shape)
        return (reason, True) if reason else (self._spec.granularity.remark(self._shape), False)

    def _show_remark(self, name: str, text: str, wrong: bool) -> None:
        remark = self._remarks[name]
        remark.setForegroundRole(QPalette.ColorRole.BrightText if wrong else QPalette.ColorRole.PlaceholderText)
        remark.setText(text)
        remark.setVisible(bool(text))

    def _add_choice(self, name: str, options: list[tuple[str, str]], *, many: bool | None = None) -> None:
        title = TITLES[name].replace("&", "")
        if many if many is not None else len(options) > FEW:
            control: Combo | Segmented = Combo()
            for value, label in options:
                control.addItem(label, value)
            control.setAccessibleName(title)
            control.activated.connect(self._on_chosen)
        else:
            control = Segmented(options, title)
            control.chosen.connect(self._on_chosen)
        control.setObjectName(name)
        label = QLabel(TITLES[name])
        label.setForegroundRole(QPalette.ColorRole.PlaceholderText)
        label.setBuddy(control)
        label.setMinimumWidth(label.fontMetrics().horizontalAdvance("Granularity • "))  # the dot moves nothing
        row = self._grid.rowCount()
        self._grid.addWidget(label, row, 0)
        self._grid.addWidget(control, row, 1)
        self._labels[name], self.controls[name] = label, control

    def _add_settings(self, name: str) -> None:
        """A row for the settings of what is chosen above it, and one for what is to be said about it."""
        settings, remark = SettingsRow(), caption("")
        settings.setObjectName(f"{name}_settings")
        settings.edited.connect(self._on_settings)
        settings.refused.connect(self._on_refused)
        remark.setWordWrap(True)
        remark.setFont(scaled(0.88))
        for widget in (settings, remark):
            self._grid.addWidget(widget, self._grid.rowCount(), 1)
        self.settings[name], self._remarks[name] = settings, remark

    def _show_value(self, name: str, value: str) -> None:
        control = self.controls[name]
        if isinstance(control, Combo):
            control.setCurrentIndex(control.findData(value))
        else:
            control.show_value(value)

    def _candidates(self, name: str) -> dict[str, tuple[Any, str]]:
        """Every value that a control offers, as the spec's field has it, with its explanation."""
        if name in ("format", "bits"):
            return {}
        registry = FIELDS[name].registry
        if registry is None:
            return {choice.value: (choice.value, choice.help) for choice in FIELDS[name].choices}
        current: Any = getattr(self._spec, name)
        kept = {Fixed.name: self._limits, current.name: current}
        return {each.name: (kept.get(each.name) or registry.read(each.name), each.help) for each in registry}

    def _show_possible(self, name: str) -> None:
        control, reasons, helps = self.controls[name], dict[object, str](), dict[object, str]()
        for value, (candidate, text) in self._candidates(name).items():
            reason = self._spec.refusal(name, candidate)
            if name == "granularity" and self._shape is not None and not reason:
                reason = candidate.refusal(self._shape)
            reasons[value], helps[value] = reason, text
        unused = self._spec.applies(name) if name != "bits" else ""
        control.setEnabled(not unused)
        current = helps.get(str(control.currentData() if isinstance(control, Combo) else control.value), "")
        text = unused or current or self._spec.format.help
        control.setToolTip(_rich(text))
        control.setAccessibleDescription(text)
        if isinstance(control, Segmented):
            control.show_refusals(reasons, helps)
            return
        model = control.model()
        assert isinstance(model, QStandardItemModel)  # noqa: S101  what a QComboBox makes for itself
        for i in range(control.count() if reasons else 0):
            value = control.itemData(i)
            model.item(i).setEnabled(not reasons[value])
            control.setItemData(i, _rich(reasons[value] or helps[value]), Qt.ItemDataRole.ToolTipRole)

    def _show_default(self, name: str) -> None:
        field = "format" if name == "bits" else name
        changed = getattr(self._spec, field) != self._spec.default(field) and not self._spec.applies(field)
        if name == "format":
            changed = self._spec.format.family != DEFAULTS["format"].family
        label = self._labels[name]
        title = "T&ype" if name == "bits" and not self._spec.format.uniform else TITLES[name]
        label.setText(title + (" •" if changed else ""))
        label.setToolTip("Changed from its default" if changed else "")

    def _show_code_ranges(self) -> None:
        """Write the codes that each convention uses beside its name."""
        control, bits = self.controls["convention"], self._spec.format.storage_bits
        assert isinstance(control, Combo)  # noqa: S101
        most = 2 ** (bits - 1) - 1
        for i in range(control.count()):
            least = -most if control.itemData(i) == "restricted" else -most - 1
            shift = 0 if self._spec.format.name.startswith("int") else most + 1
            span = f"   {least + shift} … {most + shift}".replace("-", "−")
            control.setItemText(i, CONVENTIONS[i].title + (span if self._spec.format.uniform else ""))

    def _on_chosen(self, chosen: object) -> None:
        control = self.sender()
        assert isinstance(control, Combo | Segmented)  # noqa: S101
        name = control.objectName()
        value = control.currentData() if isinstance(control, Combo) else chosen
        if name == "format":
            self._change("format", self._last_of.get(str(value)) or _alike(self._spec, str(value)))
        elif name == "bits":
            self._change("format", formats[str(value)])
        else:
            self._change(name, self._candidates(name)[str(value)][0])

    def _on_settings(self, plugin: Plugin) -> None:
        row = self.sender()
        self._change(next(name for name, each in self.settings.items() if each is row), plugin)

    def _on_refused(self, reason: str) -> None:
        row = self.sender()
        name = next(name for name, each in self.settings.items() if each is row)
        self._show_remark(name, *((reason, True) if reason else self._remark_on(name)))

    def _change(self, name: str, value: Any) -> None:
        try:
            new = self._spec.adopt(name, value)
        except UserError as error:
            where = error.field if error.field in self._remarks else "observer"
            self._show_remark(where, str(error), wrong=True)
            return
        if name == "format":
            new = self._restored(new)
        elif name in self._wanted:
            del self._wanted[name]
        if new != self._spec:
            self._made = new
            self.edited.emit(new)

    def _restored(self, new: QuantSpec) -> QuantSpec:
        """Bring back what an earlier format could not have, and remember what this one cannot."""
        for field in list(DEFAULTS)[1:]:
            before = getattr(self._spec, field)
            if before != getattr(new, field):
                self._wanted[field] = before
            elif field in self._wanted and not new.refusal(field, self._wanted[field]):
                new = new.adopt(field, self._wanted.pop(field))
        return new


def _options(field: Setting) -> list[tuple[str, str]]:
    if field.registry:
        return [(each.name, each.title) for each in field.registry]
    return [(choice.value, choice.title) for choice in field.choices]


def _members(spec: QuantSpec) -> list[tuple[str, str]]:
    return [(f.name, f.label) for f in formats if f.family == spec.format.family]


def _alike(spec: QuantSpec, family: str) -> Format:
    """The format of another family with as many bits, or its last."""
    members = [f for f in formats if f.family == family]
    return next((f for f in members if f.storage_bits == spec.format.storage_bits), members[-1])


def _rich(text: str) -> str:
    """A tooltip that wraps at a readable width."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<div style='max-width: 320px'>{safe}</div>"
