"""Compiling loops with numba when they are imported, or loading what an earlier process has compiled.

Importing this module loads numba.
"""

from collections.abc import Callable
from typing import Any

import numba as nb

from qexplorer.log import log


def compiled(*signatures: Any, **options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile now; keep the result on disk where there is a place for it, and do without where there is none.

    What a power cut has damaged there is compiled again.
    """

    def cached(function: Callable[..., Any]) -> Any:
        return nb.njit(list(signatures), cache=True, nogil=True, **options)(function)

    def compile_now(function: Callable[..., Any]) -> Any:
        try:
            try:
                return cached(function)
            except (RuntimeError, OSError):
                raise
            except Exception as error:  # noqa: BLE001  it unpickles its own files, which may raise anything
                log.warning("what was compiled of %s is damaged (%s); it is compiled again", function.__name__, error)
                dispatcher: Any = nb.njit(cache=True, nogil=True, **options)(function)
                dispatcher._cache.flush()
                return cached(function)
        except Exception:  # noqa: BLE001  compiling without a cache raises what is wrong with the loop itself
            return nb.njit(list(signatures), nogil=True, **options)(function)

    return compile_now
