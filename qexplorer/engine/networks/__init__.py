"""Networks as `torch.nn` modules. Importing a module of this room imports torch, so only functions do it."""
