"""Figures measured on this machine, one module a figure."""
