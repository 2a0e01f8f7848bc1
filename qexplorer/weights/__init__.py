"""Files in and out: what tensors a file holds, and their numbers. Never torch, never Qt, and never code from a file."""

from qexplorer.weights.checkpoint import Checkpoint, FormatError, TensorInfo
from qexplorer.weights.readers import open_checkpoint

__all__ = ["Checkpoint", "FormatError", "TensorInfo", "open_checkpoint"]
