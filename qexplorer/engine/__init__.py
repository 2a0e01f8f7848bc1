"""What is done to a model: load, quantize, evaluate, time and remember it.

Never Qt; and nothing here imports torch before a function is called, so that the window and the run history need not
wait for it.
"""
