"""What has changed between two response plans, a line for each. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from cloud.alerts.plan import Plan


def lines(before: Plan, after: Plan) -> list[str]:
    """`contact.he-lan.duty: night -> day`; what is new begins with +, what is gone with -."""
    return [*_between("", _tables(before), _tables(after))]


def _tables(plan: Plan) -> dict[str, Any]:
    """What the plan says, defaults too."""
    tables: dict[str, Any] = plan.model_dump(mode="json", by_alias=True)
    for name in ("instruction", "tell", "public_instruction", "inhibit"):  # lists: by their places
        tables[name] = {str(n): one for n, one in enumerate(tables.get(name, ()), 1)}
    return tables


def _between(key: str, before: Any, after: Any) -> Iterator[str]:
    if before == after:
        return
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in dict.fromkeys((*before, *after)):
            here = f"{key}.{name}" if key else str(name)
            if name not in before:
                yield f"+ {here}{_short(after[name])}"
            elif name not in after:
                yield f"- {here}{_short(before[name])}"
            else:
                yield from _between(here, before[name], after[name])
        return
    yield f"  {key}: {_value(before)} -> {_value(after)}"


def _short(value: Any) -> str:
    """A table is named, a value is shown."""
    if isinstance(value, Mapping):
        return f" ({value['name']})" if "name" in value else ""
    return f" = {_value(value)}"


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    if isinstance(value, float):
        return f"{value:g}"
    return "none" if value is None or value == "" else str(value)
