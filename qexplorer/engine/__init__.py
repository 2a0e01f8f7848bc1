"""What is done to a model: load, quantize, evaluate, time and remember it. Never Qt.

Its rooms point one way, each knowing only those before it: `runs` → `networks` → `models`, `datasets` → `measuring` →
`fake_quant` → `simulation` → `repair` → `backends`, `qat` → `jobs` → `advice`, `studies`. Of these, `networks`,
`fake_quant`, `simulation` and `qat` import torch at once; the others only in functions, so that the window and the
command line start without it.
"""
