"""The form of a quantization spec, built from the spec's fields, its formats and its plugins."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtGui import QPalette
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from qexplorer.errors import UserError
from qexplorer.quant.formats import Format, formats
from qexplorer.quant.layer_kinds import LINEAR, LayerKind
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.remarks import remarks
from qexplorer.quant.spec import DEFAULTS, QuantSpec
from qexplorer.settings import Setting, schema
from qexplorer.widgets.controls import caption
from qexplorer.widgets.fields import Chooser, Listed, chooser, wrapped
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.settings_row import SettingsRow
from qexplorer.widgets.theme import scaled

FIELDS: Mapping[str, Setting] = {each.name: each for each in schema(QuantSpec)}
CHOSEN = list(FIELDS)[1:]
"""All but the format, which is chosen in two steps: its family, then one of it by its bits."""
WITH_SETTINGS = ("granularity", "observer", "rounding")
"""The fields whose values have settings of their own."""
KEYS = {"format": "m", "bits": "B", "scheme": "S", "convention": "C", "granularity": "G", "scale_dtype": "l",
        "observer": "O", "rounding": "n", "division": "D"}  # fmt: skip
"""With Alt each goes to its field."""


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
        self._kind, self._told = LINEAR, ""
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
        self.controls: dict[str, Chooser] = {}
        self.settings: dict[str, SettingsRow] = {}
        self._remarks: dict[str, QLabel] = {}
        families = list(dict.fromkeys(f.family for f in formats))
        self._bits = Segmented(_members(self._spec), "Bits")
        self._add_choice("format", "Format", Listed([(family, family) for family in families], "Format"))
        self._add_choice("bits", "Bits", self._bits)
        for name in CHOSEN:
            self._add_choice(name, FIELDS[name].title, chooser(FIELDS[name]))
            if name in WITH_SETTINGS:
                self._add_settings(name)
        self.show_spec(self._spec, None)

    def show_spec(
        self, spec: QuantSpec, shape: tuple[int, ...] | None, kind: LayerKind = LINEAR, told: str = ""
    ) -> None:
        """Show a spec, and what else is possible for a tensor of this shape, the weights of a `kind` of layer; `told`
        is how the kind is known.
        """
        if spec != self._made:  # undone, or from a file: what was wanted beside another spec is forgotten
            self._wanted.clear()
        self._spec, self._shape, self._kind, self._told = spec, shape, kind, told
        self._last_of[spec.format.family] = spec.format
        self.controls["format"].show_value(spec.format.family)
        self._bits.show_options(_members(spec))
        self._bits.show_value(spec.format.name)
        for name in CHOSEN:
            value = getattr(spec, name)
            self.controls[name].show_value(value.name if FIELDS[name].registry else value)
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
        asked, by = self._spec.granularity, self._spec.for_kind(self._kind).granularity
        reason = by.refusal(self._shape)
        if reason:
            return reason, True
        told = f"{self._told[:1].upper()}{self._told[1:]}." if by != asked and self._kind.output != "0" else ""
        return " ".join(filter(None, (told, *remarks(self._spec.for_kind(self._kind), self._shape)))), False

    def _show_remark(self, name: str, text: str, wrong: bool) -> None:
        remark = self._remarks[name]
        remark.setForegroundRole(QPalette.ColorRole.BrightText if wrong else QPalette.ColorRole.PlaceholderText)
        remark.setText(text)
        remark.setVisible(bool(text))

    def _add_choice(self, name: str, title: str, control: Chooser) -> None:
        control.setObjectName(name)
        control.chosen.connect(partial(self._on_chosen, name))
        label = QLabel(_with_key(name, title))
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
        settings.edited.connect(partial(self._change, name))
        settings.refused.connect(partial(self._on_refused, name))
        remark.setWordWrap(True)
        remark.setFont(scaled(0.88))
        for widget in (settings, remark):
            self._grid.addWidget(widget, self._grid.rowCount(), 1)
        self.settings[name], self._remarks[name] = settings, remark

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
                reason = candidate.for_kind(self._kind).refusal(self._shape)
            reasons[value], helps[value] = reason, text
        unused = self._spec.applies(name) if name != "bits" else ""
        control.setEnabled(not unused)
        text = unused or helps.get(control.value, "") or self._spec.format.help
        control.setToolTip(wrapped(text))
        control.setAccessibleDescription(text)
        control.show_refusals(reasons, helps)

    def _show_default(self, name: str) -> None:
        field = "format" if name == "bits" else name
        changed = getattr(self._spec, field) != self._spec.default(field) and not self._spec.applies(field)
        if name == "format":
            changed = self._spec.format.family != DEFAULTS["format"].family
        label = self._labels[name]
        title = FIELDS[name].title if name in FIELDS else "Bits" if self._spec.format.uniform else "Type"
        label.setText(_with_key(name, title) + (" •" if changed else ""))
        told = self._told if name == "granularity" else ""
        label.setToolTip("\n".join(filter(None, ("Changed from its default" if changed else "", told))))

    def _show_code_ranges(self) -> None:
        """Write the codes that each convention uses beside its name."""
        most = 2 ** (self._spec.format.storage_bits - 1) - 1
        shift = 0 if self._spec.format.name.startswith("int") else most + 1
        options: list[tuple[object, str]] = []
        for choice in FIELDS["convention"].choices:
            least = -most if choice.value == "restricted" else -most - 1
            span = f"   {least + shift} … {most + shift}".replace("-", "−") if self._spec.format.uniform else ""
            options.append((choice.value, choice.title + span))
        self.controls["convention"].show_options(options)

    def _on_chosen(self, name: str, chosen: Any) -> None:
        if name == "format":
            self._change("format", self._last_of.get(chosen) or _alike(self._spec, chosen))
        elif name == "bits":
            self._change("format", formats[chosen])
        else:
            self._change(name, self._candidates(name)[chosen][0])

    def _on_refused(self, name: str, reason: str) -> None:
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
        for field in CHOSEN:
            before = getattr(self._spec, field)
            if before != getattr(new, field):
                self._wanted[field] = before
            elif field in self._wanted and not new.refusal(field, self._wanted[field]):
                new = new.adopt(field, self._wanted.pop(field))
        return new


def _members(spec: QuantSpec) -> list[tuple[str, str]]:
    return [(f.name, f.label) for f in formats if f.family == spec.format.family]


def _alike(spec: QuantSpec, family: str) -> Format:
    """The format of another family with as many bits, or its last."""
    members = [f for f in formats if f.family == family]
    return next((f for f in members if f.storage_bits == spec.format.storage_bits), members[-1])


def _with_key(name: str, title: str) -> str:
    """The title with the mark of the key that goes to the field."""
    key = KEYS[name] if KEYS[name] in title else "y"
    return title.replace(key, f"&{key}", 1)
