"""The options that give a recipe: a file, and single rules before those of the file."""

import argparse
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from qexplorer.errors import UserError
from qexplorer.inspection.recipe_file import read_recipe
from qexplorer.quant.recipe import Recipe, parse_rule

RULE = "PATTERN = WEIGHTS / ACTIVATIONS"


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """`--recipe` and `--rule`."""
    parser.add_argument("--recipe", metavar="FILE", help="a TOML file of rules, the first that fits decides, and a "
                        "[default]; as Recipe in the window saves it")  # fmt: skip
    parser.add_argument("--rule", action="append", default=[], metavar=f"“{RULE}”", help="a rule that is tried before "
                        "those of the file; may be repeated; “PATTERN = float” keeps what fits as it is")  # fmt: skip


def recipe_given(args: argparse.Namespace, default: Recipe, written: Collection[str]) -> Recipe:
    """The recipe of the options; without a file its default and its rules are those of `default`, which the options
    `written` stand for. Raises `UserError` where both are given.
    """
    if args.recipe and written:
        option = min(written).replace("_", "-")
        raise UserError(f"--{option} and --recipe both say how to quantize.", "Leave one of them out.", field="recipe")
    recipe = read_recipe(Path(args.recipe).expanduser()) if args.recipe else default
    rules = tuple(parse_rule(text, recipe.every.activations) for text in args.rule)
    return replace(recipe, rules=(*rules, *recipe.rules))
