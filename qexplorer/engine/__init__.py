"""What is done to a model: load, quantize, evaluate, time and remember it. Never Qt.

Its rooms point one way, each knowing only those before it: `runs` → `networks` → `models`, `datasets` → `measuring` →
`fake_quant` → `simulation` → `repair` → `backends`, `qat` → `jobs` → `advice`, `studies`. `networks`, `fake_quant`
and most files of `simulation` and `qat` import torch at once; all others import it, and these, only in functions, so
that the window and the command line start without it. Packages that few people need (pooch, Pillow, requests) are
imported in functions too.
"""
