"""The one error that a scenario or a replay raises for what a person wrote wrongly."""

from __future__ import annotations


class ScenarioError(ValueError):
    """A parameter or a recorded file that cannot be played. The message is one line:
    what, where, and how to mend it."""


def check_bounds(part: object, **bounds: tuple[float, float]) -> None:
    """Raise one `ScenarioError` naming every attribute of `part` outside its closed bounds.

    NaN lies outside every bound.
    """
    faults = [
        f"{name} = {value} must lie between {low} and {high}"
        for name, (low, high) in bounds.items()
        if not low <= (value := getattr(part, name)) <= high
    ]
    if faults:
        raise ScenarioError(f"{type(part).__name__}: " + "; ".join(faults))
