"""The form of a quantization spec, built from the spec's fields, its formats and its plugins."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QPalette, QStandardItemModel
from PySide6.QtWidgets import QGridLayout, QLabel, QWidget

from qexplorer.errors import UserError
from qexplorer.plugins import Plugin, Registry
from qexplorer.quant.formats import Format, formats
from qexplorer.quant.granularity import granularities
from qexplorer.quant.observers import observers
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.spec import DEFAULTS, QuantSpec
from qexplorer.widgets.controls import Combo, caption
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.settings_row import SettingsRow
from qexplorer.widgets.theme import scaled

FEW = 4
"""So many choices stand in a row; more go into a list."""


@dataclass(frozen=True)
class Words:
    """How a choice is called and explained."""

    label: str
    help: str


CHOICES: Mapping[str, Mapping[str, Words]] = {
    "scheme": {
        "symmetric": Words("Symmetric", "The range is centred on 0, and so is the grid: x̂ = q·S."),
        "affine": Words("Affine", "A zero point shifts the grid over the range: x̂ = (q − Z)·S."),
        "affine_float": Words("Float zero", "The zero point is a float: x̂ = q·S + M. Zero need not be a level. HQQ."),
    },
    "convention": {
        "restricted": Words("Restricted", "S = A/qmax with codes −qmax … qmax. TFLite weights, ONNX Runtime."),
        "full_span": Words("Full span", "S = 2A/(qmax − qmin): torch's default. Clips the positive extreme by S/2."),
        "full_range": Words("Full range", "S = A/qmax with all codes; the lowest is seldom used. AIMET, non-strict."),
        "no_clipping": Words("No clipping", "S = max(N/qmin, P/qmax): the smallest scale that clips nothing. torchao."),
        "signed_extreme": Words("Signed extreme", "The extreme has the lowest code; S may be negative. GGUF."),
    },
    "scale_dtype": {
        "float32": Words("FP32", "32 bits a scale: as exact as the arithmetic."),
        "float16": Words("FP16", "16 bits a scale."),
        "bfloat16": Words("BF16", "16 bits a scale, with the range of float32 and eight bits of precision."),
        "e8m0": Words("E8M0, floor", "A power of two, chosen as MX defines it; the extreme may be clipped."),
        "e8m0_ceil": Words("E8M0, ceil", "A power of two, from the power of two above the extreme."),
        "e8m0_rceil": Words("E8M0, no clipping", "The least power of two that clips nothing (RCEIL)."),
        "e8m0_even": Words("E8M0, even", "As floor, with the extreme rounded to the elements' mantissa first."),
        "e8m0_round": Words("E8M0, nearest", "The power of two nearest to the exact scale."),
        "e4m3": Words("E4M3 · FP32", "A float8 a group and one float32 for the tensor: NVFP4's two levels."),
        "double": Words("Double quantized", "8 bits a scale, 256 scales together quantized again: QLoRA."),
    },
    "rounding": {
        "half_even": Words("Half to even", "Ties go to the even code: torch, NumPy, ONNX, IEEE 754."),
        "half_away": Words("Half away from zero", "Ties go away from zero: C's round, GGUF Q8_0."),
        "half_up": Words("Half up", "Ties go up: floor(x + ½), GGUF Q4_0."),
        "half_zero": Words("Half toward zero", "Ties go toward zero: GGUF MXFP4."),
        "toward_zero": Words("Toward zero", "The fraction is cut off. For comparison: it doubles the error."),
        "stochastic": Words("Stochastic", "Up with the fraction as its chance: no bias. Same seed, same codes."),
    },
    "division": {
        "reciprocal": Words("x · (1/S)", "Times the float32 reciprocal of the scale, as torch and torchao do."),
        "true": Words("x / S", "A true division, as ONNX and ONNX Runtime do. Differs only at ties."),
    },
}  # fmt: skip


@dataclass(frozen=True)
class Stochastic(Plugin):
    """The setting of stochastic rounding, whose text form is the spec's."""

    seed: int = 0
    name: ClassVar[str] = "stochastic"
    title: ClassVar[str] = "Stochastic rounding"


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
        families = list(dict.fromkeys(f.family for f in formats.values()))
        self._add_choice("format", [(family, family) for family in families], many=True)
        self._add_choice("bits", _members(self._spec), many=False)
        for name in ("scheme", "convention"):
            self._add_choice(name, [(value, words.label) for value, words in CHOICES[name].items()])
        self._add_plugins("granularity", granularities)
        self._add_choice("scale_dtype", [(value, words.label) for value, words in CHOICES["scale_dtype"].items()])
        self._add_plugins("observer", observers)
        for name in ("rounding", "division"):
            self._add_choice(name, [(value, words.label) for value, words in CHOICES[name].items()])
            if name == "rounding":
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
        for name in CHOICES:
            self._show_value(name, getattr(spec, name).partition(":")[0])
        for name in ("granularity", "observer"):
            plugin: Plugin = getattr(spec, name)
            self._show_value(name, plugin.name)
            self.settings[name].show_plugin(plugin)
        rule, _, seed = spec.rounding.partition(":")
        if rule == Stochastic.name:
            self.settings["rounding"].show_plugin(Stochastic(int(seed)))
        self.settings["rounding"].setVisible(rule == Stochastic.name)
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

    def _add_plugins(self, name: str, registry: Registry[Any]) -> None:
        self._add_choice(name, [(cls.name, cls.title) for cls in registry])
        self._add_settings(name)

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
        if name in CHOICES:
            current: Any = getattr(self._spec, name)
            return {
                value: (current if current.startswith(f"{value}:") else value, words.help)
                for value, words in CHOICES[name].items()
            }
        registry: Registry[Any] = granularities if name == "granularity" else observers
        current = getattr(self._spec, name)
        fresh = {Fixed.name: self._limits}
        return {
            cls.name: (current if isinstance(current, cls) else fresh.get(cls.name) or cls(), cls.help)
            for cls in registry
        }

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
            words = CHOICES["convention"][control.itemData(i)]
            shift = 0 if self._spec.format.name.startswith("int") else most + 1
            span = f"   {least + shift} … {most + shift}".replace("-", "−")
            control.setItemText(i, words.label + (span if self._spec.format.uniform else ""))

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
        if isinstance(plugin, Stochastic):
            self._change("rounding", plugin.text)
        else:
            self._change("granularity" if plugin.name in {cls.name for cls in granularities} else "observer", plugin)

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


def _members(spec: QuantSpec) -> list[tuple[str, str]]:
    return [(f.name, f.label) for f in formats.values() if f.family == spec.format.family]


def _alike(spec: QuantSpec, family: str) -> Format:
    """The format of another family with as many bits, or its last."""
    members = [f for f in formats.values() if f.family == family]
    return next((f for f in members if f.storage_bits == spec.format.storage_bits), members[-1])


def _rich(text: str) -> str:
    """A tooltip that wraps at a readable width."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<div style='max-width: 320px'>{safe}</div>"
