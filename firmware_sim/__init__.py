"""Devices that do not exist: they speak the real protocols on real lines."""
