"""Tests of whole programs against real brokers, databases and lines."""
