"""Settings that tests of real int8 models share."""

from typing import Any

PRESETS = ("pytorch_default", "x86")


VIT: dict[str, Any] = {"model": "vit_digits", "limit": 24, "calibration": 16, "threads": 1, "timing": "off"}
