"""The report of incidents of every kind: what is said of the end, of the rises, and the curve."""

import re
from types import SimpleNamespace
from zoneinfo import ZoneInfo

import pytest

from cloud.alerts import report, reportchart, reportpage, reportwords, review
from cloud.alerts.document import Chart, Document, Table
from tests.pageparts import Parts, colours, contrast
from tests.reportcases import CASES
from wire.reading import Quantity

ZONE = ZoneInfo("Asia/Shanghai")


def built(name: str) -> Document:
    return report.build(CASES[name](), "zh", ZONE)


def overview(document: Document) -> dict[str, str]:
    (table,) = document.sections[0].parts
    assert isinstance(table, Table)
    return {key.text: value.text for key, value in table.rows}


def charts(document: Document) -> list[Chart]:
    return [part for one in document.sections for part in one.parts if isinstance(part, Chart)]


def drawn(name: str) -> str:
    (chart,) = charts(built(name))
    return reportchart.svg(chart, ZONE)


@pytest.mark.parametrize(
    ("name", "ended", "closed"),
    [
        ("two readings", r"2025-06-15 23:23:40 \+0800", r"如无新预警，2025-06-16 00:23:40.*"),
        ("running", "仍在进行", "未结案"),
        ("reopened", "仍在进行", "未结案"),
        ("exercise", "仍在进行", "未结案"),
        ("over and unanswered", r".*（险情已解除，尚无人应答）", "未结案"),
        ("by hand", r"2025-06-15 23:08:40 \+0800", "如无新预警，.*"),
    ],
)
def test_the_end_is_told_once_it_has_come(name, ended, closed):
    said = overview(built(name))
    assert re.fullmatch(ended, said["结束"])
    assert re.fullmatch(closed, said["结案"])
    assert re.fullmatch(r"20.*\+0800", said["制表"])


def test_an_incident_that_is_closed_has_both_times():
    facts = CASES["no reading"]()
    closed = type(facts.incident)(
        **{name: getattr(facts.incident, name) for name in facts.incident.__struct_fields__}
        | {"closed_ms": facts.end_ms + 3_600_000, "due_ms": None}
    )
    said = overview(report.build(facts._replace(incident=closed), "zh", ZONE))
    assert said["结束"] < said["结案"]
    assert "仍在进行" not in said["结束"]
    due_ms = facts.incident.due_ms
    assert due_ms is not None
    late = overview(report.build(facts._replace(now_ms=due_ms), "zh", ZONE))  # no service runs
    assert late["结案"] == "2025-06-16 00:23:40 +0800"


def test_what_was_done_is_in_the_overview():
    assert overview(built("reopened"))["处置结果"].startswith("已转移23人")
    assert overview(built("no reading"))["处置结果"].startswith("已封路")
    assert overview(built("running"))["处置结果"] == "尚未报告"


@pytest.mark.parametrize(
    ("name", "lines", "dots"),
    [
        ("one reading", [], 1),
        ("two readings", [2], 2),
        ("gaps", [51, 110], 0),
        ("all the same", [100], 0),
        ("running", [200], 0),
    ],
)
def test_the_curve_is_there_with_any_number_of_readings(name, lines, dots):
    svg = drawn(name)
    found = [len(points.split()) for points in re.findall('points="([^"]+)"', svg)]
    assert found == lines
    assert svg.count("<circle") == dots


def test_a_wild_value_is_named_and_does_not_flatten_the_curve():
    svg = drawn("wild values")
    assert "▲ 999900 cm" in svg
    assert "▼ -4000 cm" in svg
    assert "图外读数 2 个" in svg
    heights = [
        float(point.split(",")[1])
        for points in re.findall('points="([^"]+)"', svg)
        for point in points.split()
    ]
    assert max(heights) - min(heights) > 150
    assert len({round(height) for height in heights}) > 100
    assert "inf" not in reportpage.html(built("wild values"))


def test_every_rise_and_fall_is_marked_with_a_word():
    (chart,) = charts(built("several rises"))
    assert [turn.word for turn in chart.turns] == [
        *("黄色预警", "升为橙色", "升为红色", "降为橙色", "升为红色")
    ]
    svg = reportchart.svg(chart, ZONE)
    assert svg.count('class="turn"') == 5
    assert len(re.findall(r"<li class=red>[\d: -]+升为红色</li>", svg)) == 2
    words = [word for _, word in chart.marks]
    assert "重新呼叫" in [word for _, word in charts(built("reopened"))[0].marks]
    assert words.count("未应答，升级") > 1
    assert {level for level, _ in chart.lines} == {"yellow", "orange", "red"}
    for level in ("黄色", "橙色", "红色"):  # no threshold without a word
        assert f"{level} 30" in svg


def test_a_river_is_drawn_where_it_flows_and_each_ruler_by_itself():
    *rulers, river = charts(built("several rulers"))
    assert len(rulers) == 3
    assert not river.from_zero
    shown = [float(one) for one in re.findall(r'end">([\d.]+)<', reportchart.svg(river, ZONE))]
    assert min(shown) > 183


@pytest.mark.parametrize(
    ("name", "why"),
    [("by hand", "人工发起"), ("exercise", "演练没有读数"), ("equipment", "没有可用的读数")],
)
def test_why_there_are_no_readings(name, why):
    document = built(name)
    assert not charts(document)
    assert why in reportpage.html(document)


def test_who_raises_an_alert_by_hand_is_no_reading():
    document = built("by hand")
    (delays,) = [one for one in document.sections if one.title == "时延"]
    table = delays.parts[0]
    assert isinstance(table, Table)
    assert [cell.text for cell in table.rows[0]][1:3] == ["-", "-"]


@pytest.mark.parametrize("name", CASES)
def test_every_report_is_in_one_language_and_each_cell_has_its_name(name):
    document = built(name)
    html = reportpage.html(document)
    parts = Parts(html)
    assert all(one.get("role") == "cell" for one in parts.all("td"))
    for table in re.findall(r'<table class="many".*?</table>', html):
        assert "<td" in table
        assert all("data-label=" in cell for cell in re.findall("<td[^>]*>", table))
    (course,) = [one for one in document.sections if one.title == "过程"]
    table = course.parts[0]
    assert isinstance(table, Table)
    for row in table.rows:
        line = " ".join(cell.text for cell in row)
        plain = re.sub(r"\[[a-z-]+\]|[a-z]+(-[a-z0-9]+)+|（\w+）", "", line)
        assert not re.search(r"(?<![A-Za-z])[a-z]{3,}(?![A-Za-z])", plain), line


@pytest.mark.parametrize("dark", [False, True], ids=["day", "night"])
def test_every_colour_can_be_read(dark):
    found = colours(reportpage.STYLE, dark=dark)
    for name in ("ink", "soft", "red", "orange", "yellow", "blue"):
        assert contrast(found[name], found["paper"]) >= 4.5, name
    assert contrast(found["curve"], found["paper"]) >= 3


def test_both_languages_have_the_same_words():
    assert reportwords.WORDS["zh"].keys() == reportwords.WORDS["en"].keys()


@pytest.mark.parametrize("hours", [0, 0.01, 0.5, 5, 20, 40, 24 * 40, 24 * 400])
def test_moments_on_the_axis_are_few_and_apart(hours):
    chart = charts(built("two readings"))[0]
    chart = chart._replace(end_ms=chart.begin_ms + round(hours * 3_600_000))
    svg = reportchart.svg(chart, ZONE)
    placed = re.findall(r'x="([\d.]+)" y="244.0" text-anchor="middle">([^<]+)<', svg)
    assert len(placed) <= 5
    spots = [float(x) for x, _ in placed]
    assert spots == sorted(spots)
    widths = [7 * len(text) for _, text in placed]
    for left, right, width in zip(spots, spots[1:], widths, strict=False):
        assert right - left >= width


def test_a_stage_above_a_datum_is_read_from_the_gauge():
    assert review.measured("stage") is Quantity.LEVEL
    assert review.measured("depth_rise") is Quantity.DEPTH
    assert review.measured("depth") is Quantity.DEPTH
    assert review.measured("silence") is None
    row = SimpleNamespace(quantity="stage", parts='{"gauge_zero_m": 150.25}')
    assert review._shift(row) == 150.25
    assert review._shift(SimpleNamespace(quantity="depth", parts="{}")) == 0
