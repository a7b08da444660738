"""Warnings as documents of the Common Alerting Protocol, CAP 1.2 (OASIS, 2010), and the feed of
those that are in force. Pure.

What the standard demands beside its schema is demanded here: no space, comma, `<` or `&` in an
identifier; `references` in an Update or Cancel; closed polygons of four points or more; times with
a numerical zone (`-00:00` for UTC, never `Z`); a note where the status is Exercise. An Update
replaces all that it refers to, a Cancel ends it.

Severities follow our levels; the standard has no word on colours, so the table is a setting.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal, NamedTuple

import msgspec
from pydantic import field_validator

from cloud.alerts.hazard import Hazard
from cloud.channels import EXERCISE, Language, Measurement
from configs.loader import Model
from wire.messages import Level

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
ATOM: Final = "http://www.w3.org/2005/Atom"
CONTENT_TYPE: Final = "application/cap+xml"

LANGUAGES: Final[Mapping[Language, str]] = {"zh": "zh-CN", "en": "en-US"}

Severity = Literal["Extreme", "Severe", "Moderate", "Minor", "Unknown"]
Category = Literal[
    "Geo",
    "Met",
    "Safety",
    "Security",
    "Rescue",
    "Fire",
    "Health",
    "Env",
    "Transport",
    "Infra",
    "CBRNE",
    "Other",
]
Response = Literal[
    "Shelter",
    "Evacuate",
    "Prepare",
    "Execute",
    "Avoid",
    "Monitor",
    "Assess",
    "AllClear",
    "None",
]
Point = tuple[float, float]
"""Latitude and longitude, degrees, WGS 84."""

SEVERITIES: Final[Mapping[Level, Severity]] = {
    Level.BLUE: "Minor",
    Level.YELLOW: "Moderate",
    Level.ORANGE: "Severe",
    Level.RED: "Extreme",
}


class Event(NamedTuple):
    """What a hazard is called: its category, and its name in each language."""

    category: Category
    names: Mapping[Language, str]


EVENTS: Final[Mapping[Hazard, Event]] = {
    Hazard.UNDERPASS: Event("Met", {"zh": "下穿道积水", "en": "Flooded underpass"}),
    Hazard.RIVER: Event("Met", {"zh": "洪水", "en": "River flood"}),
    Hazard.RAINSTORM: Event("Met", {"zh": "暴雨", "en": "Rainstorm"}),
    Hazard.LANDSLIDE: Event("Geo", {"zh": "滑坡", "en": "Landslide"}),
}
"""Floods are "Met" to the standard (3.2.2). Of equipment the public is told nothing."""

_FORBIDDEN: Final = re.compile(r"[\s,<&]")
_NOT_XML: Final = re.compile(r"[^\t\n\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot carry, escaped or not (section 2.2); and a carriage return, which it reads as
a line's end of its own."""


class Publisher(Model):
    """`[cap]`: who publishes. `sender` names him to all the world (a domain of his, as a rule),
    `severity` says what our levels are to CAP."""

    sender: str
    name: str = ""
    name_en: str = ""
    severity: dict[Literal["blue", "yellow", "orange", "red"], Severity] = {}

    @field_validator("sender")
    @classmethod
    def _is_an_identifier(cls, text: str) -> str:
        if not text or _FORBIDDEN.search(text):
            raise ValueError(f"{text!r}: a sender has no space, comma, < or &")
        return text

    @property
    def severities(self) -> dict[Level, Severity]:
        """For `document`: what is not written is as proposed here."""
        return {**SEVERITIES, **{Level[key.upper()]: said for key, said in self.severity.items()}}


class Action(StrEnum):
    """What a document does."""

    ALERT = "Alert"
    UPDATE = "Update"
    CANCEL = "Cancel"


class Reference(NamedTuple):
    """An earlier document."""

    sender: str
    identifier: str
    sent_ms: int


class Circle(NamedTuple):
    """Around a point; the radius in metres."""

    centre: Point
    radius_m: float


class Area(NamedTuple):
    """Where it holds. A polygon is closed here if its writer has not. `geocodes`: names of code
    systems and codes, such as ("GB/T 2260", "500103")."""

    polygons: tuple[tuple[Point, ...], ...] = ()
    circles: tuple[Circle, ...] = ()
    geocodes: tuple[tuple[str, str], ...] = ()


def polygon(text: str) -> tuple[Point, ...]:
    """The corners in `29.551,106.512 29.552,106.514 29.550,106.515`, as CAP writes them. Raises
    ValueError."""
    corners = tuple(_place(one) for one in text.split())
    _closed(corners)
    return corners


def circle(text: str) -> Circle:
    """What `29.551,106.512 0.5` says: a point, and a radius in km, as CAP writes it. Raises
    ValueError."""
    match text.split():
        case [centre, radius_km]:
            found = Circle(_place(centre), 1000 * _float(radius_km))
        case _:
            raise ValueError(f"{text!r} is not such as 29.551,106.512 0.5 (the radius in km)")
    if not 0 <= found.radius_m < float("inf"):
        raise ValueError(f"{text!r}: {radius_km} km is no radius")
    return found


class Words(NamedTuple):
    """What is said in one language. `area` is the name of the area."""

    language: Language
    event: str
    headline: str
    description: str
    area: str
    instruction: str = ""
    sender_name: str = ""
    contact: str = ""


class Alert(msgspec.Struct, frozen=True, kw_only=True):
    """What a document says. Times: UTC, milliseconds since 1970, written to the second.

    measured: it was seen by a sensor (urgency Immediate, certainty Observed), not forecast
        (Expected, Likely).
    references: the documents that an Update replaces or a Cancel ends.
    """

    identifier: str
    sender: str
    sent_ms: int
    action: Action
    level: Level
    words: tuple[Words, ...]
    area: Area = Area()
    category: Category = "Met"
    measured: bool = True
    exercise: bool = False
    references: tuple[Reference, ...] = ()
    incident: str = ""
    responses: tuple[Response, ...] = ()
    effective_ms: int | None = None
    onset_ms: int | None = None
    expires_ms: int | None = None
    web: str = ""
    readings: tuple[Measurement, ...] = ()


def document(alert: Alert, severities: Mapping[Level, Severity] = SEVERITIES) -> bytes:
    """`alert` as XML in UTF-8. Raises ValueError for what the standard forbids."""
    _check(alert)
    root = ET.Element("alert", xmlns=NAMESPACE)
    _add(root, "identifier", alert.identifier)
    _add(root, "sender", alert.sender)
    _add(root, "sent", time(alert.sent_ms))
    _add(root, "status", "Exercise" if alert.exercise else "Actual")
    _add(root, "msgType", alert.action)
    _add(root, "scope", "Public")
    if alert.exercise:
        _add(root, "note", "演练 / exercise: no real danger, no real warning")
    _add(root, "references", " ".join(map(_triple, alert.references)))
    if alert.incident:
        # A list of words to the standard: what has spaces stands in quotes.
        quoted = re.search(r"\s", alert.incident)
        _add(root, "incidents", f'"{alert.incident}"' if quoted else alert.incident)
    for words in alert.words:
        _info(ET.SubElement(root, "info"), alert, words, severities[alert.level])
    return _written(root)


def time(at_ms: int) -> str:
    """A time as CAP writes it, in UTC: `2024-07-01T08:00:00-00:00`."""
    return f"{datetime.fromtimestamp(at_ms // 1000, UTC):%Y-%m-%dT%H:%M:%S}-00:00"


def reference(alert: Alert) -> Reference:
    """`alert` as a later document refers to it."""
    return Reference(alert.sender, alert.identifier, alert.sent_ms)


def feed(documents: Iterable[bytes], *, url: str, title: str, updated_ms: int) -> bytes:
    """An Atom feed (RFC 4287) of the CAP documents that are in force, newest first, each whole in
    its entry. `url` is where the feed is served; a document is at `url`/IDENTIFIER."""
    root = ET.Element("feed", xmlns=ATOM)
    base = url.rstrip("/")
    _add(root, "id", url)
    _add(root, "title", title)
    _add(root, "updated", _rfc3339(time(updated_ms)))
    ET.SubElement(root, "link", rel="self", href=url, type="application/atom+xml")
    alerts = [ET.fromstring(one) for one in documents]
    for alert in sorted(alerts, key=lambda one: _said(one, "sent"), reverse=True):
        identifier = _said(alert, "identifier")
        entry = ET.SubElement(root, "entry")
        _add(entry, "id", f"{base}/{identifier}")
        _add(entry, "title", _said(alert, "info/headline") or identifier)
        _add(entry, "updated", _rfc3339(_said(alert, "sent")))
        author = ET.SubElement(entry, "author")
        _add(author, "name", _said(alert, "info/senderName") or _said(alert, "sender"))
        ET.SubElement(entry, "link", href=f"{base}/{identifier}", type=CONTENT_TYPE)
        _add(entry, "summary", _said(alert, "info/description"))
        ET.SubElement(entry, "content", type=CONTENT_TYPE).append(alert)
    return _written(root)


def _check(alert: Alert) -> None:
    names = [alert.identifier, alert.sender]
    for earlier in alert.references:
        names += [earlier.sender, earlier.identifier]
    for name in names:
        if not name or _FORBIDDEN.search(name):
            raise ValueError(f"{name!r}: an identifier has no space, comma, < or &")
    if (alert.action is Action.ALERT) == bool(alert.references):
        raise ValueError(f"{alert.action} {alert.identifier}: references go with Update and Cancel")
    if not alert.words:
        raise ValueError(f"{alert.identifier}: nothing is said, in no language")
    for words in alert.words:
        if not (words.event and words.area):
            raise ValueError(f"{alert.identifier}: {words.language} names no event or no area")
    if alert.expires_ms is not None and alert.expires_ms <= alert.sent_ms:
        raise ValueError(f"{alert.identifier}: it would have expired before it is sent")


def _info(info: ET.Element, alert: Alert, words: Words, severity: Severity) -> None:
    over = alert.action is Action.CANCEL
    mark = EXERCISE[words.language] if alert.exercise else ""
    _add(info, "language", LANGUAGES[words.language])
    _add(info, "category", alert.category)
    _add(info, "event", words.event)
    for response in ("AllClear",) if over else alert.responses:
        _add(info, "responseType", response)
    _add(info, "urgency", "Past" if over else "Immediate" if alert.measured else "Expected")
    _add(info, "severity", severity)
    _add(info, "certainty", "Observed" if alert.measured else "Likely")
    for key in ("effective", "onset", "expires"):
        at_ms = getattr(alert, f"{key}_ms")
        _add(info, key, "" if at_ms is None else time(at_ms))
    _add(info, "senderName", words.sender_name)
    _add(info, "headline", words.headline.removeprefix(mark), mark)
    _add(info, "description", words.description.removeprefix(mark), mark)
    _add(info, "instruction", words.instruction)
    _add(info, "web", alert.web)
    _add(info, "contact", words.contact)
    for one in alert.readings:
        said = f"{one.value:.6g} {one.unit} {time(one.at_ms)}"
        _pair(info, "parameter", f"{one.quantity} {one.sensor}", said)
    area = ET.SubElement(info, "area")
    _add(area, "areaDesc", words.area)
    for polygon in alert.area.polygons:
        _add(area, "polygon", " ".join(map(_point, _closed(polygon))))
    for centre, radius_m in alert.area.circles:
        if not radius_m >= 0:
            raise ValueError(f"{radius_m!r} m is no radius")
        _add(area, "circle", f"{_point(centre)} {_number(radius_m / 1000)}")
    for name, code in alert.area.geocodes:
        _pair(area, "geocode", name, code)


def _place(text: str) -> Point:
    latitude, comma, longitude = text.partition(",")
    if not comma:
        raise ValueError(f"{text!r} is not such as 29.551,106.512")
    point = (_float(latitude), _float(longitude))
    _point(point)
    return point


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{text!r} is no number") from None


def _closed(polygon: Sequence[Point]) -> Sequence[Point]:
    ring = polygon if polygon[:1] == polygon[-1:] else (*polygon, polygon[0])
    if len(ring) < 4:
        raise ValueError(f"a polygon has three corners at least, not {max(len(ring) - 1, 0)}")
    return ring


def _point(point: Point) -> str:
    latitude, longitude = point
    if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
        raise ValueError(f"{point} is no latitude and longitude")
    return f"{_number(latitude)},{_number(longitude)}"


def _number(value: float) -> str:
    """To 0.1 m on the ground, and without an exponent."""
    return f"{round(value, 6) + 0.0:.6f}".rstrip("0").rstrip(".")


def _triple(earlier: Reference) -> str:
    return f"{earlier.sender},{earlier.identifier},{time(earlier.sent_ms)}"


def _add(parent: ET.Element, tag: str, text: str, mark: str = "") -> None:
    """A child with `text`; none for nothing."""
    if text or mark:
        ET.SubElement(parent, tag).text = mark + _NOT_XML.sub("", text)


def _pair(parent: ET.Element, tag: str, name: str, value: str) -> None:
    child = ET.SubElement(parent, tag)
    _add(child, "valueName", name)
    _add(child, "value", value)


def _said(alert: ET.Element, path: str) -> str:
    tags = "/".join(f"{{{NAMESPACE}}}{tag}" for tag in path.split("/"))
    return alert.findtext(tags) or ""


def _rfc3339(text: str) -> str:
    """The same time for Atom, where -00:00 says that the local time is unknown."""
    return text.replace("-00:00", "Z")


def _written(root: ET.Element) -> bytes:
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


ET.register_namespace("cap", NAMESPACE)  # its usual name in a feed
