import pytest
from hands import pick, type_text
from PySide6.QtCore import Qt
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QLabel

from qexplorer.quant.formats import formats
from qexplorer.quant.granularity import PerChannel, PerGroup, PerTensor
from qexplorer.quant.layer_kinds import TRANSPOSED
from qexplorer.quant.observers.fixed import Fixed
from qexplorer.quant.observers.minmax import MinMax
from qexplorer.quant.scale_dtypes import FLOAT32
from qexplorer.quant.spec import QuantSpec
from qexplorer.widgets.controls import Combo
from qexplorer.widgets.segmented import Segmented
from qexplorer.widgets.spec_form import SpecForm

SHAPE = (16, 128)


class Driver:
    """A form in the hands of a person, with an owner that shows every edit as the store would."""

    def __init__(self, form: SpecForm) -> None:
        self.form, self.spec, self.edits = form, QuantSpec(), []
        form.edited.connect(self._on_edited)
        self.show(QuantSpec())

    def _on_edited(self, spec: QuantSpec) -> None:
        self.edits.append(spec)
        self.show(spec)

    def show(self, spec: QuantSpec, shape: tuple[int, ...] | None = SHAPE) -> None:
        self.spec = spec
        self.form.show_spec(spec, shape)

    def choose(self, name: str, value: str) -> None:
        control = self.form.controls[name]
        if isinstance(control, Combo):
            pick(control, value)
        else:
            QTest.mouseClick(control, Qt.MouseButton.LeftButton, pos=control.rect_of(value).center().toPoint())

    def enter(self, row: str, field: str, text: str) -> None:
        type_text(self.form.settings[row].fields[field], text)

    def label(self, name: str) -> str:
        return next(w.text() for w in self.form.findChildren(QLabel) if w.buddy() is self.form.controls[name])

    def dots(self) -> set[str]:
        return {name for name in self.form.controls if self.label(name).endswith("•")}

    def said(self) -> list[str]:
        return [w.text() for w in self.form.findChildren(QLabel) if w.isVisible() and len(w.text()) > 20]

    def offered(self, name: str) -> dict[str, bool]:
        control = self.form.controls[name]
        if isinstance(control, Segmented):
            return {v: v not in control.refusals for v, _ in control.options}
        return {control.itemData(i): control.model().item(i).isEnabled() for i in range(control.count())}


@pytest.fixture
def driver(shown) -> Driver:
    return Driver(shown(SpecForm(), 360, 420))


@pytest.mark.parametrize("name", formats.names)
def test_every_format_can_be_reached(driver, name):
    wanted = formats[name]
    driver.show(QuantSpec(format=formats["int16" if name != "int16" else "uint3"]))
    driver.choose("format", wanted.family)
    driver.choose("bits", name)
    assert driver.spec.format == wanted


def test_another_family_keeps_the_number_of_bits(driver):
    driver.choose("bits", "int4")
    driver.choose("format", formats["uint4"].family)
    assert driver.spec.format.name == "uint4"


def test_a_family_comes_back_with_the_format_that_was_last_chosen_of_it(driver):
    driver.choose("bits", "int4")
    driver.choose("format", formats["fp16"].family)
    driver.choose("bits", "fp16")
    driver.choose("format", formats["int8"].family)
    assert driver.spec.format.name == "int4"
    driver.choose("format", formats["fp16"].family)
    assert driver.spec.format.name == "fp16"


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("bits", "int3", {"format": "int3"}),
        ("scheme", "affine", {"scheme": "affine"}),
        ("convention", "signed_extreme", {"convention": "signed_extreme"}),
        ("granularity", "channel", {"granularity": "channel"}),
        ("granularity", "group", {"granularity": "group:32"}),
        ("observer", "mse", {"observer": "mse"}),
        ("observer", "percentile", {"observer": "percentile:99.99"}),
        ("observer", "histogram", {"observer": "histogram"}),
        ("rounding", "toward_zero", {"rounding": "toward_zero"}),
        ("division", "true", {"division": "true"}),
    ],
)
def test_a_choice_gives_the_spec_with_just_that_changed(driver, name, value, expected):
    driver.choose(name, value)
    assert driver.edits == [QuantSpec.from_json(expected)]


def test_showing_a_spec_tells_nobody(driver):
    driver.show(QuantSpec.from_json({"format": "uint4", "scheme": "affine", "observer": "mse"}))
    assert driver.edits == []
    assert driver.form.controls["bits"].value == "uint4"
    assert driver.form.controls["scheme"].value == "affine"
    assert driver.form.controls["observer"].currentData() == "mse"


def test_a_plain_cast_greys_out_everything_else_and_says_why(driver):
    driver.choose("format", formats["fp16"].family)
    for name, control in driver.form.controls.items():
        assert control.isEnabled() == (name in ("format", "bits")), name
        if not control.isEnabled():
            assert "plain cast" in control.toolTip()
            assert "plain cast" in control.accessibleDescription()


def test_an_affine_scheme_greys_out_the_conventions_and_says_why(driver):
    driver.choose("convention", "full_span")
    driver.choose("scheme", "affine")
    control = driver.form.controls["convention"]
    assert not control.isEnabled()
    assert "zero point" in control.toolTip()
    assert driver.spec.convention == QuantSpec().convention
    driver.choose("scheme", "symmetric")
    assert control.isEnabled()


@pytest.mark.parametrize("granularity", ["channel", "group"])
def test_the_histogram_observer_is_greyed_out_where_there_are_many_scales(driver, granularity):
    assert driver.offered("observer")["histogram"]
    driver.choose("granularity", granularity)
    assert not driver.offered("observer")["histogram"]
    combo = driver.form.controls["observer"]
    at = combo.findData("histogram")
    assert "one range per tensor" in combo.itemData(at, Qt.ItemDataRole.ToolTipRole)
    before = driver.spec
    pick(combo, "histogram")
    assert driver.spec == before


def test_the_output_axis_is_told_with_its_reason_where_it_is_not_the_first(driver):
    told = "output axis 1: transposed convolution, by its name"
    driver.form.show_spec(QuantSpec(granularity=PerChannel()), (3, 64, 3, 3), TRANSPOSED, told)
    assert driver.said() == ["Output axis 1: transposed convolution, by its name."]
    driver.form.show_spec(QuantSpec(granularity=PerChannel(0)), (3, 64, 3, 3), TRANSPOSED, told)
    assert driver.said() == []
    driver.form.show_spec(QuantSpec(granularity=PerGroup(32)), (3, 64, 2, 2), TRANSPOSED, told)
    (said,) = driver.said()
    assert said.endswith("by its name. An output channel has 12 values, fewer than a group: each is one.")


def test_an_axis_that_the_tensor_has_not_is_told_beside_the_field_until_it_is_mended(driver):
    driver.show(QuantSpec(granularity=PerChannel(5)), SHAPE)
    assert any("Axis 5" in text for text in driver.said())
    type_text(driver.form.settings["granularity"].fields["axis"], "5")
    assert any("Axis 5" in text for text in driver.said())
    driver.enter("granularity", "axis", "1")
    assert driver.spec.granularity == PerChannel(1)
    assert driver.said() == []


@pytest.mark.parametrize(
    ("row", "choice", "field", "text", "message"),
    [
        ("granularity", "group", "size", "many", "must be a whole number, not “many”"),
        ("granularity", "group", "size", "0", "1 or more"),
        ("observer", "percentile", "percentile", "120", "100 or less"),
        ("observer", "fixed", "lo", "3", "The lower limit 3 is not below the upper limit 1."),
    ],
)
def test_a_wrong_number_is_told_beside_its_field_and_changes_nothing(driver, row, choice, field, text, message):
    driver.choose(row, choice)
    driver.edits.clear()
    driver.enter(row, field, text)
    assert driver.edits == []
    assert any(message in said for said in driver.said())
    assert driver.form.settings[row].fields[field].wrong
    driver.enter(row, field, "64" if row == "granularity" else "99" if choice == "percentile" else "-3")
    assert len(driver.edits) == 1
    assert driver.said() == []


def test_settings_of_a_plugin_reach_the_spec(driver):
    driver.choose("granularity", "group")
    driver.enter("granularity", "size", "128")
    driver.choose("observer", "fixed")
    driver.enter("observer", "hi", "0.5")
    assert (driver.spec.granularity, driver.spec.observer) == (PerGroup(128), Fixed(-1, 0.5))


def test_what_is_not_at_its_default_has_a_dot(driver):
    assert driver.dots() == set()
    driver.choose("bits", "int4")
    assert driver.dots() == {"bits"}
    driver.choose("scheme", "affine")
    driver.choose("observer", "percentile")
    assert driver.dots() == {"bits", "scheme", "observer"}
    driver.choose("format", formats["fp16"].family)
    assert driver.dots() == {"format", "bits"}
    driver.show(QuantSpec())
    assert driver.dots() == set()


def test_what_a_plain_cast_put_back_comes_again_with_the_next_integer_format(driver):
    before = QuantSpec.from_json(
        {"scheme": "affine", "granularity": "group:64", "observer": "percentile:99", "rounding": "half_up"}
    )
    driver.show(before)
    driver.choose("format", formats["fp16"].family)
    driver.choose("bits", "fp16")
    assert driver.spec == QuantSpec(format=formats["fp16"])
    driver.choose("format", formats["int8"].family)
    driver.choose("bits", "int8")
    assert driver.spec == before


def test_what_was_chosen_since_is_not_overwritten_by_what_was_put_back(driver):
    driver.show(QuantSpec.from_json({"scheme": "affine", "observer": "mse"}))
    driver.choose("format", formats["fp16"].family)
    driver.choose("format", formats["int8"].family)
    driver.choose("scheme", "symmetric")
    driver.choose("bits", "int4")
    assert (driver.spec.scheme, driver.spec.observer.name) == ("symmetric", "mse")


def test_what_was_undone_does_not_come_back_with_another_format(driver):
    symmetric, affine = QuantSpec(), QuantSpec(scheme="affine")
    driver.show(affine)
    driver.choose("format", formats["fp16"].family)
    driver.show(affine)
    driver.show(symmetric)
    driver.choose("bits", "int4")
    assert driver.spec == QuantSpec(format=formats["int4"])


def test_many_scales_put_the_histogram_observer_back(driver):
    driver.choose("observer", "histogram")
    driver.choose("granularity", "channel")
    assert (driver.spec.granularity, driver.spec.observer) == (PerChannel(), MinMax())
    driver.choose("granularity", "tensor")
    assert driver.spec.granularity == PerTensor()


@pytest.mark.parametrize(
    ("name", "span"),
    [("int8", "−127 … 127"), ("int4", "−7 … 7"), ("uint8", "1 … 255"), ("uint4", "1 … 15")],
)
def test_the_conventions_show_the_codes_that_they_use(driver, name, span):
    driver.show(QuantSpec(format=formats[name]))
    combo = driver.form.controls["convention"]
    assert combo.itemText(combo.findData("restricted")).endswith(span)


def test_stochastic_rounding_shows_its_seed_and_takes_another(driver):
    row = driver.form.settings["rounding"]
    assert not row.isVisible()
    driver.choose("rounding", "stochastic")
    assert driver.spec.rounding.text == "stochastic:0"
    assert row.isVisible()
    driver.enter("rounding", "seed", "17")
    assert driver.spec.rounding.text == "stochastic:17"
    driver.enter("rounding", "seed", "-3")
    assert driver.spec.rounding.text == "stochastic:17"
    assert any("Seed" in text for text in driver.said())
    driver.choose("rounding", "half_even")
    assert not row.isVisible()


def test_a_block_format_brings_its_block_and_scale_and_gives_them_back(driver):
    driver.choose("format", formats["mxfp4"].family)
    driver.choose("bits", "mxfp4")
    assert driver.spec.granularity.text == "block:1x32"
    assert driver.spec.scale_dtype.name == "e8m0"
    assert not driver.form.controls["granularity"].isEnabled()
    assert not driver.form.settings["granularity"].isEnabled()
    offered = driver.offered("scale_dtype")
    assert {name for name, enabled in offered.items() if enabled} == {n for n in offered if n.startswith("e8m0")}
    assert not driver.dots() & {"granularity", "scale_dtype"}
    driver.choose("format", formats["int8"].family)
    assert (driver.spec.granularity, driver.spec.scale_dtype) == (PerTensor(), FLOAT32)


def test_every_control_explains_itself(driver):
    for name, control in driver.form.controls.items():
        assert control.toolTip(), name


def test_the_access_keys_are_unique(driver):
    keys = [driver.label(n).split("&")[1][0].lower() for n in driver.form.controls]
    assert len(keys) == len(set(keys)) == 9
