"""Quantization of whole models in float arithmetic: any format for weights and activations, layer by layer.

These modules import torch at once, so import them inside the function that uses them.
"""
