"""Compile the kernels ahead of their first use: `python -m qexplorer.quant.warm`, e.g. after installing."""

import importlib
import sys
import time

from qexplorer.progress import Progress, Steps

KERNELS = "qexplorer.quant.kernels"


def load_kernels() -> Steps[None]:
    """Load the kernels as a piece of work, so that the first large tensor need not wait for them."""
    yield Progress("Loading kernels")
    importlib.import_module(KERNELS)


def main() -> None:
    """Load the kernels, which compiles those that are not cached yet, and print how long it took."""
    start = time.perf_counter()
    importlib.import_module(KERNELS)
    sys.stdout.write(f"Kernels ready after {time.perf_counter() - start:.1f} s.\n")


if __name__ == "__main__":
    main()
