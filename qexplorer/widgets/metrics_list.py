"""The figures of one tensor: SQNR large, the rest a quiet list; each with its unit and what it means."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget

from qexplorer.numbers import bounded_decibels, count, decibels, figure, percent, size
from qexplorer.quant.analysis import Analysis
from qexplorer.quant.metrics import METRICS, Metric
from qexplorer.widgets.bands import band_of
from qexplorer.widgets.controls import caption
from qexplorer.widgets.lines import NONE
from qexplorer.widgets.theme import scaled

LEAST_LINES = 10
"""So many are seen without scrolling."""
SOURCES = {"sketch": "sketch", "sampled": "sample"}


@dataclass(frozen=True)
class Line:
    """One line of the list, of the figure `metric` of `Metrics` if of one."""

    label: str
    value: Callable[[Analysis], str]
    meaning: str
    metric: str = ""

    def text(self, a: Analysis) -> str:
        """The figure; dots where a first answer has none, which follows."""
        if a.coverage == "sampled" and not a.bounds and self in SCALES:
            return "…"
        if a.coverage == "exact" or not self.metric:
            return self.value(a)
        if math.isnan(getattr(a.metrics, self.metric)):
            return "…"
        most = a.coverage == "sampled" and self.metric == "max_abs_error"
        return f"≤ {self.value(a)}" if most else self.value(a)

    def explained(self, a: Analysis) -> str:
        """What it means, and between which figures the true one lies where this one is of a sketch."""
        if self.metric not in a.bounds:
            return self.meaning
        metrics = (replace(a.metrics, **{self.metric: end}) for end in a.bounds[self.metric])
        low, high = (self.value(replace(a, metrics=each)) for each in metrics)
        which = " for this range" if a.for_this_range else ""
        estimate = f"Estimated from a {SOURCES[a.coverage]}; the exact value{which} lies between {low} and {high}."
        return f"{self.meaning} {estimate}"


def _spread(values: list[float]) -> str:
    """One figure, or the least and greatest of many."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    return figure(low) if low == high else f"{figure(low, 3)} … {figure(high, 3)}"


def _scale(a: Analysis) -> str:
    if not a.spec.format.scaled or a.params.levels is not None:
        return "none"
    scales = np.abs(a.params.scale)
    floor = " (least possible)" if float(scales.max(initial=0.0)) == a.spec.scale_dtype.least else ""
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


WRITTEN: Mapping[str, Callable[[Analysis], str]] = {
    "cosine": lambda a: f"{a.metrics.cosine:.6f}",
    "code_utilization": _codes,
    "code_entropy_bits": lambda a: f"{a.metrics.code_entropy_bits:.2f} bits",
    "bits_per_weight": lambda a: f"{a.metrics.bits_per_weight:.3f}",
    "bytes": lambda a: f"{size(a.metrics.bytes)}  ←  {size(a.metrics.original_bytes)}",
    "nonfinite": lambda a: count(a.metrics.nonfinite),
}
"""The metrics that are not written as their unit has it."""


def _line(metric: Metric) -> Line:
    plain = percent if metric.unit == "%" else figure
    write = WRITTEN.get(metric.key) or (lambda a: plain(metric.read(a.metrics)))
    return Line(metric.title, lambda a: NONE if math.isnan(metric.read(a.metrics)) else write(a), metric.help,
                metric.key)  # fmt: skip


SCALES = (
    Line(
        "Scale S",
        _scale,
        "The step between two levels; of many, the least and greatest.",
    ),
    Line("Zero point Z", _zero_point, "The code that stands for exactly 0."),
)
_OF_METRICS = {metric.key: _line(metric) for metric in METRICS if metric.key != "sqnr_db"}
NONFINITE = _OF_METRICS.pop("nonfinite")
_COSTS = [_OF_METRICS.pop(key) for key in ("bits_per_weight", "bytes")]
LINES = (*_COSTS, *_OF_METRICS.values(), *SCALES)
"""What it costs, then errors and codes, then scales."""


def sqnr_bound(a: Analysis) -> str:
    """How far the SQNR of a first answer may be from the true one, as ± 0.2 dB; empty where it is exact or unknown."""
    if "sqnr_db" not in a.bounds or math.isnan(a.metrics.sqnr_db):
        return ""
    db, bounds = a.metrics.sqnr_db, a.bounds["sqnr_db"]
    if not math.isfinite(db):
        return f"≥ {decibels(bounds[0], 1)} dB" if math.isfinite(bounds[0]) else ""
    text = bounded_decibels(db, bounds)
    return f"± {text.partition(' ± ')[2]} dB" if "±" in text else "" if text == "…" else f"{text} dB"


def _nothing(a: Analysis) -> str:
    """Why there is no SQNR."""
    return (
        "all values are zero: nothing to measure" if a.metrics.nonfinite < a.metrics.n else "no finite value to measure"
    )


LOST = "nearly all on one code"
"""Said instead of a word for the SQNR, which a few large values may make look well."""


class MetricsList(QWidget):
    """Value in: an `Analysis`. It keeps its lines and changes only their figures."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._sqnr = QLabel(NONE)
        self._sqnr.setFont(scaled(2.2, bold=True))
        self._sqnr.setAccessibleName("SQNR in decibels")
        self._sqnr.setToolTip(METRICS[0].help)
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
        lines = QVBoxLayout()
        lines.setSpacing(3)
        self._values: list[QLabel] = []
        for line in (*LINES, NONFINITE):
            label, value = caption(line.label), QLabel()
            value.setTextFormat(Qt.TextFormat.PlainText)
            value.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            value.setAccessibleName(line.label)
            value.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)  # a long figure moves no panel
            value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            for each in (label, value):
                each.setToolTip(line.meaning)
            row = QHBoxLayout()  # a long figure has the room that a short label leaves
            row.addWidget(label)
            row.addWidget(value, 1)
            lines.addLayout(row)
            self._values.append(value)
            self._bad_label = label
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 0, 12, 8)
        column.addLayout(head)
        column.addLayout(lines)
        column.addStretch()
        self.show_analysis(None)

    @property
    def least(self) -> int:
        """The height of the SQNR and the first lines."""
        return self._values[LEAST_LINES].geometry().top() or self.sizeHint().height() * LEAST_LINES // len(LINES)

    def show_analysis(self, analysis: Analysis | None, why_not: str = "Select a tensor") -> None:
        """Show the figures of a result, or why there are none."""
        bad = analysis.metrics.nonfinite if analysis else 0
        self._values[-1].setVisible(bool(bad))
        self._bad_label.setVisible(bool(bad))
        if analysis is None:
            self._sqnr.setText(NONE)
            self._band.setText("Not measured" if len(why_not) > 24 else why_not)
            self._band.setToolTip(why_not)
            for value in self._values:
                value.clear()
            return
        sqnr = analysis.metrics.sqnr_db
        known = not math.isnan(sqnr)
        if not known and analysis.coverage == "sampled":
            self._sqnr.setText("…")
            self._band.setText("being measured")
            self._show_lines(analysis)
            return
        self._sqnr.setText(decibels(sqnr) if known else NONE)
        word, reach = (band_of(sqnr).word, band_of(sqnr).reach) if known else (_nothing(analysis), "")
        if analysis.metrics.lost:
            word, reach = LOST, ""
        self._band.setText(word + (reach if analysis.coverage == "exact" else f" · {sqnr_bound(analysis)}"))
        self._show_lines(analysis)

    def _show_lines(self, analysis: Analysis) -> None:
        for line, value in zip((*LINES, NONFINITE), self._values, strict=True):
            value.setText(line.text(analysis))
            value.setToolTip(line.explained(analysis))

    def figures(self) -> dict[str, str]:
        """What is shown now, by label."""
        shown = {"SQNR": self._sqnr.text()}
        return shown | {line.label: value.text() for line, value in zip(LINES, self._values, strict=False)}
