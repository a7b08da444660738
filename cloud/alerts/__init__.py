"""Alerts and their escalation: a pure state machine."""
