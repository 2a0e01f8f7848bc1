"""What is in a file: analyses of its tensors, scans of all of them, and what is cached of both. No torch, no Qt."""
