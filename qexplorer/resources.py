"""Where the shipped files lie: inside the installed package, or beside it in a checkout."""

from pathlib import Path


def resource(name: str) -> Path:
    """The path of a shipped file, e.g. `mobilenet_v2_digits.safetensors`."""
    here = Path(__file__).parent
    installed = here / "resources" / name
    return installed if installed.exists() else here.parent / "resources" / name
