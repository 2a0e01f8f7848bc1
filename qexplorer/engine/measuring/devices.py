"""Where simulated models, training and evaluation run."""

from typing import TYPE_CHECKING

from qexplorer.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda", "mps")


def choose_device(wanted: str) -> "torch.device":
    """The device of that name, or for `auto` an accelerator where there is one. Raises `UserError` where it lacks."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return torch.device(next(name for name in ("cuda", "mps", "cpu") if there[name]))
    if not there.get(wanted, False):
        remedy = f"There is: {', '.join(name for name, found in there.items() if found)}."
        raise UserError(f"This computer, or its torch, has no device “{wanted}”.", remedy, field="device")
    return torch.device(wanted)
