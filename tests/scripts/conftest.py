import sys
from pathlib import Path

# The scripts are no package: each is started by its path, which puts its folder on the search path like this.
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "scripts"))
