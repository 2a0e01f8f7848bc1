"""What `scripts/soak.py` is made of: files and attacks, random use of the window, and a look at what is left of it."""
