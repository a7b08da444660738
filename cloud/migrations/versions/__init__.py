"""One step of the layout a file."""
