"""Scheme: how the weights are quantized: the rule of the recipe that is in scope."""

import shlex
from typing import ClassVar

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QHBoxLayout, QScrollArea, QVBoxLayout, QWidget

from qexplorer.panels import Panel, Parts, Place, panels
from qexplorer.quant import Analysis, QuantSpec
from qexplorer.state.rules import ALL, LIKE, TENSOR, Rules
from qexplorer.text import printable
from qexplorer.widgets.controls import Button, field_height
from qexplorer.widgets.elided import Elided
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.spec_form import SpecForm
from qexplorer.widgets.theme import Theme
from qexplorer.widgets.views import thin_scroll_bars

LIKE_IT = "All like it"
LEAST_ROWS = 4
"""So many choices are seen without scrolling."""


@panels.register
class SchemePanel(Panel):
    """What the rule is for, the form of its spec, and what to do with it."""

    name: ClassVar[str] = "scheme"
    title: ClassVar[str] = "Scheme"
    order: ClassVar[int] = 40
    places: ClassVar[tuple[Place, ...]] = (Place("explore", 2, "weights", across=True, width=20, height=23),)

    def __init__(self, parts: Parts, parent: QWidget | None = None) -> None:
        super().__init__(parts, parent)
        self._form, self._last = SpecForm(), QuantSpec()
        self._scope = Segmented([(TENSOR, "This tensor"), (LIKE, "All like it"), (ALL, "All weights")], "Edit")
        self._scope.setObjectName("scope")
        self._scope.setToolTip("Which weights the next edit is for")
        self._scope.chosen.connect(parts.rules.choose)
        self._keep = Segmented([(False, "Quantize"), (True, "Keep as it is")], "Quantize or keep")
        self._keep.setObjectName("keep")
        self._keep.setToolTip("Quantize these weights as below, or leave them as they are stored")
        self._keep.chosen.connect(self._on_keep)
        self._rule = Elided()
        self._rule.setObjectName("rule")
        self._reset = Button("Rese&t")
        self._copy = Button("Cop&y command")
        self._copy.setToolTip("Copy the command line that prints this analysis as JSON, for scripts and notebooks")
        self._copy.setAccessibleName("Copy command")
        row = QHBoxLayout()
        row.setContentsMargins(12, 0, 12, 8)
        row.addWidget(self._reset, 1)
        row.addWidget(self._copy, 1)
        inner = QWidget()
        inner_column = QHBoxLayout(inner)
        inner_column.setContentsMargins(0, 0, 0, 0)
        inner_column.addWidget(self._form, 1, Qt.AlignmentFlag.AlignTop)
        area = QScrollArea()
        area.setFrameShape(QScrollArea.Shape.NoFrame)
        area.setWidgetResizable(True)
        area.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        area.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        area.setWidget(inner)
        area.viewport().setAutoFillBackground(False)
        inner.setAutoFillBackground(False)
        self._area = area
        parts.themes.changed.connect(self._on_theme)
        self._on_theme(parts.themes.current)
        head = QVBoxLayout()
        head.setContentsMargins(12, 2, 12, 2)
        head.setSpacing(6)
        for widget in (self._scope, self._rule, self._keep):
            head.addWidget(widget)
        self.body.addLayout(head)
        self.body.addWidget(area, 1)
        self.body.addLayout(row)
        self._form.edited.connect(self._on_edited)
        self._reset.clicked.connect(self._on_reset)
        self._copy.clicked.connect(self._on_copy)
        parts.rules.changed.connect(self._show)
        parts.preview.analyzed.connect(self._on_analyzed)
        self._show()

    def _on_theme(self, theme: Theme) -> None:
        thin_scroll_bars(self._area, theme)
        inner = self._area.widget()
        if inner is not None:
            self._area.setMinimumWidth(inner.minimumSizeHint().width() + 12)
        self._area.setMinimumHeight(LEAST_ROWS * (field_height(self) + 6))

    def _show(self) -> None:
        checkpoint, state, rules = self.parts.preview.checkpoint, self.parts.store.state, self.parts.rules
        tensor, weights = checkpoint.by_name.get(state.tensor) if checkpoint else None, rules.spec.weights
        self._show_scope(rules)
        self._keep.show_value(weights is None)
        self._form.setEnabled(weights is not None)
        self._copy.setEnabled(self.parts.preview.spec is not None)
        self._last = weights or state.recipe.every.weights or self._last  # what Quantize would bring
        if checkpoint is None or tensor is None or rules.scope == ALL != self._held_scope(rules):
            self._form.show_spec(self._last, None)
        else:
            guess = checkpoint.kind(tensor)
            self._form.show_spec(self._last, tensor.shape, guess.kind, guess.text)

    def _show_scope(self, rules: Rules) -> None:
        """Say which rule is edited, and for what it is."""
        alike = len(rules.alike)
        self._scope.show_options(
            [(TENSOR, "This tensor"), (LIKE, f"All like it · {alike}" if alike > 1 else LIKE_IT), (ALL, "All weights")]
        )
        helps = {TENSOR: "The next edit is for the selected tensor alone",
                 LIKE: "The next edit is for the tensors at the same place of each repeated block",
                 ALL: "The next edit is for all weights that have no rule of their own"}  # fmt: skip
        self._scope.show_refusals({LIKE: "" if alike > 1 else "No other tensor of the file is like it."}, helps)
        self._scope.show_value(rules.scope)
        rule, held, own = rules.edited, rules.held, len(self.parts.store.state.recipe.rules)
        if rule is None:
            text = "The default" + (f", beside {own} rule{'s' if own > 1 else ''}" if own else " for all weights")
            if held is not None:
                text = f"The default; this tensor follows {printable(held.subject, 60)}"
        elif rules.exists:
            number = next(i for i, each in enumerate(self.parts.store.state.recipe.rules, 1)
                          if each.subject == rule.subject)  # fmt: skip
            text = f"Rule {number} of {own}: {printable(rule.subject, 200)}"
        else:
            text = f"An edit adds a rule for {printable(rule.subject, 200)}"
        self._rule.setText(text)
        self._rule.setToolTip(text)
        self._reset.setText("Rese&t" if rule is None else "Back &to the default")
        self._reset.setAccessibleName(self._reset.text().replace("&", ""))
        default = rules.spec.weights == QuantSpec() if rule is None else not rules.exists
        self._reset.setEnabled(not default)
        self._reset.setToolTip(
            "Put every choice of the scheme back to its default; undo brings them back" if rule is None
            else "Remove this rule; undo brings it back"
        )  # fmt: skip

    @staticmethod
    def _held_scope(rules: Rules) -> str:
        return ALL if rules.held is None else TENSOR if rules.held.single else LIKE

    def _on_edited(self, spec: QuantSpec) -> None:
        before = self.parts.store.state
        self.parts.rules.write(spec)
        if self.parts.store.state is before:  # nobody was told: the form goes back to what holds
            self._show()

    def _on_keep(self, keep: object) -> None:
        self.parts.rules.write(None if keep else self._last)

    def _on_analyzed(self, analysis: Analysis) -> None:
        self._form.show_limits(max(analysis.lo, analysis.data_lo), min(analysis.hi, analysis.data_hi))

    def _on_reset(self) -> None:
        self.parts.rules.reset()

    def _on_copy(self) -> None:
        state, spec = self.parts.store.state, self.parts.preview.spec
        if spec is None:
            return
        words = ["qexplorer", "analyze", state.path, "--tensor", state.tensor]
        for name, value in spec.to_json().items():
            if name == "format" or getattr(spec, name) != spec.default(name):
                words += [f"--{name.replace('_', '-')}", value]
        QGuiApplication.clipboard().setText(shlex.join([*words, "--json"]))
