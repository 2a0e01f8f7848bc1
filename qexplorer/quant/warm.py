"""Compile the kernels ahead of their first use: `python -m qexplorer.quant.warm`, e.g. after installing."""

import importlib
import sys
import time

from qexplorer.progress import Progress, Steps, finish

KERNELS = "qexplorer.quant.kernels"
COMPILED = (KERNELS, "qexplorer.quant.cells")


def load_kernels() -> Steps[None]:
    """Load the kernels as a piece of work, so that the first large tensor need not wait for them."""
    for module in COMPILED:
        yield Progress("Loading kernels")
        importlib.import_module(module)


def main() -> None:
    """Load the kernels, which compiles those that are not cached yet, and print how long it took."""
    start = time.perf_counter()
    finish(load_kernels())
    sys.stdout.write(f"Kernels ready after {time.perf_counter() - start:.1f} s.\n")


if __name__ == "__main__":
    main()
