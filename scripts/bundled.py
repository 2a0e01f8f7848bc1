"""What the bundle starts with: `qexplorer`, and the processes that Python's multiprocessing starts for a model."""

import multiprocessing
import sys

from qexplorer.cli import main

if __name__ == "__main__":
    multiprocessing.freeze_support()
    sys.exit(main())
