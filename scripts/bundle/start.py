"""What the bundle starts with: `qexplorer`, and the processes that Python's multiprocessing starts for a model."""

import multiprocessing

from qexplorer.cli import run_program

if __name__ == "__main__":
    multiprocessing.freeze_support()
    run_program()
