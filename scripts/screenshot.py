"""Makes pictures of the window after real runs in a history of its own: those of the README, or with a FOLDER every
workspace in both themes at three sizes.
"""

import sys

if __name__ == "__main__":
    from launch import require_python

    require_python(sys.version_info)
    from _inside import enter

    enter("", "PySide6", "torch", "qexplorer")

import argparse
import itertools
import os
import tempfile
from pathlib import Path

from qexplorer.engine.jobs.ptq_static import PtqStatic
from qexplorer.engine.jobs.record import recorded
from qexplorer.engine.jobs.sensitivity import Sensitivity
from qexplorer.engine.runs.history import History
from qexplorer.progress import finish
from qexplorer.state.app_state import WORKSPACES, Theme, Workspace

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "resources" / "pictures"
THEMES: tuple[Theme, ...] = ("light", "dark")
SIZES = ((1000, 640), (1280, 800), (1920, 1080))
README: tuple[tuple[Workspace, Theme, str], ...] = (
    ("explore", "light", ""),
    ("explore", "dark", ""),
    ("quantize", "light", ""),
    ("explore", "light", "formats"),
)
README_SIZE = (1440, 900)


def main() -> int:
    """Run the jobs, take the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", metavar="FOLDER", help="write every workspace, theme and size there")
    folder = parser.parse_args().folder
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from qexplorer.app import save_picture

    target = Path(folder) if folder else PICTURES
    target.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as spare:
        path = Path(spare) / "history.sqlite3"
        for job in (PtqStatic(), Sensitivity(limit=200)):
            finish(recorded(job, History(path)))
        if folder:
            for workspace, theme, size in itertools.product(WORKSPACES, THEMES, SIZES):
                picture = target / f"{workspace}-{theme}-{size[0]}x{size[1]}.png"
                save_picture(picture, size, theme, "", "", path, workspace)
                print(picture)
            return 0
        for workspace, theme, panel in README:
            picture = target / f"{panel or workspace}-{theme}.png"
            save_picture(picture, (2000, 1100) if panel else README_SIZE, theme, panel, "", path, workspace)
            print(f"{picture.relative_to(ROOT)}: {picture.stat().st_size:,} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
