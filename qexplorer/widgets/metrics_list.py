"""The figures of one tensor: SQNR large, the rest a quiet list; each with its unit and what it means."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from qexplorer.numbers import count, decibels, figure, percent, size
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.params import EPS
from qexplorer.widgets.bands import band_of
from qexplorer.widgets.controls import caption
from qexplorer.widgets.theme import scaled


@dataclass(frozen=True)
class Line:
    """One line of the list."""

    label: str
    value: Callable[[Analysis], str]
    meaning: str

    def explained(self, a: Analysis) -> str:
        """What it means, and between which figures the true one lies where this one is of a sketch."""
        metric = METRICS.get(self.label, "")
        if metric not in a.bounds:
            return self.meaning
        low, high = (self.value(replace(a, metrics=replace(a.metrics, **{metric: end}))) for end in a.bounds[metric])
        return f"{self.meaning} Estimated from a sketch; the exact value lies between {low} and {high}."


def _spread(values: list[float]) -> str:
    """One figure, or the least and greatest of many."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return figure(low) if low == high else f"{figure(low, 3)} … {figure(high, 3)}"


def _scale(a: Analysis) -> str:
    if not a.spec.format.scaled or a.params.levels is not None:
        return "none"
    scales = np.abs(a.params.scale)
    floor = " (least possible)" if float(scales.max(initial=0.0)) == float(EPS) else ""
    return _spread([float(s) for s in a.params.scale]) + floor


def _zero_point(a: Analysis) -> str:
    if a.params.offset is not None:
        return _spread([float(m) for m in a.params.offset])
    if not a.spec.format.uniform:
        return "none"
    points = [int(z) for z in a.params.zero_point]
    low, high = min(points, default=0), max(points, default=0)
    return f"{low}" if low == high else f"{low} … {high}"


def _codes(a: Analysis) -> str:
    used = round(a.metrics.code_utilization * 2**a.spec.format.code_bits)
    codes = a.params.qmax - a.params.qmin + 1
    return f"{count(used)} of {count(codes)}"


LINES = (
    Line(
        "Mean squared error",
        lambda a: figure(a.metrics.mse),
        "Σe²/n, in the square of the weights' unit. The MSE observer minimizes it.",
    ),
    Line(
        "RMS error",
        lambda a: figure(a.metrics.rmse),
        "√(Σe²/n). Rounding alone gives about S/√12 ≈ 0.29 S.",
    ),
    Line("Mean absolute error", lambda a: figure(a.metrics.mae), "Σ|e|/n, the average distance from the original."),
    Line(
        "Worst error",
        lambda a: figure(a.metrics.max_abs_error),
        "max |e|. Above S/2 (S, toward zero) some value was clipped.",
    ),
    Line(
        "Relative error", lambda a: percent(a.metrics.relative_rmse), "‖e‖/‖x‖: the error beside the weights' own size."
    ),
    Line(
        "Cosine",
        lambda a: f"{a.metrics.cosine:.6f}",
        "Σxy/(‖x‖‖y‖): 1 where both point the same way.",
    ),
    Line(
        "Clipped", lambda a: percent(a.metrics.clipped_fraction), "Share of values beyond the codes, before clamping."
    ),
    Line("Codes used", _codes, "Distinct codes in use, of those that the scheme allows."),
    Line(
        "Code entropy",
        lambda a: f"{a.metrics.code_entropy_bits:.2f} bits",
        "−Σ p·log₂ p of the codes: what they carry, and what a perfect compressor would need for each.",
    ),
    Line(
        "Scale S",
        _scale,
        "The step between two levels; of many, the least and greatest. Never below 2⁻²³, as in torch.",
    ),
    Line("Zero point Z", _zero_point, "The code that stands for exactly 0."),
    Line(
        "Bits per weight",
        lambda a: f"{a.metrics.bits_per_weight:.3f}",
        "Codes, scales and zero points, divided by the number of weights.",
    ),
    Line(
        "Size",
        lambda a: f"{size(a.metrics.bytes)}  ←  {size(a.metrics.original_bytes)}",
        "Theoretical size of this tensor when packed, with its scales; beside it, as stored in the file.",
    ),
)
NONFINITE = Line(
    "Not finite", lambda a: count(a.metrics.nonfinite), "NaN and infinite values in the file; in no figure here."
)
METRICS = {
    "Mean squared error": "mse", "RMS error": "rmse", "Mean absolute error": "mae", "Worst error": "max_abs_error",
    "Relative error": "relative_rmse", "Cosine": "cosine", "Clipped": "clipped_fraction",
    "Codes used": "code_utilization", "Code entropy": "code_entropy_bits",
}  # fmt: skip
"""The lines that a sketch has a bound of."""


def sqnr_bound(a: Analysis) -> str:
    """How far the SQNR of a sketch can be from the true one, e.g. ± 0.16 dB; empty where it is exact or unknown."""
    if "sqnr_db" not in a.bounds:
        return ""
    (low, high), db = a.bounds["sqnr_db"], a.metrics.sqnr_db
    if not math.isfinite(high + db):
        return f"≥ {low:.1f} dB" if math.isfinite(low) else ""
    return f"± {figure(max(high - db, db - low, 0.001), 2)} dB" if math.isfinite(low) else f"≤ {high:.1f} dB"


class MetricsList(QWidget):
    """Value in: an `Analysis`. It keeps its lines and changes only their figures."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sqnr = QLabel("–")
        self._sqnr.setFont(scaled(2.2, bold=True))
        self._sqnr.setAccessibleName("SQNR in decibels")
        self._sqnr.setToolTip(
            "Signal-to-quantization-noise ratio, 10·log₁₀(Σx²/Σe²): one more bit is worth about 6 dB."
        )
        unit = QLabel("dB SQNR")
        unit.setFont(scaled(1.0, bold=True))
        self._band = caption(" ")
        self._band.setFont(scaled(0.88))
        self._band.setObjectName("band")
        head = QHBoxLayout()
        head.setSpacing(10)
        head.addWidget(self._sqnr)
        beside = QVBoxLayout()
        beside.setSpacing(0)
        beside.addWidget(unit)
        beside.addWidget(self._band)
        head.addLayout(beside, 1)
        head.setAlignment(beside, Qt.AlignmentFlag.AlignVCenter)
        grid = QGridLayout()
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        self._values: list[QLabel] = []
        for row, line in enumerate((*LINES, NONFINITE)):
            label, value = caption(line.label), QLabel()
            value.setTextFormat(Qt.TextFormat.PlainText)
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            value.setAccessibleName(line.label)
            value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a long figure moves no panel
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            for each in (label, value):
                each.setToolTip(line.meaning)
            grid.addWidget(label, row, 0)
            grid.addWidget(value, row, 1)
            self._values.append(value)
            self._bad_label = label
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 0, 12, 8)
        column.addLayout(head)
        column.addLayout(grid)
        column.addStretch()
        self.show_analysis(None)

    def show_analysis(self, analysis: Analysis | None, why_not: str = "Select a tensor") -> None:
        """Show the figures of a result, or why there are none."""
        bad = analysis.metrics.nonfinite if analysis else 0
        self._values[-1].setVisible(bool(bad))
        self._bad_label.setVisible(bool(bad))
        if analysis is None:
            self._sqnr.setText("–")
            self._band.setText("Not measured" if len(why_not) > 24 else why_not)
            self._band.setToolTip(why_not)
            for value in self._values:
                value.clear()
            return
        sqnr = analysis.metrics.sqnr_db
        known = not math.isnan(sqnr)
        self._sqnr.setText(decibels(sqnr) if known else "–")
        word, reach = (band_of(sqnr).word, band_of(sqnr).reach) if known else ("no finite value to measure", "")
        rough = {"sketch": f" · {sqnr_bound(analysis)}", "sampled": " · of a sample"}
        self._band.setText(word + rough.get(analysis.coverage, reach))
        for line, value in zip((*LINES, NONFINITE), self._values, strict=True):
            value.setText(line.value(analysis))
            value.setToolTip(line.explained(analysis))

    def figures(self) -> dict[str, str]:
        """What is shown now, by label."""
        shown = {"SQNR": self._sqnr.text()}
        return shown | {line.label: value.text() for line, value in zip(LINES, self._values, strict=False)}
