"""Around a parser: what the system or a codec trips over in a damaged file ends as one `FormatError`.

All else is a bug and stays one: where a file can cause a `KeyError`, `IndexError`, `TypeError` or `ValueError`, the
parser itself says what is wrong.
"""

import struct
import zlib
from collections.abc import Generator
from contextlib import contextmanager

from qexplorer.weights.checkpoint import FormatError

_TRIPS = (OverflowError, UnicodeError, struct.error, zlib.error)


@contextmanager
def guarded(where: str) -> Generator[None]:
    """Turn those errors into `FormatError` "Damaged", or "OutOfMemory" or "Unreadable" where it is that."""
    try:
        yield
    except MemoryError:
        raise FormatError("OutOfMemory", where, "there is not enough memory to read it.") from None
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise FormatError("Unreadable", where, f"the system cannot read it ({reason}).") from error
    except _TRIPS as error:
        what = f"it cannot be made sense of ({type(error).__name__})."
        raise FormatError("Damaged", where, what, "The file is damaged or was altered.") from error
