"""Tests: unit, contract, golden, system."""
