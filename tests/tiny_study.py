"""The text of a study that takes a second: weights alone, of a small model, on a few digits."""

TINY = """
title = "Tiny"
job = "weight-only"
[settings]
model = "vit_digits"
limit = 16
calibration = 16
timing = "off"
threads = 1
"""
