"""What a CAP document and a feed of them must be, rule by rule, each with its source. For tests.

Sources, as far as they could be read:

OASIS: Common Alerting Protocol 1.2, OASIS Standard, 1 July 2010, sections 3.2 and 3.3. Its schema
    is `tests/unit/cap-1.2.xsd`, written down anew.
GOOGLE: the rules of Google's open validator (google/cap-library: CapValidator, GoogleProfile, with
    its errors and recommendations), and "CAP requirements" on developers.google.com/public-alerts.
WMO: WMO-No. 1109 (2013) itself could not be read beyond its contents; of it: identifiers that are
    unique for ever, a feed that everybody can read, and what the editor that WMO gives its members
    (CAP Composer) fills in: headline, expires, sender's name, an area with a geometry.
RFC: 4287 (Atom).
"""

import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import combinations, pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import xmlschema

CAP = "urn:oasis:names:tc:emergency:cap:1.2"
ATOM = "http://www.w3.org/2005/Atom"
NS = {"c": CAP, "a": ATOM}
SCHEMA = xmlschema.XMLSchema(Path(__file__).parent / "unit" / "cap-1.2.xsd")

_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d")
_TAGS = re.compile(r"</?[a-zA-Z][^>]*>|&(?:[a-z]+|#\d+);")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def broken(document: bytes, *, placed: bool = True) -> list[str]:
    """The rules that one document breaks; `placed`: its site has a geometry."""
    text = document.decode()
    return [*map(str, SCHEMA.iter_errors(text)), *_rules(ET.fromstring(text), placed)]


def broken_in(history: Sequence[bytes]) -> list[str]:
    """The rules that the documents of one publisher break together, in the order of publication."""
    found: list[str] = []
    seen: dict[str, ET.Element] = {}
    in_force: dict[str, ET.Element] = {}  # by identifier; those that have ended are in it too
    for document in history:
        root = ET.fromstring(document)
        name, sent = said(root, "identifier"), moment(said(root, "sent"))
        if name in seen:
            found.append(f"OASIS 3.2.1, WMO: {name} is there twice")
        series = name.rpartition(".")[0]
        holding = {
            key
            for key, one in in_force.items()
            if key.rpartition(".")[0] == series and moment(said(one, "info/expires")) > sent
        }
        referred = set()
        for triple in said(root, "references").split():
            sender, identifier, at = triple.split(",")
            earlier = seen.get(identifier)
            if earlier is None:
                found.append(f"OASIS 3.2.1: {name} refers to {identifier}, which nobody published")
                continue
            if (sender, at) != (said(earlier, "sender"), said(earlier, "sent")):
                found.append(f"OASIS 3.2.1: {name} refers to {triple}, which is not that document")
            if moment(at) > sent:
                found.append(f"GOOGLE POSTDATED_REFERENCE: {name} is sent before {identifier}")
            referred.add(identifier)
        if holding - referred:
            found.append(
                f"GOOGLE UPDATE_OR_CANCEL_MUST_REFERENCE: {name} leaves out {holding - referred}"
            )
        seen[name] = root
        if said(root, "msgType") == "Cancel":
            for key in referred:
                in_force.pop(key, None)
        else:
            in_force[name] = root
    return found


def broken_feed(feed: bytes) -> list[str]:
    """The rules of RFC 4287, and of feeds of CAP, that a feed breaks."""
    root = ET.fromstring(feed)
    found = []
    if root.tag != f"{{{ATOM}}}feed":
        found.append("RFC 4287 4.1.1: no feed")
    for tag in ("id", "title", "updated", "author/name"):
        if len(root.findall(_path(tag, "a"), NS)) != 1 or not root.findtext(
            _path(tag, "a"), "", NS
        ):
            found.append(f"RFC 4287 4.1.1: the feed has not one {tag}")
    own = [one.get("href") for one in root.findall("a:link", NS) if one.get("rel") == "self"]
    if own != [root.findtext("a:id", None, NS)]:
        found.append("RFC 4287 4.1.1: the feed should have one link to itself")
    names = [one.findtext("a:id", "", NS) for one in root.findall("a:entry", NS)]
    if len(set(names)) != len(names):
        found.append("RFC 4287 4.2.6: ids are there twice")
    times = [one.findtext("a:updated", "", NS) for one in root.findall("a:entry", NS)]
    if times != sorted(times, reverse=True):
        found.append("the newest is not the first")
    for stamp in (root.findtext("a:updated", "", NS), *times):
        if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[-+]\d\d:\d\d)", stamp):
            found.append(f"RFC 4287 3.3: {stamp!r} is no date")
    for entry in root.findall("a:entry", NS):
        for tag in ("id", "title", "updated", "author/name", "summary"):
            if not entry.findtext(_path(tag, "a"), "", NS):
                found.append(f"RFC 4287 4.1.2: an entry without {tag}")
        links = {(one.get("rel"), one.get("type")) for one in entry.findall("a:link", NS)}
        if ("alternate", "application/cap+xml") not in links:
            found.append("GOOGLE ATOM_ENTRY_MISSING_CAP_LINK: an entry without a link")
        content = entry.find("a:content", NS)
        if content is None or content.get("type") != "application/cap+xml" or len(content) != 1:
            found.append("RFC 4287 4.1.3.3: the content is not one document")
    return found


def said(root: ET.Element, path: str) -> str:
    """The text at a path of a document, "" if it has none."""
    return root.findtext(_path(path, "c"), "", NS)


def moment(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _path(path: str, space: str) -> str:
    return "/".join(f"{space}:{tag}" for tag in path.split("/"))


def _rules(root: ET.Element, placed: bool) -> Iterator[str]:
    for one in root.iter():
        if _CONTROL.search(one.text or ""):
            yield f"OASIS 3.3, XML 1.0: {one.tag} has a control character"
        if not len(one) and not (one.text or "").strip():
            yield f"{one.tag} is empty"
        if _TAGS.search(one.text or ""):
            yield f"GOOGLE TEXT_CONTAINS_HTML: {one.tag}: {one.text!r}"
    for tag in ("identifier", "sender"):
        if re.search(r"[\s,<&]", said(root, tag)):
            yield f"OASIS 3.2.1: {tag} has spaces, commas or restricted characters"
    action, references = said(root, "msgType"), said(root, "references").split()
    if action in ("Update", "Cancel") and not references:
        yield f"OASIS 3.2.1, GOOGLE UPDATE_OR_CANCEL_MUST_REFERENCE: {action} refers to nothing"
    if action == "Alert" and references:
        yield "OASIS 3.2.1: an Alert refers to something"
    for triple in references:
        parts = triple.split(",")
        if len(parts) != 3 or not _STAMP.fullmatch(parts[2]):
            yield f"OASIS 3.2.1: {triple!r} is not sender,identifier,sent"
        elif parts[1] == said(root, "identifier"):
            yield "GOOGLE CIRCULAR_REFERENCE"
    if said(root, "status") == "Exercise" and not said(root, "note"):
        yield "OASIS 3.2.1: an exercise has a note"
    infos = root.findall("c:info", NS)
    if not infos:
        yield "GOOGLE INFO_IS_REQUIRED"
    if len({said(one, "language") for one in infos}) != len(infos):
        yield "OASIS 3.2.2: a language is there twice"
    for tag in ("category", "urgency", "severity", "certainty", "expires", "effective", "onset"):
        if len({said(one, tag) for one in infos}) > 1:
            yield f"GOOGLE CATEGORIES_MUST_MATCH: {tag} is not the same in all languages"
    for tag in ("event", "headline", "description", "instruction"):
        if len({said(one, tag) for one in infos}) != len(infos):
            yield f"GOOGLE SAME_TEXT_DIFFERENT_LANGUAGE: {tag}"
    for info in infos:
        yield from _info(root, info, placed)


def _info(root: ET.Element, info: ET.Element, placed: bool) -> Iterator[str]:
    wanted = ("language", "expires", "description", "web", "senderName", "responseType")
    for tag in (*wanted, "instruction", "headline", "contact", "effective"):
        if not said(info, tag).strip():
            yield f"GOOGLE, WMO: {tag} is missing"
    for tag in ("effective", "onset", "expires"):
        if said(info, tag) and not _STAMP.fullmatch(said(info, tag)):
            yield f"OASIS 3.3.2: {tag} {said(info, tag)!r} is no time of CAP"
    sent = said(root, "sent")
    if not _STAMP.fullmatch(sent):
        yield f"OASIS 3.3.2: sent {sent!r} is no time of CAP"
    elif said(info, "expires") and moment(said(info, "expires")) <= moment(
        said(info, "effective") or sent
    ):
        yield "GOOGLE EFFECTIVE_NOT_AFTER_EXPIRES"
    for tag in ("urgency", "severity", "certainty"):
        if said(info, tag) in ("", "Unknown"):
            yield f"GOOGLE UNKNOWN_DISCOURAGED: {tag}"
    headline, description = said(info, "headline"), said(info, "description")
    if len(headline) > 140:
        yield "GOOGLE HEADLINE_TOO_LONG (OASIS 3.2.2 names 160)"
    if len(said(info, "event")) >= 35:
        yield "GOOGLE: an event has less than 35 characters"
    if len({headline, description, said(info, "instruction")}) != 3:
        yield "GOOGLE: headline, description and instruction should differ"
    if not re.match(r"https?://[^\s/]+", said(info, "web")):
        yield "GOOGLE INVALID_WEB: web is no whole URL"
    responses = [one.text for one in info.findall("c:responseType", NS)]
    if (said(root, "msgType") == "Cancel") != ("AllClear" in responses):
        yield f"OASIS 3.2.2: AllClear goes with an end: {said(root, 'msgType')} {responses}"
    areas = info.findall("c:area", NS)
    if not areas:
        yield "GOOGLE AREA_IS_REQUIRED"
    for area in areas:
        yield from _area(area, placed)


def _area(area: ET.Element, placed: bool) -> Iterator[str]:
    if len(said(area, "areaDesc")) >= 50:
        yield "GOOGLE: areaDesc has less than 50 characters"
    polygons, circles = area.findall("c:polygon", NS), area.findall("c:circle", NS)
    geocodes = area.findall("c:geocode", NS)
    if placed and not (polygons or circles or geocodes):
        yield "GOOGLE CIRCLE_POLYGON_OR_GEOCODE_IS_REQUIRED"
    for one in polygons:
        pairs = [pair.split(",") for pair in (one.text or "").split()]
        points = [tuple(map(float, pair)) for pair in pairs]
        if len(points) < 4 or points[0] != points[-1]:
            yield "OASIS 3.2.4: a polygon has four points or more, the last is the first"
        if any(len(number.partition(".")[2]) > 6 for pair in pairs for number in pair):
            yield "GOOGLE: six decimals at most"
        if not all(abs(lat) <= 90 and abs(lon) <= 180 for lat, lon in points):
            yield "OASIS 3.2.4: not on the Earth"
        if len(set(points)) != len(points) - 1:
            yield "GOOGLE: a polygon has a corner twice"
        if crosses(points):
            yield "GOOGLE INVALID_POLYGON_SELF_INTERSECTION"
    for one in circles:
        match = re.fullmatch(r"(-?[\d.]+),(-?[\d.]+) ([\d.]+)", one.text or "")
        if match is None or abs(float(match[1])) > 90 or abs(float(match[2])) > 180:
            yield f"OASIS 3.2.4: {one.text!r} is no circle"
        elif not 0.01 <= float(match[3]) <= 500:
            yield "GOOGLE NONZERO_CIRCLE_RADIUS_RECOMMENDED"


def crosses(points: Sequence[tuple[float, ...]]) -> bool:
    """Whether two sides of a ring that are not neighbours have a point in common, found another way
    than in the code: by where on each side the two lines meet."""
    sides = list(pairwise(points))
    for (i, (a, b)), (j, (c, d)) in combinations(enumerate(sides), 2):
        if j - i in (1, len(sides) - 1):
            continue
        along, across = (b[0] - a[0], b[1] - a[1]), (d[0] - c[0], d[1] - c[1])
        parallel = along[0] * across[1] - along[1] * across[0]
        if abs(parallel) < 1e-15:
            continue
        gap = (c[0] - a[0], c[1] - a[1])
        first = (gap[0] * across[1] - gap[1] * across[0]) / parallel
        second = (gap[0] * along[1] - gap[1] * along[0]) / parallel
        if 0 <= first <= 1 and 0 <= second <= 1:
            return True
    return False
