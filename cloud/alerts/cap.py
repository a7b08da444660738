"""Warnings as documents of the Common Alerting Protocol, CAP 1.2 (OASIS, 2010), and the feed of
those that a receiver must know of. Pure.

What the standard demands beside its schema is demanded here: no space, comma, `<` or `&` in an
identifier; `references` in an Update or Cancel; closed polygons of four points or more; times with
a numerical zone (`-00:00` for UTC, never `Z`); a note where the status is Exercise. An Update
replaces all that it refers to, a Cancel ends it, and each ends by itself at its `expires`.

Severities follow our levels; the standard has no word on colours, so the table is a setting.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Final, Literal, NamedTuple

import msgspec
from pydantic import Field, field_validator

from cloud.alerts import caparea
from cloud.alerts.caparea import Area as Area
from cloud.alerts.caparea import Circle as Circle
from cloud.alerts.caparea import Point as Point
from cloud.alerts.caparea import circle as circle
from cloud.alerts.caparea import polygon as polygon
from cloud.alerts.hazard import Hazard
from cloud.alerts.publicwords import Response
from cloud.channels import EXERCISE, Language, Measurement
from cloud.http import Url
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

_FORBIDDEN: Final = re.compile(r"[\s,<&\x00-\x1f\x7f-\x9f]")
_NOT_XML: Final = re.compile(
    r"[^\t\n\x20-\x7e\xa0-\u2029\u202f-\u2065\u206a-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)
"""What XML 1.0 cannot carry, escaped or not (section 2.2); a carriage return, which it reads as a
line's end of its own; the control characters behind ASCII; and marks that turn a line round."""

LONGEST_HEADLINE: Final = 140
"""Characters. The standard names 160, so that a headline fits into an SMS; Google wants 140."""

HOUR_MS: Final = 3_600_000

LONGEST_LIFE_H: Final = 72.0


class Publisher(Model):
    """`[cap]`: who publishes. `sender` names him to all the world (a domain of his, as a rule),
    `severity` says what our levels are to CAP.

    A document holds for `expires_h`, and is renewed when half of that has passed: so long we may be
    away before a receiver sees a gap, and so long at most a warning outlives us. A Cancel stays in
    the feed for `keep_cancel_h`, and never for less than what it ends would have held. `web` is a
    page for everybody; without it, each document's own address. `contact`: a number or an address
    for questions.
    """

    sender: str
    name: str = ""
    name_en: str = ""
    severity: dict[Literal["blue", "yellow", "orange", "red"], Severity] = {}
    expires_h: Annotated[float, Field(ge=0.25, le=LONGEST_LIFE_H)] = 6.0
    keep_cancel_h: Annotated[float, Field(ge=0.25, le=720)] = 24.0
    web: Url | None = None
    contact: str = ""
    contact_en: str = ""

    @field_validator("sender")
    @classmethod
    def _is_an_identifier(cls, text: str) -> str:
        if not text or _FORBIDDEN.search(text):
            raise ValueError(f"{text!r}: a sender has no space, comma, < or &")
        return text

    @field_validator("web")
    @classmethod
    def _is_one_address(cls, text: str | None) -> str | None:
        if text is not None and re.search(r"\s", text):
            raise ValueError(f"{text!r}: an address has no spaces")
        return text

    @property
    def severities(self) -> dict[Level, Severity]:
        """For `document`: what is not written is as proposed here."""
        return {**SEVERITIES, **{Level[key.upper()]: said for key, said in self.severity.items()}}

    @property
    def expires_ms(self) -> int:
        """For how long a document holds."""
        return round(self.expires_h * HOUR_MS)

    @property
    def keep_cancel_ms(self) -> int:
        """For how long a Cancel is shown."""
        return round(self.keep_cancel_h * HOUR_MS)

    def doubts(self, answer_url: str | None) -> Iterator[tuple[str, str]]:
        """What receivers ask for and the config does not say, each with its key."""
        if self.web is None and answer_url is None:
            yield (
                "cap.web",
                "is missing: Google takes no warning without a page; write web = 'https://…'",
            )
        wanted = {
            "name": (self.name, "who warns", "name = '…防汛办'"),
            "contact": (self.contact, "whom to ask", "contact = '…'"),
        }
        for key, (said, what, example) in wanted.items():
            if not said.strip():
                yield f"cap.{key}", f"is missing: receivers want to show {what}; write {example}"


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
    _add(root, "references", _triples(alert.references))
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


def again(
    earlier: bytes,
    identifier: str,
    sent_ms: int,
    references: Sequence[Reference],
    expires_ms: int,
) -> bytes:
    """The document `earlier` once more, word for word, for longer: an Update, or an Alert where
    nothing that it could refer to holds any more. Raises ValueError for what is no CAP document."""
    try:
        root = ET.fromstring(earlier)
    except ET.ParseError as error:
        raise ValueError(f"{identifier}: what it should repeat is no document: {error}") from None
    for one in root.iter():
        one.tag = one.tag.rpartition("}")[2]
    root.set("xmlns", NAMESPACE)
    made = {
        "identifier": identifier,
        "sent": time(sent_ms),
        "msgType": str(Action.UPDATE if references else Action.ALERT),
        "references": _triples(references),
    }
    for tag, text in made.items():
        _put(root, tag, text, _BEFORE_REFERENCES)
    for info in root.iterfind("info"):
        _put(info, "expires", time(expires_ms), _BEFORE_EXPIRES)
    return _written(root)


def feed(
    documents: Iterable[bytes],
    *,
    url: str,
    title: str,
    updated_ms: int,
    web: str = "",
    whole: bool = True,
) -> bytes:
    """An Atom feed (RFC 4287) of CAP documents, newest first, each `whole` in its entry, or only
    linked. `url` is where the feed is served; a document is at `url`/IDENTIFIER. `web` is a page
    for people."""
    root = ET.Element("feed", xmlns=ATOM)
    base = url.rstrip("/")
    _add(root, "id", url)
    _add(root, "title", title)
    _add(root, "updated", _rfc3339(time(updated_ms)))
    _add(ET.SubElement(root, "author"), "name", title)
    ET.SubElement(root, "link", rel="self", href=url, type="application/atom+xml")
    if web:
        ET.SubElement(root, "link", rel="alternate", href=web)
    alerts = [ET.fromstring(one) for one in documents]
    for alert in sorted(alerts, key=lambda one: _said(one, "sent"), reverse=True):
        identifier = _said(alert, "identifier")
        entry = ET.SubElement(root, "entry")
        _add(entry, "id", f"{base}/{identifier}")
        _add(entry, "title", _said(alert, "info/headline") or identifier)
        _add(entry, "updated", _rfc3339(_said(alert, "sent")))
        author = ET.SubElement(entry, "author")
        _add(author, "name", _said(alert, "info/senderName") or _said(alert, "sender"))
        ET.SubElement(
            entry, "link", rel="alternate", href=f"{base}/{identifier}", type=CONTENT_TYPE
        )
        for name in ("status", "msgType"):
            ET.SubElement(entry, "category", scheme=f"{NAMESPACE}:{name}", term=_said(alert, name))
        _add(entry, "summary", _said(alert, "info/description"))
        if whole:
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
        if not (_clean(words.event).strip() and _clean(words.area).strip()):
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
    _add(info, "headline", _short(words.headline.removeprefix(mark), len(mark)), mark)
    _add(info, "description", words.description.removeprefix(mark), mark)
    if words.instruction:
        _add(info, "instruction", words.instruction.removeprefix(mark), mark)
    _add(info, "web", alert.web)
    _add(info, "contact", words.contact)
    for one in alert.readings:
        said = f"{one.value:.6g} {one.unit} {time(one.at_ms)}"
        _pair(info, "parameter", f"{one.quantity} {one.sensor}", said)
    area = ET.SubElement(info, "area")
    _add(area, "areaDesc", words.area)
    for corners in alert.area.polygons:
        _add(area, "polygon", " ".join(map(caparea.written_point, caparea.closed(corners))))
    for centre, radius_m in alert.area.circles:
        if not 0 <= radius_m < float("inf"):
            raise ValueError(f"{radius_m!r} m is no radius")
        _add(area, "circle", f"{caparea.written_point(centre)} {caparea.number(radius_m / 1000)}")
    for name, code in alert.area.geocodes:
        _pair(area, "geocode", name, code)


def _triples(references: Iterable[Reference]) -> str:
    return " ".join(map(_triple, references))


def _triple(earlier: Reference) -> str:
    return f"{earlier.sender},{earlier.identifier},{time(earlier.sent_ms)}"


def _add(parent: ET.Element, tag: str, text: str, mark: str = "") -> None:
    """A child with `text`; none for nothing."""
    if said := mark + _clean(text):
        ET.SubElement(parent, tag).text = said


def _pair(parent: ET.Element, tag: str, name: str, value: str) -> None:
    """A name and a value; none where one of them says nothing."""
    if _clean(name).strip() and _clean(value).strip():
        child = ET.SubElement(parent, tag)
        _add(child, "valueName", name)
        _add(child, "value", value)


def _put(parent: ET.Element, tag: str, text: str, before: Collection[str]) -> None:
    """Let `text` be the one child of that name, behind those that may stand before it; none for
    nothing."""
    for old in parent.findall(tag):
        if text:
            old.text = text
            return
        parent.remove(old)
    if text:
        place = 1 + max((i for i, one in enumerate(parent) if one.tag in before), default=-1)
        made = ET.Element(tag)
        made.text = text
        parent.insert(place, made)


def _clean(text: str) -> str:
    return _NOT_XML.sub("", text)


def _short(headline: str, taken: int) -> str:
    """A headline that is no longer than receivers show, with `taken` characters before it."""
    most = LONGEST_HEADLINE - taken
    return headline if len(headline) <= most else f"{headline[: most - 1].rstrip()}…"


def _said(alert: ET.Element, path: str) -> str:
    tags = "/".join(f"{{{NAMESPACE}}}{tag}" for tag in path.split("/"))
    return alert.findtext(tags) or ""


def _rfc3339(text: str) -> str:
    """The same time for Atom, where -00:00 says that the local time is unknown."""
    return text.replace("-00:00", "Z")


def _written(root: ET.Element) -> bytes:
    ET.indent(root)
    return bytes(ET.tostring(root, encoding="utf-8", xml_declaration=True))


_BEFORE_REFERENCES: Final = frozenset(
    (
        *("identifier", "sender", "sent", "status", "msgType", "source", "scope"),
        *("restriction", "addresses", "code", "note"),
    )
)
_BEFORE_EXPIRES: Final = frozenset(
    (
        *("language", "category", "event", "responseType", "urgency", "severity"),
        *("certainty", "audience", "eventCode", "effective", "onset"),
    )
)
"""What the schema has before an element."""

ET.register_namespace("cap", NAMESPACE)  # its usual name in a feed
