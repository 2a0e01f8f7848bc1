"""What a model is worth: accuracy, latency and size, on which device and with how many threads."""
