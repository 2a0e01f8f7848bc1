"""Sparing the garbage collector what it would only look at in vain."""

import gc
from collections.abc import Generator
from contextlib import contextmanager

MANY = 10_000
"""Objects that are better kept from the collector's sight."""


@contextmanager
def collector_paused() -> Generator[None]:
    """Keep Python from looking for cycles meanwhile: among 300,000 descriptors that takes longer than making them.

    Where so many were made, it is spared looking at them ever after, too.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            if gc.get_count()[0] > MANY:
                gc.freeze()
            gc.enable()
