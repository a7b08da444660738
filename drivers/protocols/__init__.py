"""What is spoken on a line, one module a protocol."""
