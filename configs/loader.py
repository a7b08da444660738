"""TOML to model, in one style for every config: all faults at once, each one line.

Knows pydantic and TOML, and nothing of gateways or clouds.
"""

import errno
import importlib
import math
import pkgutil
import re
import tomllib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import date, time
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple, TypeVar

import msgspec
from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    PrivateAttr,
    ValidationError,
    create_model,
)
from pydantic_core import ErrorDetails, core_schema

from configs import allowed, files

HERE: Final = Path(__file__).parent

MOST_BYTES: Final = 8 << 20
"""Of a file that people write. A plan of ten thousand people has two million."""

_A_DEEP_KEY: Final = re.compile(r"(?<![\w\"'.-])(?<!\.[ \t])(?:[\w\"'-]++[ \t]*+\.[ \t]*+){100}")

_LONGEST_SHOWN: Final = 120
"""Characters of a value that are repeated in a message."""


class Model(BaseModel):
    """What people write: frozen, strict, and without unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Tables(Model):
    """The whole of a config. While its faults are looked for, it knows which of its parts were
    right by themselves, for whatever is looked for between the parts."""

    _cut: frozenset[tuple[str | int, ...]] = PrivateAttr(frozenset())

    def is_sound(self, *place: str | int) -> bool:
        """Whether nothing was wrong at a place, in what it is part of, or below it."""
        return not any(one[: len(place)] == place or place[: len(one)] == one for one in self._cut)


class Fault(NamedTuple):
    """One thing that is wrong, where, and what would be right."""

    key: str
    problem: str


class UserError(Exception):
    """Something that the user can mend: shown as one line a fault, exit code 2, no traceback."""


class ConfigError(UserError):
    """A config that cannot be used. `str()` has one line a fault, with the file in front."""

    def __init__(self, file: Path | str, faults: Sequence[Fault]) -> None:
        self.file = str(file)
        self.faults = tuple(faults)
        super().__init__(
            "\n".join(
                f"{file}: {f.key}: {f.problem}" if f.key else f"{file}: {f.problem}" for f in faults
            )
        )


ModelT = TypeVar("ModelT", bound=BaseModel)
Place = tuple[str | int, ...]
"""Keys and indices that lead to an item."""


def load(
    file: Path, model: type[ModelT], check: Callable[[ModelT], Iterable[Fault]] = lambda _: ()
) -> ModelT:
    """The model that `file` describes. Raises ConfigError with all of its faults.

    `check` finds what is wrong between the parts of a model that are right one by one.
    """
    return parse(read(file), model, file, check)


def read(file: Path, *, pipes: bool = True) -> dict[str, Any]:
    """The tables of a TOML file; `pipes`: it may be one, which is read to its end. Raises
    ConfigError."""
    try:
        text = files.read_text_file(file, MOST_BYTES, pipes=pipes).decode("utf-8-sig")
        if _A_DEEP_KEY.search(text):  # tomllib takes the square of its parts
            raise RecursionError
        return tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(file, [Fault("", "there is no such file")]) from None
    except OSError as error:
        is_ours = error.errno in (errno.EFBIG, errno.EINVAL) and str(error.strerror)[:3] == "is "
        words = error.strerror if is_ours else f"cannot be read: {error.strerror}"
        raise ConfigError(file, [Fault("", str(words))]) from None
    except UnicodeDecodeError:
        raise ConfigError(file, [Fault("", "is not text in UTF-8: save it as UTF-8")]) from None
    except ValueError as error:  # a number of 5000 digits is one that tomllib does not map
        raise ConfigError(file, [Fault("", f"is not TOML: {error}")]) from None
    except RecursionError:
        raise ConfigError(file, [Fault("", "is nested too deeply")]) from None


def parse(
    tables: dict[str, Any],
    model: type[ModelT],
    file: Path | str,
    check: Callable[[ModelT], Iterable[Fault]] = lambda _: (),
) -> ModelT:
    """The model in `tables`. Raises ConfigError with all of their faults.

    What is faulty is cut away and the rest looked at again, until it is a model that `check` can
    look at too: one mistake must not hide the next. The tables go through JSON, because pydantic's
    strict mode takes a list for a tuple and a string for an enum from there, and these are all
    that TOML has.
    """
    strange = dict(_strange(tables))
    faults = {Fault(_key(place), problem): None for place, problem in strange.items()}
    cut: frozenset[Place] = frozenset(strange)
    stray: set[Place] = set()  # keys that mean nothing: without them nothing is missing
    found: ModelT | None = None
    shape = model
    while found is None:
        try:
            found = shape.model_validate_json(msgspec.json.encode(_without(cut, tables)))
        except ValidationError as error:
            shape = _lenient(model)
            details = [(_place(tables, detail["loc"], cut), detail) for detail in error.errors()]
            defaulted = cut - stray
            for place, detail in details:
                known = allowed.keys(model, tables, place[:-1])
                if not _follows(detail, place, cut, defaulted):
                    faults[_fault(detail, place, known)] = None
                if detail["type"] == "extra_forbidden" and not _closest(str(place[-1]), known):
                    stray.add(place)
                if not place:  # the whole is wrong, not a part that could be cut away
                    raise ConfigError(file, tuple(faults)) from None
            cut |= {_faulty(tables, place, cut) for place, _ in details}
        except (AttributeError, TypeError):
            if shape is model:
                raise
            raise ConfigError(file, tuple(faults)) from None  # it looked at what had to be cut away
    if isinstance(found, Tables):
        found._cut = cut - stray
    faults |= dict.fromkeys(_checked(found, check, is_whole=shape is model))
    if faults:
        raise ConfigError(file, tuple(faults))
    return found


def _checked(
    found: ModelT, check: Callable[[ModelT], Iterable[Fault]], *, is_whole: bool
) -> Iterator[Fault]:
    """What `check` finds, as far as it comes without the parts that had to be cut away."""
    try:
        yield from check(found)
    except (AttributeError, TypeError):
        if is_whole:
            raise


def _follows(
    detail: ErrorDetails, place: Place, cut: frozenset[Place], defaulted: Collection[Place]
) -> bool:
    """Whether a fault is but a consequence of one that is told: what is missing was cut away, or a
    rule between the keys of a table has seen a default in place of a value that was."""
    if detail["type"] == "missing":
        return place in cut
    if detail["type"] != "value_error" or not place:
        return False
    return any(len(one) > len(place) and one[: len(place)] == place for one in defaulted)


def library(folder: str) -> Iterable[Path]:
    """The TOML files that come with us in `configs/<folder>`, sorted by name."""
    return sorted((HERE / folder).glob("*.toml"))


def suggest(word: str, known: Iterable[str]) -> str:
    """' (did you mean 'x'?)' if one of the `known` words is close, else ''."""
    close = _closest(word, known)
    return f" (did you mean {close!r}?)" if close else ""


def _closest(word: str, known: Iterable[str]) -> str:
    """The one of the `known` words that is close to `word` and another, or ""."""
    import difflib  # here, because only a wrong config has a use for it

    close = difflib.get_close_matches(word, [one for one in known if one != word], n=1)
    return close[0] if close else ""


@cache
def plugins(package: str) -> dict[str, type[Model]]:
    """The `Config` of every module in a package, by the module's name, which is its `kind`."""
    found = {}
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
        config = getattr(importlib.import_module(f"{package}.{module.name}"), "Config", None)
        if config is not None:
            found[module.name] = config
    return found


def plugin(package: str, kind: str) -> Any:
    """The module that a `kind` names, with its `Config` and `open`."""
    return importlib.import_module(f"{package}.{kind}")


class Kind:
    """Marks a field as one of the plugins of a package: `kind = "x"` finds it by its file name.

    port: Annotated[PortConfig, Kind("drivers.ports")]
    """

    def __init__(self, package: str) -> None:
        self.package = package

    def choices(self) -> Mapping[str, type[Model]]:
        """The models by kind."""
        return plugins(self.package)

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        choices = {
            kind: handler.generate_schema(config) for kind, config in plugins(self.package).items()
        }
        return core_schema.tagged_union_schema(choices, discriminator="kind")


def _without(cut: frozenset[Place], tables: Any, here: Place = ()) -> Any:
    """A copy of `tables` without what is cut."""
    if isinstance(tables, dict):
        return {
            key: _without(cut, item, (*here, key))
            for key, item in tables.items()
            if (*here, key) not in cut
        }
    if isinstance(tables, list):
        return [_without(cut, tables[i], (*here, i)) for i in _left(cut, tables, here)]
    return tables


def _strange(tables: Any, here: Place = ()) -> Iterator[tuple[Place, str]]:
    """What TOML can write and no config means: numbers that are none, or that take more than 64
    bits, dates, and texts that no path can be, each with what is wrong. JSON would turn the first
    into nothing at all."""
    match tables:
        case dict():
            for key, item in tables.items():
                yield from _strange(item, (*here, key))
        case list():
            for i, item in enumerate(tables):
                yield from _strange(item, (*here, i))
        case float() if not math.isfinite(tables):
            yield here, f"{tables} is not a number that can be used"
        case int() if not -(2**63) <= tables < 2**63:
            yield here, f"a number of {tables.bit_length()} bits is too large"
        case date() | time():
            yield here, f"{tables} is a date or a time: put it in quotes"
        case str() if "\0" in tables:
            yield here, "has a NUL character in it"


def _left(cut: frozenset[Place], items: list[Any], here: Place) -> list[int]:
    """The indices of a list's items that are not cut."""
    return [i for i in range(len(items)) if (*here, i) not in cut]


def _place(tables: Any, loc: Place, cut: frozenset[Place]) -> Place:
    """Where in `tables` pydantic's `loc` is, which counts without what is cut, and has tags for a
    `kind` that its writer has not."""
    here: Place = ()
    for part in loc:
        if isinstance(tables, dict) and part == tables.get("kind") and part not in tables:
            continue
        if isinstance(tables, list) and isinstance(part, int):
            part = _left(cut, tables, here)[part]
        here = (*here, part)
        tables = _item(tables, part)
    return here


def _faulty(tables: Any, place: Place, cut: frozenset[Place]) -> Place:
    """What to cut for a fault: the item; or, where it is missing, what should contain it."""
    here: Place = ()
    for part in place:
        tables = _item(tables, part)
        if tables is None or (*here, part) in cut:
            break
        here = (*here, part)
    return here


def _item(tables: Any, part: str | int) -> Any:
    """An item of a table or list, or None; TOML has no None of its own."""
    try:
        return tables[part]
    except (KeyError, IndexError, TypeError):
        return None


@cache
def _lenient(model: type[ModelT]) -> type[ModelT]:
    """`model` with None for the parts of its first floor that had to be cut away."""
    demanded: Any = {
        name: (field.annotation | None, None)  # type: ignore[operator]
        for name, field in model.model_fields.items()
        if field.is_required()
    }
    return create_model(model.__name__, __base__=model, **demanded)


def _fault(detail: ErrorDetails, place: Place, known: Collection[str]) -> Fault:
    """What pydantic found at a place where the keys `known` may stand."""
    key = _key(place)
    context = detail.get("ctx", {})
    match detail["type"]:
        case "extra_forbidden":
            return Fault(key, f"is not a key here{suggest(str(place[-1]), known)}")
        case "missing":
            return Fault(key, "is missing")
        case "union_tag_not_found":
            return Fault(f"{key}.kind", "is missing")
        case "union_tag_invalid":
            return Fault(
                f"{key}.kind", f"{context['tag']!r} is not one of {context['expected_tags']}"
            )
        case "value_error":
            return Fault(key, str(context["error"]))
        case _:
            given = detail["input"]
            shown = "" if isinstance(given, dict | list) else f"{_clipped(given)}: "
            return Fault(key, shown + detail["msg"][:1].lower() + detail["msg"][1:])


def _clipped(given: object) -> str:
    text = repr(given)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _key(place: Place) -> str:
    """A place as a person would write it: dots between the keys."""
    return ".".join(map(str, place))
