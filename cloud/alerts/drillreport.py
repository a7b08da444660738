"""The score of an exercise as sections of a report, in both languages. Pure."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cloud.alerts.document import Cell, Document, Section, Table
from cloud.alerts.drillscore import Check, Person, Score, Site, TierScore
from cloud.alerts.wording import HAZARD, LEVEL, TIER
from cloud.channels import Language, marked
from wire.messages import Level

_WORDS: Final[dict[Language, dict[str, str]]] = {
    "zh": {
        "score": "演练评分",
        "expected": "预期与结果",
        "sites": "各站点",
        "tiers": "各级应答",
        "people": "各人应答",
        "site": "站点",
        "level": "等级",
        "highest": "最高升级到",
        "answered after": "应答用时",
        "result after": "结果用时",
        "tier": "层级",
        "called": "被呼叫",
        "answered": "已应答",
        "declined": "无法处置",
        "unreached": "未送达",
        "not answered": "未应答",
        "who": "姓名",
        "outcome": "情况",
        "called after": "呼叫用时",
        "what": "预期",
        "limit": "要求",
        "measured": "实际",
        "met": "是否达到",
        "points": "得分",
        "began": "开始",
        "ended": "结束",
        "runs": "进行中",
        "by": "组织人",
        "min": "分钟",
        "rule": (
            "每项预期按站点计分：达到得全部分值，未达到不得分；因停止或真实预警而无法判断的不计入。"
        ),
        "yes": "达到",
        "no": "未达到",
        "not judged": "不计",
        "nobody": "无人",
        "passed": "通过",
        "not passed": "未通过",
        "left": "退出演练",
        "result": "结果",
        "not needed": "他人已应答或已结束",
        "waiting": "等待中",
        "answer": "应答",
        "highest tier": "最高层级",
        "all is done": "全部完成",
        "its time is up": "时间到",
        "it was stopped": "被中止",
        "the service was away": "服务中断",
        "a real alert": "真实预警",
        "it was ended by hand": "被手动结束",
        "the plan has no such site any more": "预案中已无此站点",
    },
    "en": {
        "score": "Score of the exercise",
        "expected": "What was expected",
        "sites": "Sites",
        "tiers": "Tiers",
        "people": "People",
        "site": "Site",
        "level": "Level",
        "highest": "Climbed to",
        "answered after": "Answered after",
        "result after": "Result after",
        "tier": "Tier",
        "called": "Called",
        "answered": "answered",
        "declined": "declined",
        "unreached": "unreached",
        "not answered": "not answered",
        "who": "Who",
        "outcome": "Outcome",
        "called after": "Called after",
        "what": "Expected",
        "limit": "Limit",
        "measured": "Measured",
        "met": "Met",
        "points": "Points",
        "began": "Began",
        "ended": "Ended",
        "runs": "still runs",
        "by": "Led by",
        "rule": (
            "Each expectation counts at each site: met, all of its points; not met, none. What "
            "could not be seen, as it was stopped or a real alert came, counts neither way."
        ),
        "yes": "yes",
        "no": "no",
        "not judged": "not judged",
        "nobody": "nobody",
        "passed": "passed",
        "not passed": "not passed",
        "left": "Took no further part",
        "result": "result",
        "not needed": "not needed",
        "waiting": "waiting",
        "answer": "answer",
        "highest tier": "highest tier",
    },
}


_REPORTED: Final[dict[Language, str]] = {"zh": "已报告结果", "en": "reported a result"}
_LEVELS: Final = {level.name.lower(): level for level in Level}


def build(score: Score, language: Language, zone: ZoneInfo) -> Document:
    """The document of a whole exercise."""
    title = marked(score.title, language)
    return Document(language, title, tuple(sections(score, language, zone)), zone)


def sections(
    score: Score, language: Language, zone: ZoneInfo, site: str | None = None
) -> Iterator[Section]:
    """Those of the whole exercise, or of one of its sites."""
    writer = _Writer(score, language, zone, site)
    word = writer.word
    yield Section(word("score"), (writer.overview(), word("rule")))
    yield Section(word("expected"), (writer.checks(),))
    yield Section(word("sites"), (writer.sites(),))
    if site is None:
        yield Section(word("tiers"), (writer.tiers(),))
    yield Section(word("people"), (writer.people(),))


class _Writer:
    def __init__(self, score: Score, language: Language, zone: ZoneInfo, site: str | None) -> None:
        self._score = score
        self._language: Language = language
        self._zone = zone
        self._site = site

    def word(self, key: str) -> str:
        """A word of ours; what is none stays as it is."""
        return _WORDS[self._language].get(key, key)

    def overview(self) -> Table:
        score = self._score
        passed = self.word("passed" if score.passed else "not passed")
        by = f" ({score.stopped_by})" if score.stopped_by else ""
        ended = self.word("runs")
        if score.ended_ms is not None:
            ended = f"{self._moment(score.ended_ms)}, {self.word(score.end)}{by}"
        rows = [
            ("", f"{score.title} ({score.id})"),
            (self.word("points"), f"{score.points} / {score.most}, {passed}"),
            (self.word("began"), self._moment(score.began_ms)),
            (self.word("ended"), ended),
            (self.word("by"), score.by),
            *((self.word("left"), self._left(site, why)) for site, why in score.left.items()),
        ]
        return Table(("", ""), tuple((Cell(name), Cell(text)) for name, text in rows))

    def _left(self, site: str, why: str) -> str:
        kind, colon, alert = why.partition(": ")
        return f"{site}: {self.word(kind)}{colon}{alert}"

    def checks(self) -> Table:
        head = ("what", "site", "limit", "measured", "met", "points")
        return self._table(head, [self._check(one) for one in self._score.checks if self._is(one)])

    def sites(self) -> Table:
        head = ("site", "level", "highest", "answered after", "result after")
        return self._table(head, [self._of(one) for one in self._score.sites if self._is(one)])

    def people(self) -> Table:
        head = ("who", "tier", "site", "outcome", "called after", "answered after", "result after")
        return self._table(head, [self._person(one) for one in self._score.people if self._is(one)])

    def tiers(self) -> Table:
        head = ("tier", "called", "answered", "declined", "unreached", "not answered")
        rows = [self._tier_row(one) for one in self._score.tiers]
        return self._table((*head, "answered after"), rows)

    def _is(self, one: Check | Site | Person) -> bool:
        return self._site in (None, one.site)

    def _check(self, one: Check) -> list[str]:
        is_tier = one.what == "highest tier"
        measured = self._tier(one.measured) if one.measured else self._span(one.measured_s)
        return [
            self.word(one.what),
            self._place(one.site, one.hazard),
            self._tier(one.limit) if is_tier else one.limit.replace("min", self.word("min")),
            measured,
            self.word({True: "yes", False: "no", None: "not judged"}[one.met]),
            "-" if one.met is None else f"{one.points if one.met else 0} / {one.points}",
        ]

    def _of(self, one: Site) -> list[str]:
        waits = [
            self.word("nobody")
            if span.answered_ms is None
            else self._span((span.answered_ms - span.begin_ms) / 1000)
            for span in one.spans
        ]
        place = self._place(one.site, one.hazard)
        highest = self._tier(one.highest_tier)
        level = LEVEL[self._language][_LEVELS[one.level]] if one.level in _LEVELS else one.level
        return [place, level, highest, ", ".join(waits), self._span(one.to_result_s)]

    def _person(self, one: Person) -> list[str]:
        times = map(self._span, (one.to_call_s, one.to_answer_s, one.to_result_s))
        place = self._place(one.site, one.hazard)
        outcome = _REPORTED[self._language] if one.outcome == "result" else self.word(one.outcome)
        return [one.name, self._tier(one.tier), place, outcome, *times]

    def _tier_row(self, one: TierScore) -> list[str]:
        counts = one.called, one.answered, one.declined, one.unreached, one.not_answered
        return [self._tier(one.tier), *map(str, counts), self._span(one.to_answer_s)]

    def _place(self, site: str, hazard: str) -> str:
        name = next((one.name for one in self._score.sites if one.site == site), site)
        words = {str(one): said for one, said in HAZARD[self._language].items()}
        return f"{name} ({words[hazard]})"

    def _tier(self, tier: str) -> str:
        return {str(one): said for one, said in TIER[self._language].items()}.get(tier, tier)

    def _table(self, head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
        cells = tuple(tuple(Cell(text) for text in row) for row in rows)
        return Table(tuple(map(self.word, head)), cells)

    def _moment(self, at_ms: int) -> str:
        moment = datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self._zone)
        return f"{moment:%Y-%m-%d %H:%M:%S}"

    def _span(self, seconds: float | None) -> str:
        if seconds is None:
            return "-"
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes}:{rest:02}"
