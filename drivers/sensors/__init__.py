"""Sensors that a profile cannot express, one module each."""
