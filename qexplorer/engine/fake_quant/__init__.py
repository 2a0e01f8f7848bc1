"""Fake quantization in torch: any spec, on any device, with gradients.

Unlike the rest of the engine these modules import torch at once, so import them inside the function that uses them.
"""

from qexplorer.engine.fake_quant.module import FakeQuantize

__all__ = ["FakeQuantize"]
