"""Quantization-aware training: layers that train with their own quantization, and the loop that trains them.

These modules import torch at once, so import them inside the function that uses them.
"""
