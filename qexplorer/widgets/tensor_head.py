"""The line over a picture: the tensor's name, a few facts, and how much of it was counted."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QWidget

from qexplorer.numbers import count
from qexplorer.quant.flags import NO_FLAGS, Flags
from qexplorer.widgets.controls import Badge
from qexplorer.widgets.elided import Elided, subject
from qexplorer.widgets.theme import LIGHT, Theme, scaled

BROKEN = "Values that no arithmetic can use. They are in no figure here: what is shown is of the others."
ODD = "No value is wrong, but figures say little about such values."
EXACT = "Every value of the tensor was quantized and measured."
SKETCH = (
    "Measured at once from a sketch: values that agree in sign, exponent and 8 bits of mantissa were taken together "
    "as their mean. The true SQNR is certainly within the bound. The exact figures follow."
)
SKETCH_FOR_THIS_RANGE = (
    "Measured at once from a sketch: values that agree in sign, exponent and 8 bits of mantissa were taken together "
    "as their mean. The bound holds for the range that is shown; from the values themselves the observer may choose "
    "another one. The exact figures follow."
)
EXACT_FOR_THIS_RANGE = (
    "Every value of the tensor was quantized and measured, with the range that is shown. The observer tries many "
    "ranges; of so many values it was given a sketch: those that agree in sign, exponent and 8 bits of mantissa count "
    "as their mean."
)
SAMPLED = (
    "Estimated at once from a sample that values are drawn for by how much they can err, outliers and heavy groups "
    "included; the extremes of every group are exact. Each figure has a bound, which holds except with a chance of one "
    "in 10⁹; what has none is not shown. The exact figures follow."
)
PENDING = "The figures follow, one after the other."


class TensorHead(QWidget):
    """Value in: name, facts and coverage. The badge says so too while something is still being computed."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.name = Elided(wants=True)
        self.name.setFont(scaled(1.2, bold=True))
        self.name.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.facts = subject()
        self.facts.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.odd, self.badge = Badge(), Badge()
        self._coverage = ("", 0, "", False)
        self._flags = NO_FLAGS
        self._theme = LIGHT
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 2, 12, 0)
        row.setSpacing(12)
        row.addWidget(self.name)
        row.addWidget(self.odd)
        row.addWidget(self.facts, 1)
        row.addWidget(self.badge)
        self.badge.hide()
        self.odd.hide()

    def show_theme(self, theme: Theme) -> None:
        """Colours of a theme."""
        self._theme = theme
        self.show_coverage(*self._coverage)
        self.show_flags(self._flags)

    def show_text(self, name: str, facts: str, meaning: str = "") -> None:
        """Say which tensor it is, and what else; `meaning` explains the facts."""
        self.name.setText(name)
        self.name.setToolTip(name)
        self.facts.setText(facts)
        self.facts.setToolTip("\n".join(filter(None, (facts, meaning))))

    def show_flags(self, flags: Flags) -> None:
        """Say what is odd about the values."""
        self._flags = flags
        color = self._theme.color("clip" if flags.broken else "warn")
        self.odd.show_badge(flags.text, color, BROKEN if flags.broken else ODD if flags.names else "")

    def show_coverage(self, coverage: str, n: int, bound: str = "", for_this_range: bool = False) -> None:
        """Say that `n` values were counted: all of them (`exact`), all in a `sketch`, whose figure has a `bound`, or
        some (`sampled`), or that figures are `pending`; empty for nothing yet. `for_this_range`: the exact range may be
        another.
        """
        self._coverage = (coverage, n, bound, for_this_range)
        texts = {"exact": "exact", "sketch": f"sketch {bound}".rstrip(), "sampled": f"sample of {count(n)}",
                 "pending": "measuring …", "": ""}  # fmt: skip
        meanings = {"exact": EXACT, "sketch": SKETCH, "sampled": SAMPLED, "pending": PENDING, "": ""}
        if for_this_range:
            texts[coverage] += " for this range"
            meanings |= {"exact": EXACT_FOR_THIS_RANGE, "sketch": SKETCH_FOR_THIS_RANGE}
        color = self._theme.color("good" if coverage == "exact" else "warn")
        self.badge.show_badge(texts[coverage], color, meanings[coverage])

    def show_work(self, text: str, meaning: str) -> None:
        """Say that what is seen is not yet that of the choice."""
        self.badge.show_badge(text, self._theme.color("warn"), meaning)
