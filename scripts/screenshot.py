"""Makes the pictures of the README, in resources/pictures: a real run in a history of its own, then the window."""

import sys

if __name__ == "__main__":
    from launch import require_python

    require_python(sys.version_info)
    from _inside import enter

    enter("", "PySide6", "torch", "qexplorer")

import argparse
import os
import tempfile
from pathlib import Path

from qexplorer.engine.jobs.ptq_static import PtqStatic
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.runs.history import History
from qexplorer.progress import finish
from qexplorer.state.app_state import Theme

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "resources" / "pictures"
THEMES: tuple[Theme, ...] = ("light", "dark")


def main() -> int:
    """Run the job, take the pictures."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from qexplorer.app import save_picture

    PICTURES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        history = Path(folder) / "history.sqlite3"
        finish(recorded(PtqStatic(), History(history)))
        for theme in THEMES:
            target = PICTURES / f"window-{theme}.png"
            save_picture(target, (1600, 960), theme, "", "", history)
            print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")
        target = PICTURES / "formats-light.png"
        save_picture(target, (2000, 1100), "light", "formats", "", history)
        print(f"{target.relative_to(ROOT)}: {target.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
