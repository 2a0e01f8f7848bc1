"""Files in and out: what tensors a file holds, and their numbers. Never torch, never Qt, and never code from a file."""

from qexplorer.weights.checkpoint import Checkpoint, FormatError, TensorInfo
from qexplorer.weights.readers import is_synthetic, open_checkpoint, what_opens
from qexplorer.weights.readers.synthetic import DISTRIBUTIONS

__all__ = ["DISTRIBUTIONS", "Checkpoint", "FormatError", "TensorInfo", "is_synthetic", "open_checkpoint", "what_opens"]
