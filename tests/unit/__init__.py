"""Tests of one module at a time, without I/O beyond a temporary folder."""
