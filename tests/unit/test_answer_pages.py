"""The answer pages in every state, as a screen reader meets them, and their colours."""

import re
from pathlib import Path

import pytest

from cloud.web import pages
from cloud.web.pagestyle import STYLE
from cloud.web.pagewords import WORDS
from tests.pageparts import Parts, colours, contrast
from tests.phonepages import PHONE, Kind, states

KINDS = [Kind(tongue, sites) for tongue in ("zh", "en") for sites in (1, 40)]


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_page_has_one_head_named_fields_and_nothing_from_afar(kind):
    for name, html in states(kind).items():
        parts = Parts(html)
        (root,) = parts.all("html")
        assert root["lang"] == {"zh": "zh-CN", "en": "en"}[kind.language]
        assert len(parts.all("h1")) == 1, name
        assert len(parts.all("main")) == 1, name
        labels = {one.get("for") for one in parts.all("label")}
        ids = [one["id"] for one in parts.all("input", "textarea")]
        assert set(ids) <= labels, name
        assert len(ids) == len(set(ids)), name
        assert not re.search(r"<script|src=|https?:|@import|url\(|\bon\w+=", html), name
        assert '<a href="tel:02363000000">' in html, name
        (viewport,) = [one for one in parts.all("meta") if one.get("name") == "viewport"]
        assert "scalable" not in viewport["content"], name


@pytest.mark.parametrize("kind", KINDS[:1] + KINDS[2:3], ids=str)
def test_the_order_comes_first_and_stays_after_the_answer(kind):
    order = {"zh": "引导车辆绕行石桥北路", "en": "send traffic by Shiqiao North Road"}[
        kind.language
    ]
    measured = {"zh": "积水约35厘米", "en": "35 cm of water"}[kind.language]
    for name, html in states(kind).items():
        text = Parts(html).text
        if name in ("over", "declined", "cannot after all", "unknown", "unreadable") or (
            name in ("later", "unseen")
        ):
            continue
        assert order in text, name
        assert text.index(order) < text.index(measured), name
        if name.startswith("open"):
            assert '<p class="order">' in html, name
            assert html.index('class="order"') < html.index("<button class"), name


@pytest.mark.parametrize(("kind", "red"), [(Kind("zh", 3), "红色"), (Kind("en", 3), "Red")])
def test_no_colour_is_the_only_sign(kind, red):
    for html in states(kind).values():
        for shown in re.findall(r'class="red">([^<]*)<', html):
            assert red in shown


@pytest.mark.parametrize("dark", [False, True], ids=["day", "night"])
def test_every_colour_can_be_read(dark):
    found = colours(STYLE, dark=dark)
    for name in ("ink", "soft", "good", "red", "orange", "yellow", "blue"):
        assert contrast(found[name], found["paper"]) >= 4.5, name
    assert contrast(found["on-go"], found["go"]) >= 4.5
    for name in ("edge", "go", "blue"):  # edges of fields and buttons, and the mark of the focus
        assert contrast(found[name], found["paper"]) >= 3, name


def test_letters_are_as_large_as_the_reader_wants():
    assert not re.search(r"font(-size)?:[^;}]*\d(px|pt)", STYLE)


def test_both_languages_have_the_same_words():
    assert WORDS["zh"].keys() == WORDS["en"].keys()
    used = set(re.findall(r'words\["([\w-]+)"\]', Path(pages.__file__).read_text()))
    assert used <= WORDS["en"].keys()


@pytest.mark.parametrize(
    ("phone", "dialled"),
    [(PHONE, "02363000000"), ("+86 (0)23 6300-0000", "+862363000000"), ("(023) 63000", "02363000")],
)
def test_a_phone_number_is_one_that_can_be_dialled(phone, dialled):
    assert f'href="tel:{dialled}"' in pages.message("zh", "unknown", phone)
    assert "tel:" not in pages.message("zh", "unknown")


def test_the_head_of_a_list_counts_what_waits_now():
    found = states(Kind("zh", 3))
    assert "<h1>3处预警待应答，其中红色2处</h1>" in found["open"]
    assert "<h1>2处预警待应答，其中红色2处</h1>" in found["some recorded"]
    assert "<h1>3处预警，均已应答</h1>" in found["result"]
    assert "待应答" not in found["result"]
    assert "<h1>3 alerts, all answered</h1>" in states(Kind("en", 3))["result"]
