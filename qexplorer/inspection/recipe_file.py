"""A recipe as a TOML file: `[[rule]]` tables, the first that fits decides, and a `[default]`."""

import json
import tomllib
from pathlib import Path

from qexplorer.errors import UserError
from qexplorer.quant.recipe import Recipe
from qexplorer.text import printable

MOST_BYTES = 1 << 24
SHORTEST = 'The shortest file has the lines [default] and weights = "int8 channel".'


def to_toml(recipe: Recipe) -> str:
    """The text of a file that `from_toml` reads as the same recipe."""
    document = recipe.to_json()
    tables = [("[[rule]]", rule) for rule in document["rules"]] + [("[default]", document["default"])]
    return "\n".join("\n".join([head, *(f"{key} = {_value(value)}" for key, value in fields.items()), ""])
                     for head, fields in tables)  # fmt: skip


def from_toml(text: str) -> Recipe:
    """The recipe of a file. Raises `UserError` for what is not one."""
    try:
        document = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise UserError(f"This is not a recipe: {error}.", SHORTEST) from error
    return Recipe.from_json(document)


def read_recipe(path: Path) -> Recipe:
    """The recipe of the file there. Raises `UserError` naming the file where it cannot be read or is not a recipe."""
    where = printable(str(path))
    try:
        if path.stat().st_size > MOST_BYTES:
            raise UserError("It is too long for a recipe.", SHORTEST)
        return from_toml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{where} cannot be read: {error.strerror}.", "Choose another file.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not a text file.", SHORTEST) from error
    except UserError as error:
        raise UserError(f"{where}: {error.what}", error.remedy, field=error.field) from error


def _value(value: str | bool) -> str:
    """A basic string, which TOML escapes as JSON does but for DEL, or a truth value."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
