"""What the bundle starts with: `qexplorer`, and the processes that Python's multiprocessing starts for a model."""

import multiprocessing
import os
import sys
from contextlib import suppress

from qexplorer.cli import main
from qexplorer.errors import UserError
from qexplorer.folders import cache_folder

if __name__ == "__main__":
    multiprocessing.freeze_support()
    with suppress(UserError):  # compiled kernels are this machine's, and the folder of the program may be another's
        os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_folder() / "kernels"))
    sys.exit(main())
