"""A list of contacts from a spreadsheet (CSV) into a plan.

Offices keep their lists in Excel, which writes CSV in GB18030 or in UTF-8 with a byte order mark,
with Chinese headings. All faults of a file are told at once, each with its line.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import tomlkit
from tomlkit.items import AbstractTable, InlineTable

from cloud.alerts.plan import Plan
from configs.loader import ConfigError, Fault, suggest
from wire.topics import NAME_PATTERN

_HEADINGS: Final = {
    "id": ("id", "编号"),
    "name": ("name", "姓名", "名称"),
    "name_en": ("name_en", "英文名"),
    "area": ("area", "区域", "行政区", "单位", "村社"),
    "roles": ("roles", "role", "职务", "职责", "角色"),
    "phone": ("phone", "mobile", "电话", "手机", "手机号", "手机号码", "联系电话"),
    "email": ("email", "邮箱", "电子邮箱"),
    "language": ("language", "语言"),
    "channels": ("channels", "channel", "渠道", "通知方式"),
    "duty": ("duty", "值班", "班次"),
}
"""What a column may be called."""

_BY_HEADING: Final = {word: key for key, words in _HEADINGS.items() for word in words}
_NEEDED: Final = ("name", "area")
_SEVERAL: Final = re.compile(r"[,;，；、]")
_LANGUAGES: Final = {"zh": "zh", "en": "en", "中文": "zh", "英文": "en", "汉语": "zh"}
_ID: Final = re.compile(NAME_PATTERN)
_EMAIL: Final = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_PHONES: Final = (
    (re.compile(r"(?:\+?86)?(1[3-9]\d{9})"), "+86{}"),  # a mobile
    (re.compile(r"(?:\+?86|0)([1-9]\d{1,2}[2-9]\d{6,7})"), "+86{}"),  # a landline with area code
    (re.compile(r"\+([1-9]\d{7,14})"), "+{}"),  # anywhere else, ITU-T E.164
)


class Person(NamedTuple):
    """A line of the list; "" and () where it says nothing."""

    line: int
    id: str
    name: str
    name_en: str
    area: str
    roles: tuple[str, ...]
    address: Mapping[str, str]
    language: str
    channels: tuple[str, ...]
    duty: tuple[str, ...]


class Merged(NamedTuple):
    """What a list does to a plan: contacts added and changed, and what else to tell."""

    added: list[str]
    changed: list[str]
    notes: list[str]


def decode(content: bytes) -> str:
    """Text in UTF-8, with or without a byte order mark, or in GB18030, of which GBK and GB 2312 are
    parts. Raises ValueError."""
    for encoding in ("utf-8-sig", "gb18030"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise ValueError("is text neither in UTF-8 nor in GB18030")


def phone(text: str) -> str:
    """A number as ITU-T E.164 writes it: `+8613…`. Raises ValueError."""
    digits = re.sub(r"[\s\-()（）]", "", text)
    for pattern, form in _PHONES:
        if found := pattern.fullmatch(digits):
            return form.format(found[1])
    raise ValueError(
        f"{text!r} is not a phone number: 11 digits of a mobile, 023-… with the area code, or +…"
    )


def read(file: Path, plan: Plan) -> tuple[list[Person], list[str]]:
    """The people in a CSV file, and the lines left out because they repeat another.

    Raises ConfigError with all of its faults, each with its line.
    """
    try:
        text = decode(file.read_bytes())
    except FileNotFoundError:
        raise ConfigError(file, [Fault("", "there is no such file")]) from None
    except OSError as error:
        raise ConfigError(file, [Fault("", f"cannot be read: {error.strerror}")]) from None
    except ValueError as error:
        raise ConfigError(file, [Fault("", str(error))]) from None
    rows = csv.reader(io.StringIO(text, newline=""), _dialect(text))
    faults: list[Fault] = []
    people: list[Person] = []
    notes: list[str] = []
    seen: dict[tuple[str, str, str], int] = {}
    try:
        keys = _keys(next(rows, []))
        missing = [key for key in _NEEDED if key not in keys]
        if missing:
            wanted = (f"{key} ({' or '.join(_HEADINGS[key][1:])})" for key in missing)
            raise ConfigError(file, [Fault("line 1", f"has no column {', '.join(wanted)}")])
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            line = rows.line_num
            if len(row) > len(keys) and any(cell.strip() for cell in row[len(keys) :]):
                faults.append(Fault(f"line {line}", f"has {len(row)} cells, not {len(keys)}"))
            cells = {key: cell.strip() for key, cell in zip(keys, row, strict=False) if key}
            person, found = _person(line, cells, plan)
            faults += found
            same = (person.name, person.area, person.address.get("phone", ""))
            if same in seen:
                notes.append(f"line {line}: {person.name} stands in line {seen[same]} already")
                continue
            seen[same] = line
            people.append(person)
    except csv.Error as error:
        faults.append(Fault(f"line {rows.line_num}", f"is not CSV: {error}"))
    faults += _clashes(people)
    if faults:
        raise ConfigError(file, faults)
    if not people:
        raise ConfigError(file, [Fault("", "has nobody in it")])
    return people, notes + list(_shared(people))


def merge(document: tomlkit.TOMLDocument, plan: Plan, people: Iterable[Person]) -> Merged:
    """Write people into the plan's document: whoever has the id, or name and area, of a contact
    changes that one, and what a list does not say stays as it is."""
    known = {(one.name, one.area): name for name, one in plan.contact.items()}
    merged = Merged([], [], [])
    contacts = document.setdefault("contact", tomlkit.table(is_super_table=True))
    for person in people:
        name = person.id or known.get((person.name, person.area)) or _new(person, contacts)
        if name in contacts:
            if _write(contacts[name], person):
                merged.changed.append(name)
            continue
        table = tomlkit.table()
        _write(table, person)
        if "channels" not in table:
            usable = [c for c, one in plan.channel.items() if one.address in person.address]
            table["channels"] = usable
            merged.notes.append(f"{name}: no channels given, so {', '.join(usable) or 'none'}")
        contacts[name] = table
        merged.added.append(name)
    return merged


def _dialect(text: str) -> type[csv.Dialect]:
    """Commas, or what Excel writes in their place: semicolons or tabs."""
    head = text.partition("\n")[0]

    class Found(csv.excel):
        delimiter = max(",;\t", key=head.count)

    return Found


def _keys(headings: list[str]) -> list[str]:
    """The key of each column, "" for one that means nothing to us."""
    words = (heading.strip().lower() for heading in headings)
    return [
        word if re.fullmatch(r"address\.\w+", word) else _BY_HEADING.get(word, "") for word in words
    ]


def _person(line: int, cells: dict[str, str], plan: Plan) -> tuple[Person, list[Fault]]:
    faults: list[Fault] = []

    def fault(key: str, problem: str) -> None:
        faults.append(Fault(f"line {line}, {key}", problem))

    def several(key: str, known: Iterable[str] | None = None) -> tuple[str, ...]:
        words = tuple(filter(None, map(str.strip, _SEVERAL.split(cells.get(key, "")))))
        for word in words:
            if known is not None and word not in known:
                fault(key, f"{word!r} is not in the plan{suggest(word, known)}")
        return words

    if not cells.get("name"):
        fault("name", "is missing")
    area = _area(cells.get("area", ""), plan, fault)
    identity = cells.get("id", "")
    if identity and not _ID.fullmatch(identity):
        fault("id", f"{identity!r}: use a-z, 0-9 and -")
    address = {
        key.removeprefix("address."): cell
        for key, cell in cells.items()
        if key.startswith("address.") and cell
    }
    if cells.get("phone"):
        try:
            address["phone"] = phone(cells["phone"])
        except ValueError as error:
            fault("phone", str(error))
    if email := cells.get("email"):
        address["email"] = email
        if not _EMAIL.fullmatch(email):
            fault("email", f"{email!r} is not a mail address")
    language = cells.get("language", "").lower()
    if language and language not in _LANGUAGES:
        fault("language", f"{language!r} is not one of {', '.join(_LANGUAGES)}")
    channels = several("channels", plan.channel)
    group = any(c in plan.channel and plan.channel[c].address is None for c in channels)
    if not address and not group and not cells.get("phone"):
        fault("phone", "is missing: there is no way to reach them")
    person = Person(
        line,
        identity,
        cells.get("name", ""),
        cells.get("name_en", ""),
        area,
        several("roles"),
        address,
        _LANGUAGES.get(language, ""),
        channels,
        several("duty", plan.duty),
    )
    return person, faults


def _area(given: str, plan: Plan, fault: Any) -> str:
    """The area's key, from key or name."""
    if given in plan.area:
        return given
    names = [key for key, one in plan.area.items() if given and given in (one.name, one.name_en)]
    if len(names) == 1:
        return names[0]
    if not given:
        fault("area", "is missing")
    elif names:
        fault("area", f"{given!r} is the name of {', '.join(names)}: write which")
    else:
        words = [word for key, one in plan.area.items() for word in (key, one.name)]
        fault("area", f"{given!r} is not an area of the plan{suggest(given, words)}")
    return given


def _clashes(people: list[Person]) -> Iterator[Fault]:
    """Two lines that would write one contact."""
    first: dict[str, Person] = {}
    for person in people:
        key = person.id or f"{person.name} of {person.area}"
        if key in first:
            yield Fault(
                f"line {person.line}",
                f"{key} stands in line {first[key].line} already, with other contents",
            )
        first.setdefault(key, person)


def _shared(people: list[Person]) -> Iterator[str]:
    """Numbers that several people share: told, because it is a slip more often than a wish."""
    owners: dict[str, Person] = {}
    for person in people:
        number = person.address.get("phone", "")
        if number in owners:
            other = owners[number]
            yield (
                f"line {person.line}: {person.name} has the phone number of {other.name} "
                f"(line {other.line})"
            )
        elif number:
            owners[number] = person


def _new(person: Person, contacts: Any) -> str:
    """An id that nobody has: area and a number."""
    number = 1
    while f"{person.area}-{number}" in contacts:
        number += 1
    return f"{person.area}-{number}"


def _write(table: Any, person: Person) -> bool:
    """Set what the list says and the table does not; whether anything is new."""
    changed = False
    given = {
        "name": person.name,
        "name_en": person.name_en,
        "area": person.area,
        "roles": list(person.roles),
        "language": person.language,
        "channels": list(person.channels),
        "duty": list(person.duty),
    }
    for key, value in given.items():
        if value and table.get(key) != value:
            table[key] = value
            changed = True
    address = table.get("address")
    if not isinstance(address, AbstractTable | InlineTable):
        address = tomlkit.inline_table()
        table["address"] = address
    for kind, value in person.address.items():
        if address.get(kind) != value:
            address[kind] = value
            changed = True
    return changed
