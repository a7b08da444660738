"""Tests that every plug-in and the repository itself keep the rules of the house."""
