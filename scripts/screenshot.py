"""Makes the pictures of the README: a real run in a history of its own, then the window in both themes.

Linux only: it points the user folders at a temporary one by `XDG_DATA_HOME`.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "resources" / "pictures"


def main() -> int:
    """Run the job, take the pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "XDG_DATA_HOME": folder, "XDG_STATE_HOME": folder}
        qexplorer = [sys.executable, "-m", "qexplorer"]
        subprocess.run([*qexplorer, "run", "ptq-static"], env=environment, cwd=ROOT, check=True)
        for theme in ("light", "dark"):
            target = PICTURES / f"window-{theme}.png"
            shot = ["--screenshot", str(target), "--size", "1440x900", "--theme", theme]
            subprocess.run([*qexplorer, *shot], env=environment, cwd=ROOT, check=True)
            print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
