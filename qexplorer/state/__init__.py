"""What the person chose and what is running. QtCore at most: no widget, no colour, no pixel."""
