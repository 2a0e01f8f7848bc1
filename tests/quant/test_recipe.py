"""Recipes: which rule decides, what text and files say, and that nothing changes on the way."""

import fnmatch
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qexplorer.errors import UserError
from qexplorer.inspection.recipe_file import from_toml, read_recipe, to_toml
from qexplorer.quant.recipe import LayerSpec, Recipe, Rule, parse_rule
from qexplorer.quant.spec import QuantSpec

SPECS = [None, *map(QuantSpec.parse, ("int8", "int4 channel mse", "nf4 group:64", "int6 fixed:-0.5,1e-09"))]
specs = st.builds(LayerSpec, st.sampled_from(SPECS), st.sampled_from(SPECS[:3]))
patterns = st.sampled_from(["a", "a.0", "a.*", "*", "b.?.c", "b.1.c.weight", "[ab].*", "head", "😀.*", 'a\x7f"\\'])
rules = st.builds(Rule, patterns, specs, st.sampled_from(["", "", "linear", "convolution"]))
recipes = st.builds(Recipe, specs, st.lists(rules, max_size=6).map(tuple), st.sampled_from(["", "fold", "fold,gptq"]))
NAMES = ["a", "a.0.weight", "a.0.bias", "b.1.c", "b.1.c.weight", "head.weight", "x"]


@given(recipes)
def test_the_first_rule_that_fits_decides(recipe: Recipe) -> None:
    for name in NAMES:
        for kind in ("", "linear", "convolution", "depthwise convolution"):
            layer = name.removesuffix(".weight")
            fits = [rule for rule in recipe.rules
                    if fnmatch.fnmatchcase(layer, rule.match.removesuffix(".weight"))
                    and rule.kind in ("", kind, kind.removeprefix("depthwise "))]  # fmt: skip
            assert recipe.of(name, kind) == (fits[0].spec if fits else recipe.every)


@given(recipes)
def test_json_toml_and_the_settings_of_jobs_hold_a_recipe(recipe: Recipe) -> None:
    assert Recipe.from_json(recipe.to_json()) == recipe
    text = to_toml(recipe)
    tomllib.loads(text)
    assert from_toml(text) == recipe
    every = [spec.short if spec else "float" for spec in (recipe.every.weights, recipe.every.activations)]
    again = Recipe.parse(*every, recipe.overrides, recipe.repairs)
    for name in NAMES:
        assert again.of(name, "linear") == recipe.of(name, "linear")


def test_a_file_is_read_as_documented() -> None:
    recipe = from_toml(
        '[[rule]]\nmatch = "features.*"\nkind = "convolution"\nweights = "int4 channel"\n'
        'activations = "uint8 affine"\n[[rule]]\nmatch = "head"\nkeep = true\n[default]\nweights = "int8"\n'
    )
    assert recipe.of("features.3.weight", "convolution").text == "int4 channel / uint8 affine"
    assert recipe.of("features.3.weight", "linear").text == "int8"
    assert recipe.of("head").text == "float"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("colour = 3", "colour"),
        ("[[rule]]\nmatch = 3", "match"),
        ('[[rule]]\nmatch = "a"\nweights = "int9"', "int9"),
        ("[default]\nweights = 8", "weights"),
        ("not toml", "not a recipe"),
        ("[[rule]]\n" * 3 + "x" * 10, "not a recipe"),
    ],
)
def test_what_is_not_a_recipe_is_refused_by_name(tmp_path, text: str, said: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(UserError, match=said) as caught:
        read_recipe(file)
    assert "mine.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["", "a", "a=", "=int8", "a=int9", "a=int8 / uint9"])
def test_a_rule_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(UserError):
        parse_rule(text)


def test_a_rule_for_one_layer_comes_before_those_for_several_and_replaces_its_own() -> None:
    several, one = Rule("a.*", LayerSpec()), Rule("a.1", LayerSpec(SPECS[1]))
    recipe = Recipe().with_rule(several).with_rule(one)
    assert [rule.match for rule in recipe.rules] == ["a.1", "a.*"]
    recipe = recipe.with_rule(Rule("a.1", LayerSpec(SPECS[2])))
    assert recipe.of("a.1.weight").weights == SPECS[2]
    assert recipe.without("a.1").rules == (several,)
