"""Compile the kernels ahead of their first use: `python -m qexplorer.quant.warm`, e.g. after installing."""

import importlib
import sys
import time


def main() -> None:
    """Load the kernels, which compiles those that are not cached yet, and print how long it took."""
    start = time.perf_counter()
    importlib.import_module("qexplorer.quant.kernels")
    sys.stdout.write(f"Kernels ready after {time.perf_counter() - start:.1f} s.\n")


if __name__ == "__main__":
    main()
