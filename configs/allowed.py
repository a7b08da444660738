"""Which keys may stand at a place of a config: its models say so."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import UnionType
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, runtime_checkable

from pydantic import BaseModel


@runtime_checkable
class Choice(Protocol):
    """What marks a field whose model is chosen by its `kind`."""

    def choices(self) -> Mapping[str, type[BaseModel]]:
        """The models by kind."""
        ...


def keys(model: type[BaseModel], tables: Any, place: Sequence[str | int]) -> frozenset[str]:
    """The keys that may stand in the table at `place` of `tables`, which `model` describes; none
    where no model says anything about it."""
    found: list[Any] = [model]
    for part in place:
        tables = _item(tables, part)
        found = [one for kind in found for one in _inner(kind, part, tables)]
    return frozenset(name for one in found if _is_model(one) for name in one.model_fields)


def _inner(kind: Any, part: str | int, item: Any) -> Iterator[Any]:
    """What may be at `part` of something of a kind: models, and containers of some."""
    if _is_model(kind):
        if (field := kind.model_fields.get(part)) is not None:
            yield from _plain(field.annotation, field.metadata, item)
        return
    of_which = get_args(kind)
    if get_origin(kind) is dict and len(of_which) == 2:
        yield from _plain(of_which[1], (), item)
    elif get_origin(kind) in (tuple, list) and of_which:
        yield from _plain(of_which[0], (), item)


def _plain(annotation: Any, marks: Iterable[Any], item: Any) -> Iterator[Any]:
    """The models and containers that an annotation allows for an item."""
    own = item.get("kind") if isinstance(item, dict) else None
    for mark in marks:
        if isinstance(mark, Choice):
            if isinstance(own, str) and own in mark.choices():
                yield mark.choices()[own]
            return
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _plain(get_args(annotation)[0], annotation.__metadata__, item)
    elif origin in (Union, UnionType):
        for one in get_args(annotation):
            yield from _plain(one, (), item)
    elif not _is_model(annotation) or _is_of_kind(annotation, own):
        yield annotation


def _is_of_kind(model: type[BaseModel], own: Any) -> bool:
    """Whether a table with `kind = own` can be of this model."""
    field = model.model_fields.get("kind")
    if field is None or get_origin(field.annotation) is not Literal:
        return True
    return own is None or own in get_args(field.annotation)


def _is_model(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _item(tables: Any, part: str | int) -> Any:
    try:
        return tables[part]
    except (KeyError, IndexError, TypeError):
        return None
