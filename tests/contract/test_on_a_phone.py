"""What people look at on a phone, in a real browser of 390 px: by night, in letters of any size."""

from collections.abc import Iterator
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloud.alerts import report, reportpage, statsreport
from cloud.alerts.statistics import Figures, Month
from cloud.channels import Language
from tests import browser, phonepages, reportcases
from tests.browser import Browser, Screen
from tests.phonepages import Kind

ZONE = ZoneInfo("Asia/Shanghai")
DAY = Screen()
NIGHT = Screen(dark=True)
LARGE = Screen(font=32)
"""Letters at 200 %."""

NOBODY = Figures("all", 0, 0, 0, 0, None, None, 0)

LEAST_TARGET = 44
LEAST_CONTRAST = 4.5

LOOK = """(() => {
  const box = one => one.getBoundingClientRect();
  const shown = one => { const b = box(one); return b.width > 0 && b.height > 0; };
  const colour = text => {
    const parts = text.match(/[\\d.]+/g).map(Number);
    return parts.length > 3 && parts[3] === 0 ? null : parts.slice(0, 3);
  };
  const light = rgb => {
    const [r, g, b] = rgb.map(v => v / 255)
      .map(v => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
    return .2126 * r + .7152 * g + .0722 * b;
  };
  const behind = one => {
    for (; one; one = one.parentElement) {
      const found = colour(getComputedStyle(one).backgroundColor);
      if (found) return found;
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
  };
  const all = [...document.body.querySelectorAll('*')].filter(shown);
  const written = all.filter(one => [...one.childNodes].some(
    node => node.nodeType === 3 && node.data.trim()));
  const name = one => one.tagName + '.' + one.className + ' ' + one.textContent.slice(0, 30);
  const faint = written.map(one => {
    const style = getComputedStyle(one);
    const ink = style.fill !== 'rgb(0, 0, 0)' && one.namespaceURI.endsWith('svg')
      ? style.fill : style.color;
    const [a, b] = [light(colour(ink)), light(behind(one))];
    return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), name(one)];
  }).filter(one => one[0] < LEAST);
  const targets = [...document.querySelectorAll('a[href], button, input, textarea')].filter(shown)
    .map(one => one.type === 'checkbox' ? one.closest('label') : one);
  const small = targets.filter(one => box(one).height < TARGET || box(one).width < TARGET);
  const fields = [...document.querySelectorAll('input, textarea')];
  const accept = [...document.querySelectorAll('.accept')].find(shown);
  const order = document.querySelector('.order, .item, h2, h1');
  const wide = all.filter(one => box(one).right > innerWidth + 1 || box(one).left < -1);
  return {
    width: document.documentElement.scrollWidth,
    wide: wide.map(name),
    cut: all.filter(one => one.scrollWidth > one.clientWidth + 1 && one.clientWidth > 0
      && getComputedStyle(one).display !== 'inline').map(name),
    small: small.map(name),
    faint: faint,
    unnamed: fields.filter(one => one.labels.length === 0).map(name),
    accept: accept && box(accept).bottom,
    covered: accept && box(accept).top < box(order).top + 20 && box(accept).bottom > box(order).top,
    letters: Math.min(...written.map(one => parseFloat(getComputedStyle(one).fontSize))),
    heads: document.querySelectorAll('h1').length,
    paper: colour(getComputedStyle(document.body).backgroundColor),
  };
})()""".replace("LEAST", str(LEAST_CONTRAST)).replace("TARGET", str(LEAST_TARGET))


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browser.opened(tmp_path_factory.mktemp("browser")) as opened:
        yield opened


def look(phone: Browser, html: str, screen: Screen) -> dict[str, Any]:
    phone.show(html, screen)
    found = phone.value(LOOK)
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("kind", "screen"),
    [
        (Kind(), NIGHT),
        (Kind("en", 1, True), LARGE),
        (Kind("zh", 3, True), LARGE),
        (Kind("en"), DAY),
    ],
    ids=str,
)
def test_every_answer_page_can_be_read_and_pressed(phone: Browser, kind: Kind, screen: Screen):
    for name, html in phonepages.states(kind).items():
        judge(look(phone, html, screen), screen, name)


def test_the_list_of_forty_sites_can_be_read_and_pressed(phone: Browser):
    states = phonepages.states(Kind("en", 40))
    for name in ("open", "nothing ticked", "result"):
        judge(look(phone, states[name], NIGHT), NIGHT, name)


def judge(seen: dict[str, Any], screen: Screen, name: str) -> None:
    for fault in ("wide", "cut", "small", "faint", "unnamed"):
        assert not seen[fault], (name, fault, seen[fault])
    assert seen["width"] <= 390, name
    assert seen["heads"] == 1, name
    assert seen["letters"] >= screen.font, name
    assert (sum(seen["paper"]) < 150) is screen.dark, name
    if "accept" in seen:  # a page that has something to press
        assert seen["accept"] <= screen.height, name
        assert not seen["covered"], name


def test_an_open_call_fits_on_one_screen(phone: Browser):
    """Order, both buttons, and the whole form of a result."""
    states = phonepages.states(Kind())
    phone.show(states["open"], NIGHT)
    assert phone.value("document.querySelector('[value=no]').getBoundingClientRect().bottom") < 844
    phone.show(states["result again"], NIGHT)
    last = "document.querySelector('[value=cannot-act]').getBoundingClientRect().bottom"
    assert phone.value(last) < 844


def test_the_buttons_of_a_long_list_stay_in_sight_and_hide_no_tick(phone: Browser):
    phone.show(phonepages.states(Kind(sites=40))["open"], NIGHT)
    focused = """(() => { const seen = [];
      for (const one of document.querySelectorAll('input[type=checkbox]')) {
        one.focus();
        const box = one.getBoundingClientRect();
        const bar = document.querySelector('.bar').getBoundingClientRect();
        seen.push(bar.bottom <= innerHeight + 1 && box.bottom <= bar.top && box.top >= 0);
      }
      return seen; })()"""
    seen = phone.value(focused)
    assert len(seen) == 40
    assert all(seen)


@pytest.mark.parametrize(("tongue", "screen"), [("zh", DAY), ("en", NIGHT)], ids=str)
def test_the_report_of_every_incident_can_be_read(phone: Browser, tongue: Language, screen: Screen):
    names = reportcases.CASES if tongue == "zh" else ("several rulers", "reopened", "exercise")
    for name in names:
        html = reportpage.html(report.build(reportcases.CASES[name](), tongue, ZONE))
        judge(look(phone, html, screen), screen._replace(font=11), name)


@pytest.mark.parametrize(("tongue", "screen"), [("zh", NIGHT), ("en", LARGE)], ids=str)
def test_the_month_can_be_read_and_printed(phone: Browser, tongue: Language, screen: Screen):
    one = Figures("欧阳阿依古丽·买买提江·阿卜杜热合曼", 40, 12, 1, 20, 71.0, 640.0, 4711)
    one = one._replace(contact="x", left=True, answers=12, worst_answer_s=4000.0)
    tier = one._replace(name="village", contact="", left=False, results=3, worst_result_s=9000.0)
    month = Month("2026-11", 40, 20, 3, 4711, tier._replace(name="all"), [tier] * 3, [one] * 20)
    for found in (month, Month("2026-12", 0, 0, 0, 0, NOBODY, [], [])):
        html = reportpage.html(statsreport.build(found, tongue, ZONE))
        judge(look(phone, html, screen), screen._replace(font=11), found.month)
        on_paper = Screen(width=680, height=960, printed=True)
        seen = look(phone, html, on_paper)
        assert (seen["width"], seen["cut"]) == (680, [])


def test_the_report_can_be_read_in_large_letters_and_printed(phone: Browser):
    html = reportpage.html(report.build(reportcases.several_rulers(), "zh", ZONE))
    judge(look(phone, html, LARGE), LARGE._replace(font=11), "large letters")
    on_paper = Screen(width=680, height=960, dark=True, printed=True)
    seen = look(phone, html, on_paper)
    assert seen["paper"] == [255, 255, 255]
    assert seen["width"] <= 680
    assert not seen["cut"]
    assert not seen["faint"]
    assert phone.pdf().startswith(b"%PDF")
