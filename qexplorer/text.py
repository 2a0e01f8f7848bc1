"""Text found inside files, made fit to be shown: nothing in it moves the cursor, turns the line or fills the screen."""

import re
from collections.abc import Sequence

NAME_SHOWN = 512
"""So many characters of a name are shown."""
FORMULA = re.compile(r"[=+\-@\t\r]")
NUMBERS = re.compile(r"(\d{1,9})")


def printable(text: str, limit: int = NAME_SHOWN) -> str:
    """The text with every unprintable character written out (`\\u202e`), its middle left out beyond `limit`.

    Control and bidirectional characters, lone surrogates and line separators are unprintable. The text itself stays
    as it is wherever it serves to find something.
    """
    text = elide(text, limit)
    if text.isprintable():
        return text
    return elide("".join(c if c.isprintable() else _escape(c) for c in text), limit)


def elide(text: str, limit: int = NAME_SHOWN) -> str:
    """The text with `…` in place of its middle, so that it has at most `limit` characters."""
    if len(text) <= limit:
        return text
    left = limit // 2
    return f"{text[:left]}…{text[len(text) - (limit - left - 1) :]}"


def first_few(names: Sequence[str], limit: int = 5) -> str:
    """The first few names, fit to be shown, and how many more there are."""
    listed = ", ".join(printable(name, 80) for name in names[:limit])
    return listed + (f" and {len(names) - limit:,} more" if len(names) > limit else "")


def _escape(character: str) -> str:
    code = ord(character)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def cell(text: str) -> str:
    """A text as a cell of a table for spreadsheets: one that would be taken for a formula begins with an apostrophe.

    Numbers stay as they are.
    """
    if not FORMULA.match(text):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def plain(text: str) -> str:
    """A text that is not taken for HTML where it is shown."""
    return text.replace("<", "‹")


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts `features.2` before `features.10`."""
    return tuple((int(part), "") if part.isdecimal() else (-1, part) for part in NUMBERS.split(text) if part)
