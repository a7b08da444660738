"""CAP 1.2 documents, checked against the structure in cap-1.2.xsd and, from the outside, against
what the standard demands beside it."""

import re
import string
from datetime import datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import given
from hypothesis import strategies as st

from cloud.alerts import cap
from cloud.alerts.cap import Action, Alert, Area, Circle, Publisher, Reference, Words
from cloud.alerts.hazard import Hazard
from cloud.channels import Measurement
from configs import loader
from configs.loader import ConfigError
from tests.examples import examples
from wire.messages import Level

NOW_MS = 1_700_000_000_000
NS = {"c": cap.NAMESPACE, "a": cap.ATOM}
SCHEMA = xmlschema.XMLSchema(Path(__file__).with_name("cap-1.2.xsd"))

ZH = Words("zh", "城市内涝", "红色预警", "积水 <0.31> m & 上涨 🌊", "大坪下穿道", "封闭道路")
EN = Words(
    "en", "Urban flood", "Red alert", "0.31 m of water", "Daping underpass", "Close the road"
)

words = st.text(max_size=30)
filled = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=30)
identifiers = st.text(string.ascii_letters + string.digits + "._:/@-", min_size=1, max_size=30)
times = st.integers(0, 4_000_000_000_000)
points = st.tuples(st.floats(-90, 90), st.floats(-180, 180))
areas = st.builds(
    Area,
    st.lists(st.lists(points, min_size=3, max_size=6, unique=True).map(tuple), max_size=2).map(
        tuple
    ),
    st.lists(st.builds(Circle, points, st.floats(0, 1e5)), max_size=2).map(tuple),
    st.lists(st.tuples(filled, filled), max_size=2).map(tuple),
)


@st.composite
def alerts(draw):
    action = draw(st.sampled_from(Action))
    sent = draw(times)
    earlier = st.builds(Reference, identifiers, identifiers, times)
    references = draw(st.lists(earlier, min_size=1, max_size=3)) if action != "Alert" else []
    text = st.builds(
        Words, st.sampled_from(["zh", "en"]), filled, words, words, filled, words, words, words
    )
    reading = st.builds(
        Measurement, filled, filled, st.floats(-1e3, 1e3), st.sampled_from(["m", "m/s"]), times
    )
    later = st.none() | st.integers(1, 10**9).map(lambda ms: sent + ms)
    return Alert(
        identifier=draw(identifiers),
        sender=draw(identifiers),
        sent_ms=sent,
        action=action,
        level=draw(st.sampled_from(Level)),
        words=tuple(draw(st.lists(text, min_size=1, max_size=2))),
        area=draw(areas),
        category=draw(st.sampled_from(["Met", "Geo", "Infra"])),
        measured=draw(st.booleans()),
        exercise=draw(st.booleans()),
        references=tuple(references),
        incident=draw(words),
        responses=tuple(draw(st.lists(st.sampled_from(["Avoid", "Evacuate"]), max_size=2))),
        onset_ms=draw(st.none() | times),
        expires_ms=draw(later),
        readings=tuple(draw(st.lists(reading, max_size=2))),
    )


def parsed(alert):
    return ElementTree.fromstring(cap.document(alert))


def said(root, path):
    """The text at a path; it must be there."""
    found = root.findtext(path, None, NS)
    assert found is not None, path
    return found


@examples(40)
@given(alerts())
def test_every_document_is_of_the_standards_structure(alert):
    SCHEMA.validate(cap.document(alert).decode())


@examples(40)
@given(alerts())
def test_every_document_keeps_the_rules_beside_it(alert):
    root = parsed(alert)
    stamp = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d-00:00")
    for tag in ("sent", "effective", "onset", "expires"):
        for found in root.iter(f"{{{cap.NAMESPACE}}}{tag}"):
            assert stamp.fullmatch(found.text)
    sent = datetime.fromisoformat(said(root, "c:sent"))
    assert sent.timestamp() == alert.sent_ms // 1000
    triples = root.findtext("c:references", "", NS).split()
    assert len(triples) == len(alert.references)
    for triple, earlier in zip(triples, alert.references, strict=True):
        sender, identifier, at = triple.split(",")
        assert (sender, identifier) == (earlier.sender, earlier.identifier)
        assert stamp.fullmatch(at)
    for polygon in root.iter(f"{{{cap.NAMESPACE}}}polygon"):
        corners = polygon.text.split(" ")
        assert len(corners) >= 4
        assert corners[0] == corners[-1]
        for corner in corners:
            latitude, longitude = map(float, corner.split(","))
            assert abs(latitude) <= 90
            assert abs(longitude) <= 180
    for circle in root.iter(f"{{{cap.NAMESPACE}}}circle"):
        assert re.fullmatch(r"-?[\d.]+,-?[\d.]+ [\d.]+", circle.text)
    assert (said(root, "c:status") == "Exercise") == alert.exercise
    if alert.exercise:
        assert root.find("c:note", NS) is not None
        for info in root.iterfind("c:info", NS):
            mark = "【演练】" if said(info, "c:language") == "zh-CN" else "[EXERCISE] "
            assert said(info, "c:headline").startswith(mark)
            assert said(info, "c:description").startswith(mark)


def one(**changes: Any) -> Alert:
    fields: dict[str, Any] = {
        "identifier": "shuichi.inc-7.1",
        "sender": "water.example",
        "sent_ms": NOW_MS,
        "action": Action.ALERT,
        "level": Level.RED,
        "words": (ZH, EN),
    }
    return Alert(**fields | changes)


def test_what_is_said_arrives_in_both_languages():
    root = parsed(one(area=Area(geocodes=(("GB/T 2260", "500103"),))))
    languages = [said(info, "c:language") for info in root.iterfind("c:info", NS)]
    assert languages == ["zh-CN", "en-US"]
    chinese, english = root.iterfind("c:info", NS)
    assert said(chinese, "c:description") == ZH.description
    assert said(english, "c:area/c:areaDesc") == "Daping underpass"
    assert said(english, "c:area/c:geocode/c:value") == "500103"
    assert said(english, "c:severity") == "Extreme"
    assert said(english, "c:urgency") == "Immediate"
    assert said(english, "c:certainty") == "Observed"


def test_an_update_replaces_and_a_cancel_ends():
    first = one()
    update = one(
        identifier="shuichi.inc-7.2",
        sent_ms=NOW_MS + 60_999,
        action=Action.UPDATE,
        references=(cap.reference(first),),
    )
    root = parsed(update)
    triple = "water.example,shuichi.inc-7.1,2023-11-14T22:13:20-00:00"
    assert said(root, "c:references") == triple
    assert said(root, "c:sent") == "2023-11-14T22:14:20-00:00"
    both = (cap.reference(first), cap.reference(update))
    root = parsed(one(identifier="3", action=Action.CANCEL, references=both))
    assert said(root, "c:references").count(" ") == 1
    assert said(root, "c:info/c:responseType") == "AllClear"
    assert said(root, "c:info/c:urgency") == "Past"


def test_a_forecast_is_expected_and_likely():
    root = parsed(one(measured=False, level=Level.BLUE))
    assert said(root, "c:info/c:urgency") == "Expected"
    assert said(root, "c:info/c:certainty") == "Likely"
    assert said(root, "c:info/c:severity") == "Minor"


@pytest.mark.parametrize("hazard", cap.EVENTS)
def test_every_hazard_but_that_of_equipment_has_a_name(hazard):
    event = cap.EVENTS[hazard]
    words = tuple(
        Words(language, event.names[language], "h", "d", "a") for language in cap.LANGUAGES
    )
    SCHEMA.validate(cap.document(one(category=event.category, words=words)).decode())
    assert max(map(len, event.names.values())) <= 35  # what Google takes
    assert {*Hazard} - {*cap.EVENTS} == {Hazard.EQUIPMENT}


def test_severities_are_a_setting():
    publisher = loader.parse(
        {"sender": "water.example", "severity": {"orange": "Extreme"}}, Publisher, "t"
    )
    document = cap.document(one(level=Level.ORANGE), publisher.severities)
    assert b"<severity>Extreme</severity>" in document
    assert publisher.severities[Level.BLUE] == "Minor"
    with pytest.raises(ConfigError, match="no space, comma"):
        loader.parse({"sender": "water, example"}, Publisher, "t")


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"identifier": "a b"}, "'a b'"),
        ({"sender": "a,b"}, "'a,b'"),
        ({"sender": ""}, "no space"),
        ({"identifier": "a<b"}, "'a<b'"),
        ({"action": Action.UPDATE}, "references go with"),
        ({"references": (Reference("s", "i", 0),)}, "references go with"),
        ({"action": Action.CANCEL, "references": (Reference("s", "a&b", 0),)}, "'a&b'"),
        ({"words": ()}, "nothing is said"),
        ({"words": (ZH._replace(event=""),)}, "names no event"),
        ({"expires_ms": NOW_MS}, "expired before"),
        ({"area": Area(polygons=(((29.5, 106.5), (29.6, 106.5)),))}, "three corners"),
        ({"area": Area(polygons=((),))}, "three corners"),
        ({"area": Area(circles=(Circle((91.0, 0.0), 5.0),))}, "no latitude"),
        ({"area": Area(circles=(Circle((29.0, 106.0), -5.0),))}, "no radius"),
    ],
)
def test_what_the_standard_forbids_is_refused(changes, text):
    with pytest.raises(ValueError, match=re.escape(text)):
        cap.document(one(**changes))


def test_the_schema_of_this_test_can_say_no():
    good = cap.document(one()).decode()
    for wrong in (
        good.replace("-00:00", "Z"),
        good.replace("<status>Actual", "<status>Real"),
        good.replace("<scope>Public</scope>", ""),
        good.replace("zh-CN", "Chinese language"),
        re.sub(r"(<urgency>.*</urgency>)(\s*)(<severity>.*</severity>)", r"\3\2\1", good),
    ):
        assert wrong != good
        with pytest.raises(xmlschema.XMLSchemaValidationError):
            SCHEMA.validate(wrong)


def test_the_feed_has_each_document_whole_newest_first():
    old = one(identifier="old")
    new = one(identifier="new", sent_ms=NOW_MS + 5000, exercise=True)
    documents = [cap.document(old), cap.document(new)]
    url = "https://alerts.example/cap"
    feed = ElementTree.fromstring(
        cap.feed(documents, url=url, title="大坪 & more", updated_ms=NOW_MS)
    )
    assert feed.tag == f"{{{cap.ATOM}}}feed"
    assert said(feed, "a:updated") == "2023-11-14T22:13:20Z"
    entries = feed.findall("a:entry", NS)
    assert [said(entry, "a:id") for entry in entries] == [
        f"{url}/new",
        f"{url}/old",
    ]
    assert entries[0].findtext("a:title", namespaces=NS) == "【演练】红色预警"
    assert entries[1].findtext("a:updated", namespaces=NS) == "2023-11-14T22:13:20Z"
    for entry, alert in zip(entries, (new, old), strict=True):
        link, embedded = entry.find("a:link", NS), entry.find("a:content/c:alert", NS)
        assert link is not None
        assert embedded is not None
        assert link.attrib["href"] == f"{url}/{alert.identifier}"
        SCHEMA.validate(ElementTree.tostring(embedded).decode())
        assert said(embedded, "c:identifier") == alert.identifier
        assert said(embedded, "c:info/c:description").endswith(ZH.description)


def test_an_empty_feed_is_a_feed():
    feed = ElementTree.fromstring(
        cap.feed([], url="https://a.example/cap", title="t", updated_ms=NOW_MS)
    )
    assert feed.find("a:entry", NS) is None
    for tag in ("id", "title", "updated"):
        assert feed.findtext(f"a:{tag}", namespaces=NS)
