"""See what a number format does to the real weights of a real model, then quantize it."""

__version__ = "0.1.0"
