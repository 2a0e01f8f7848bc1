"""Reading a pickle without running it: its instructions build a tree of plain and inert values, and nothing else.

Instructions: CPython, `Lib/pickletools.py`. Calls become `Call`, references `Named`; nothing is imported or called.
"""

import struct
from collections.abc import Callable
from typing import Any

from qexplorer.progress import Progress, Steps
from qexplorer.weights import limits
from qexplorer.weights.checkpoint import FormatError
from qexplorer.weights.pickle_values import Call, Named, PairTable, Persistent

_Unpack = Callable[[bytes, int], tuple[Any, ...]]
_MEND = "The file is damaged or was altered."
_STEP = 50_000
_FIXED: dict[str, tuple[_Unpack, int]] = {
    f: (struct.Struct(f).unpack_from, struct.calcsize(f)) for f in ("<B", "<H", "<i", "<I", "<Q", ">d")
}


class PickleReader:
    """Reads one pickle. `references` are all the names in it, in order, once each.

    Raises `FormatError`: "TooLarge" beyond a limit, "Truncated", "BadPickle" for instructions that make no sense.
    """

    def __init__(self, data: bytes, where: str) -> None:
        self._data = data
        self._where = where
        self._at = 0
        self._stack: list[Any] = []
        self._marks: list[int] = []
        self._memo: dict[int, Any] = {}
        self._objects = 0
        self.references: dict[str, Named] = {}
        if len(data) > limits.PICKLE_BYTES:
            raise self._too_large(f"takes {len(data):,} bytes")

    def read(self) -> Steps[Any]:
        """The value that the pickle describes."""
        table = _OPCODES
        for count in range(limits.PICKLE_OPCODES):
            if count % _STEP == 0:
                yield Progress("Reading the pickle", self._at, len(self._data))
            if self._at >= len(self._data):
                raise self._truncated()
            code = self._data[self._at]
            self._at += 1
            if code == _STOP:
                return self._pop()
            run = table.get(code)
            if run is None:
                raise self.bad(f"has the instruction {code:#04x}, which is not known")
            run(self)
        raise self._too_large(f"has more than {limits.PICKLE_OPCODES:,} instructions")

    def bad(self, what: str) -> FormatError:
        """A "BadPickle" error."""
        return FormatError("BadPickle", self._where, f"its pickle {what}.", _MEND)

    def _too_large(self, what: str) -> FormatError:
        return FormatError("TooLarge", self._where, f"its pickle {what}.", _MEND)

    def _truncated(self) -> FormatError:
        return FormatError("Truncated", self._where, "its pickle ends too early.", _MEND)

    # Reading arguments

    def take(self, n: int) -> bytes:
        """The next `n` bytes."""
        end = self._at + n
        if end > len(self._data):
            raise self._truncated()
        data = self._data[self._at : end]
        self._at = end
        return data

    def number(self, form: str) -> Any:
        """The next fixed-size number."""
        unpack, n = _FIXED[form]
        at, self._at = self._at, self._at + n
        if self._at > len(self._data):
            raise self._truncated()
        return unpack(self._data, at)[0]

    def line(self) -> str:
        """The rest of a line, for the instructions of protocol 0."""
        end = self._data.find(b"\n", self._at, self._at + limits.NAME_STORED)
        if end < 0:
            raise self.bad("has a line without an end")
        text = self._data[self._at : end].decode("utf-8")
        self._at = end + 1
        return text

    def line_number(self, *, booleans: bool = False) -> int:
        """A whole number on a line; Python 2 ends a long one with an L. With `booleans`, 00 and 01 are truth values."""
        line = self.line()
        if booleans and line in ("00", "01"):
            return line == "01"
        try:
            value = int(line.removesuffix("L"))
        except ValueError:
            raise self.bad("has a line that is not a number") from None
        if value.bit_length() > 8 * limits.PICKLE_INTEGER_BYTES:
            raise self._too_large(f"states a number of {len(line):,} digits")
        return value

    def line_float(self) -> float:
        """A float on a line."""
        try:
            return float(self.line())
        except ValueError:
            raise self.bad("has a line that is not a number") from None

    def text(self, form: str) -> bytes:
        """The bytes of a string that is preceded by its length."""
        n = self.number(form)
        if not 0 <= n <= limits.PICKLE_STRING_BYTES:
            raise self._too_large(f"states a string of {n:,} bytes")
        self._count(1)
        return self.take(n)

    def integer(self, form: str) -> int:
        """A whole number that is preceded by its length."""
        n = self.number(form)
        if not 0 <= n <= limits.PICKLE_INTEGER_BYTES:
            raise self._too_large(f"states a number of {n:,} bytes")
        return int.from_bytes(self.take(n), "little", signed=True)

    # The stack

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self._stack.append(value)

    def make(self, value: Any) -> None:
        """Put a new container on the stack, and count it."""
        self._count(1)
        self._stack.append(value)

    def _count(self, n: int) -> None:
        self._objects += n
        if max(self._objects, len(self._memo)) > limits.PICKLE_OBJECTS:
            raise self._too_large(f"makes more than {limits.PICKLE_OBJECTS:,} objects")

    def _pop(self) -> Any:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise self.bad("takes a value where there is none")
        return self._stack.pop()

    def pop(self, n: int = 1) -> tuple[Any, ...]:
        """The last `n` values, in their order."""
        return tuple(self._pop() for _ in range(n))[::-1]

    def top(self) -> Any:
        """The last value, which stays."""
        if not self._stack:
            raise self.bad("takes a value where there is none")
        return self._stack[-1]

    def mark(self) -> None:
        """Remember where a run of values begins."""
        self._marks.append(len(self._stack))

    def since_mark(self) -> list[Any]:
        """The values since the last mark."""
        if not self._marks:
            raise self.bad("ends a run of values that did not begin")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def discard(self) -> None:
        """Drop the last value, or the last mark where nothing follows it."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self._pop()

    def memorize(self, index: int) -> None:
        """Remember the last value."""
        self._count(0)
        self._memo[index] = self.top()

    def memorize_next(self) -> None:
        """Remember the last value under the next number."""
        self.memorize(len(self._memo))

    def recall(self, index: int) -> None:
        """Put a remembered value on the stack."""
        if index not in self._memo:
            raise self.bad(f"recalls number {index}, which was never remembered")
        self._stack.append(self._memo[index])

    # Objects

    def name(self, module: Any, name: Any) -> None:
        """Refer to a function or class by name; one object per name."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.bad("refers to something whose name is not a text")
        named = Named(*f"{module}.{name}".rpartition(".")[::2])  # `a` and `b.c` is the same thing as `a.b` and `c`
        self._stack.append(self.references.setdefault(named.full_name, named))

    def call(self, function: Any, arguments: Any) -> None:
        """Note a call that is not made."""
        self.make(Call(function, arguments))

    def set_items(self, values: list[Any]) -> None:
        """Add pairs to the dictionary, or the inert object, on the stack."""
        target = self.top()
        if not isinstance(target, PairTable | Call) or len(values) % 2:
            raise self.bad("sets items on something that is not a dictionary")
        self._count(len(values) // 2)
        if target.pairs is None:
            target.pairs = []
        target.pairs.extend(zip(values[::2], values[1::2], strict=True))

    def append_items(self, values: list[Any]) -> None:
        """Add values to the list or set, or the inert object, on the stack."""
        target = self.top()
        if isinstance(target, Call):
            if target.items is None:
                target.items = []
            target.items.extend(values)
        elif isinstance(target, list):
            target.extend(values)  # pyright: ignore[reportUnknownMemberType]
        else:
            raise self.bad("appends to something that is not a list")

    def build(self) -> None:
        """Give the inert object on the stack its state."""
        (state,) = self.pop()
        target = self.top()
        if not isinstance(target, Call):
            raise self.bad("gives a state to something that has none")
        target.state = state


def _set_pair(reader: PickleReader) -> None:
    reader.set_items(list(reader.pop(2)))


def _dict(reader: PickleReader) -> None:
    values = reader.since_mark()
    reader.make(PairTable())
    reader.set_items(values)


def _inst(reader: PickleReader) -> None:
    arguments = tuple(reader.since_mark())
    reader.name(reader.line(), reader.line())
    reader.call(reader.pop()[0], arguments)


def _obj(reader: PickleReader) -> None:
    function, *arguments = reader.since_mark() or [None]
    reader.call(function, tuple(arguments))


def _new_with_keywords(reader: PickleReader) -> None:
    function, arguments, keywords = reader.pop(3)
    reader.call(function, (arguments, keywords))


def _string_line(reader: PickleReader) -> None:
    reader.push(reader.line()[1:-1])


def _extension(form: str) -> Callable[[PickleReader], None]:
    return lambda reader: reader.name("copyreg", f"extension {reader.number(form)}")


_STOP = ord(".")
_Run = Callable[[PickleReader], Any]
_SYMBOLS: dict[bytes, _Run] = {
    b"(": PickleReader.mark,
    b"0": PickleReader.discard,
    b"1": PickleReader.since_mark,
    b"2": lambda r: r.push(r.top()),
    b"\x80": lambda r: r.take(1),
    b"\x95": lambda r: r.take(8),
    # plain values
    b"N": lambda r: r.push(None),
    b"\x88": lambda r: r.push(True),
    b"\x89": lambda r: r.push(False),
    b"I": lambda r: r.push(r.line_number(booleans=True)),
    b"L": lambda r: r.push(r.line_number()),
    b"F": lambda r: r.push(r.line_float()),
    b"J": lambda r: r.push(r.number("<i")),
    b"K": lambda r: r.push(r.number("<B")),
    b"M": lambda r: r.push(r.number("<H")),
    b"G": lambda r: r.push(r.number(">d")),
    b"\x8a": lambda r: r.push(r.integer("<B")),
    b"\x8b": lambda r: r.push(r.integer("<i")),
    # strings; those of Python 2 have no encoding, and latin-1 loses nothing
    b"S": _string_line,
    b"V": lambda r: r.push(r.line()),
    b"T": lambda r: r.push(r.text("<i").decode("latin-1")),
    b"U": lambda r: r.push(r.text("<B").decode("latin-1")),
    b"X": lambda r: r.push(r.text("<I").decode("utf-8", "surrogatepass")),
    b"\x8c": lambda r: r.push(r.text("<B").decode("utf-8", "surrogatepass")),
    b"\x8d": lambda r: r.push(r.text("<Q").decode("utf-8", "surrogatepass")),
    b"B": lambda r: r.push(r.text("<I")),
    b"C": lambda r: r.push(r.text("<B")),
    b"\x8e": lambda r: r.push(r.text("<Q")),
    b"\x96": lambda r: r.push(r.text("<Q")),
    # containers; a set is read as a list
    b")": lambda r: r.push(()),
    b"t": lambda r: r.make(tuple(r.since_mark())),
    b"\x85": lambda r: r.make(r.pop(1)),
    b"\x86": lambda r: r.make(r.pop(2)),
    b"\x87": lambda r: r.make(r.pop(3)),
    b"]": lambda r: r.make([]),
    b"\x8f": lambda r: r.make([]),
    b"l": lambda r: r.make(r.since_mark()),
    b"\x91": lambda r: r.make(r.since_mark()),
    b"a": lambda r: r.append_items(list(r.pop())),
    b"e": lambda r: r.append_items(r.since_mark()),
    b"\x90": lambda r: r.append_items(r.since_mark()),
    b"}": lambda r: r.make(PairTable()),
    b"d": _dict,
    b"s": _set_pair,
    b"u": lambda r: r.set_items(r.since_mark()),
    # the memo
    b"p": lambda r: r.memorize(r.line_number()),
    b"q": lambda r: r.memorize(r.number("<B")),
    b"r": lambda r: r.memorize(r.number("<I")),
    b"\x94": PickleReader.memorize_next,
    b"g": lambda r: r.recall(r.line_number()),
    b"h": lambda r: r.recall(r.number("<B")),
    b"j": lambda r: r.recall(r.number("<I")),
    # names, and calls that are not made
    b"c": lambda r: r.name(r.line(), r.line()),
    b"\x93": lambda r: r.name(*r.pop(2)),
    b"R": lambda r: r.call(*r.pop(2)),
    b"\x81": lambda r: r.call(*r.pop(2)),
    b"\x92": _new_with_keywords,
    b"b": PickleReader.build,
    b"i": _inst,
    b"o": _obj,
    b"P": lambda r: r.make(Persistent(r.line())),
    b"Q": lambda r: r.make(Persistent(r.pop()[0])),
    b"\x82": _extension("<B"),
    b"\x83": _extension("<H"),
    b"\x84": _extension("<i"),
}
_OPCODES: dict[int, _Run] = {symbol[0]: run for symbol, run in _SYMBOLS.items()}
