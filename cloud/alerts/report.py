"""The review of an incident: from the facts to a document. Pure.

A document has sections of tables and charts; `reportpage` writes it as Markdown or HTML. All delays
are worked out here, from times on record: the reading's own, those of the decisions, and those at
which a channel's provider had taken a message.
"""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cloud.alerts import reportwords, review
from cloud.alerts.delays import answerer, calls, delivered
from cloud.alerts.document import Cell, Chart, Document, Section, Table, Turn
from cloud.alerts.figures import FIGURES
from cloud.alerts.hazard import Hazard
from cloud.alerts.press import PUBLIC
from cloud.alerts.review import Change, Facts, Series, Told, measured
from cloud.alerts.views import Line
from cloud.alerts.wording import HAZARD, named
from cloud.channels import Language, marked
from wire.reading import UNITS, Quantity

COURSE_LINES: Final = 400
"""Of the course of events: more than that nobody reads on paper."""

_MARKS: Final = ("opened", "climbed", "answered", "reopen", "result", "cleared")
"""Of the timeline, what a chart shows."""

_AFAR: Final = (Quantity.LEVEL, Quantity.VOLTAGE, Quantity.TEMPERATURE, Quantity.FREQUENCY)
"""Quantities of which 0 says nothing."""

_SAID: Final = ("answer", "declined", "acting", "result", "note", "raised by hand", "resolved")
"""Lines whose text is what people have said."""

_RANK: Final = ("blue", "yellow", "orange", "red")


def build(
    facts: Facts, language: Language, zone: ZoneInfo, more: Sequence[Section] = ()
) -> Document:
    """The document of an incident; `more` sections stand behind the first."""
    writer = _Writer(facts, language, zone)
    title = writer.word("title", site=writer.site())
    if facts.incident.exercise:
        title = marked(title, language)
    first, *others = writer.sections()
    return Document(language, title, (first, *more, *others), zone)


class _Writer:
    def __init__(self, facts: Facts, language: Language, zone: ZoneInfo) -> None:
        self.facts = facts
        self.language: Language = language
        self.zone = zone
        self._words = reportwords.WORDS[language]
        days = {self._local(at_ms).date() for at_ms in (facts.begin_ms, facts.end_ms)}
        self._form = "%H:%M:%S" if len(days) == 1 else "%m-%d %H:%M:%S"

    def sections(self) -> Iterator[Section]:
        word = self.word
        yield Section(word("overview"), (self._overview(),))
        yield Section(word("delays"), (self._delays(),))
        yield Section(word("tiers"), (self._tiers(),))
        yield Section(word("said"), (self._or_none(self._said()),))
        yield Section(word("silent"), (self._or_none(self._silent()),))
        yield Section(word("failures"), (self._or_none(self._failures()),))
        if self.facts.series:
            charts = (self._chart(one) for one in self.facts.series)
            yield Section(word("readings"), (self._readings(), *charts))
        else:
            yield Section(word("readings"), (self._no_readings(),))
        yield Section(word("course"), tuple(self._course()))

    # Sections

    def _overview(self) -> Table:
        incident, told = self.facts.incident, self.facts.told
        outcomes = Counter(one.outcome for one in told)
        worst = self._worst([line.detail.get("level") for line in self.facts.lines])
        rows = {
            "incident": Cell(incident.id),
            "site": Cell(f"{self.site()} ({incident.site})"),
            "opened": Cell(self._date(incident.opened_ms)),
            "ended": Cell(self._ended()),
            "closed": Cell(self._closed()),
            "worst": Cell(self.word(worst) if worst else "-", worst),
            "alerts": Cell(
                self.word("comma").join(f"{self._alert(one)} ({one})" for one in incident.alerts)
            ),
            "outcome": Cell(self._outcome()),
            "messages": Cell(
                self.word(
                    "messages counted",
                    made=len(told),
                    delivered=outcomes["delivered"],
                    withdrawn=outcomes["withdrawn"],
                    refused=outcomes["refused"],
                    waiting=outcomes[""],
                )
            ),
        }
        if self.facts.now_ms:
            rows["made"] = Cell(self._date(self.facts.now_ms))
        return Table(("", ""), tuple((Cell(self.word(key)), cell) for key, cell in rows.items()))

    def _ended(self) -> str:
        """When the danger ended; the incident waits for more for a while."""
        if any(review.standing(self.facts.lines).values()):
            return self.word("still open")
        ends = [line.at_ms for line in self.facts.lines if line.kind in ("return", "cleared")]
        if not ends:
            closed_ms = self.facts.incident.closed_ms
            return self.word("still open") if closed_ms is None else self._date(closed_ms)
        ended = self._date(max(ends))
        if review.unanswered(self.facts.lines):
            return self.word("ended unanswered", at=ended)
        return ended

    def _closed(self) -> str:
        incident = self.facts.incident
        if incident.closed_ms is not None:
            return self._date(incident.closed_ms)
        if incident.due_ms is not None:
            at = self._date(incident.due_ms)
            # What is due is over, though no service runs that could write it down.
            return at if incident.due_ms <= self.facts.now_ms else self.word("closes", at=at)
        return self.word("not closed")

    def _outcome(self) -> str:
        """What was reported last of each alert."""
        newest = {line.alert: line for line in self.facts.lines if line.kind == "result"}
        said = (
            f"{self._result(line)} ({self._who(line.who)}, {self._clock(line.at_ms)})"
            for line in newest.values()
        )
        return self.word("comma").join(said) or self.word("no result")

    def _result(self, line: Line) -> str:
        """What somebody says was done, or that they are at it."""
        if line.kind == "acting":
            return self.word("result acting")
        result = str(line.detail.get("result", "done")).replace(" ", "-")
        people = line.detail.get("people")
        if result == "evacuated" and isinstance(people, int):
            return self.word("result people", people=people)
        return self._words.get(f"result {result}", result)

    def _no_readings(self) -> str:
        lines = self.facts.lines
        if self.facts.incident.exercise:
            return self.word("no readings exercise")
        if any(line.kind == "raised by hand" for line in lines):
            return self.word("no readings hand")
        return self.word("no readings")

    def _delays(self) -> Table:
        rows = []
        for alert in self.facts.incident.alerts:
            own = [line for line in self.facts.lines if line.alert == alert]
            opened_ms = next((line.at_ms for line in own if line.kind == "opened"), None)
            answered = next((line for line in own if line.kind == "answered"), None)
            over_ms = self._first_over(alert)
            start_ms = None if opened_ms is None else delivered(self.facts.told, 0, alert)
            rows.append(
                (
                    Cell(self._alert(alert)),
                    Cell(self._clock(over_ms)),
                    Cell(self._span(over_ms, opened_ms)),
                    Cell(self._span(opened_ms, start_ms)),
                    Cell(self._span(opened_ms, answered.at_ms if answered else None)),
                    Cell(
                        self._who(answerer(own, answered)[1]) if answered else self.word("nobody")
                    ),
                )
            )
        head = ("alert", "reading over", "to alert", "to delivery", "to answer", "answered by")
        return self._table(head, rows)

    def _first_over(self, alert: str) -> int | None:
        """The time of the reading that began an alert: it is in the alert's id."""
        # An exercise has no reading, and says so at the end of its id.
        last = alert.rpartition(".")[2]
        at_ms = int(last) if last.isdigit() else None
        by_hand = any(
            line.kind == "raised by hand" and line.alert == alert and line.at_ms == at_ms
            for line in self.facts.lines
        )
        return None if by_hand else at_ms

    def _tiers(self) -> Table:
        rows = []
        for one in calls(self.facts.lines, self.facts.told):
            to = self._area(one.to) if one.how == "climbed" else self._who(one.to)
            how = self.word(
                f"ended {one.how}", after=self._span(one.called_ms, one.ended_ms), area=to, who=to
            )
            rows.append(
                (
                    Cell(self._area(one.area)),
                    Cell(self._clock(one.called_ms)),
                    Cell(self._span(one.called_ms, one.delivered_ms)),
                    Cell(how),
                )
            )
        return self._table(("area", "called", "delivered", "how it ended"), rows)

    def _said(self) -> Table:
        rows = []
        for line in self.facts.lines:
            match line.kind:
                case "answer":
                    counted = line.detail.get("refused") or self.word("yes")
                case "declined":
                    counted = self.word("declined")
                case "acting" | "result":
                    counted = self._result(line)
                case _:
                    continue
            rows.append(
                (
                    Cell(self._clock(line.at_ms)),
                    Cell(self._who(line.who)),
                    Cell(self._phrase(str(line.detail.get("how", "")))),
                    Cell(line.text),
                    Cell(self._phrase(str(counted))),
                )
            )
        return self._table(("time", "who", "how", "words", "counted"), rows)

    def _silent(self) -> Table:
        spoke = {line.detail.get("contact") for line in self.facts.lines} | {
            line.who for line in self.facts.lines
        }
        asked: dict[str, list[Told]] = {}
        for one in self.facts.told:
            if one.call is not None and one.outcome != "withdrawn":
                asked.setdefault(one.contact, []).append(one)
        rows = []
        for contact, some in asked.items():
            if contact in spoke or any(one.answered_ms is not None for one in some):
                continue
            area = next(iter(some[0].areas.values()), "")
            rows.append(
                (
                    Cell(self._who(contact)),
                    Cell(self._area(area)),
                    Cell(str(len({one.call for one in some}))),
                    Cell(", ".join(dict.fromkeys(one.channel for one in some))),
                )
            )
        return self._table(("who", "area", "times called", "channels"), rows)

    def _failures(self) -> Table:
        rows = []
        for one in self.facts.told:
            if one.outcome == "refused":
                why = one.detail
            elif one.outcome == "":
                due = one.not_before_ms <= self.facts.end_ms
                why = self.word("waiting") if due else self.word("not yet due")
            else:
                continue
            rows.append(
                (
                    Cell(self._clock(one.made_ms)),
                    Cell(self._who(one.contact)),
                    Cell(one.channel),
                    Cell(one.message.title),
                    Cell(why),
                )
            )
        return self._table(("time", "who", "channel", "what", "why"), rows)

    def _readings(self) -> Table:
        rows = []
        for one in self.facts.series:
            points = [point for point in one.points if math.isfinite(point[1])]
            if not points:
                continue
            low, high = min(points, key=_value), max(points, key=_value)
            picked = (points[0], low, high, points[-1])
            rows.append(
                (
                    Cell(f"{one.sensor}, {self._quantity(one.quantity)}"),
                    Cell(str(one.total)),
                    *(Cell(f"{_shown(one, v)} ({self._clock(at)})") for at, v in picked),
                )
            )
        head = ("sensor", "readings counted", "first", "lowest", "highest", "last")
        return self._table(head, rows)

    def _chart(self, series: Series) -> Chart:
        facts = self.facts
        scale, unit = _scale(series.quantity)
        limits: dict[str, float] = {}
        before: dict[str, str] = {}
        for one in facts.changes:
            # On its way down a level has another threshold, at which it is let go.
            rises = _rank(one.level) > _rank(before.get(one.rule))
            before[one.rule] = one.level or ""
            # What a rule has made of several readings has no place among them.
            is_one = one.quantity == "stage" or measured(one.quantity) == one.quantity
            is_ours = (one.sensor, measured(one.quantity), one.unit, one.shift) == (
                *(series.sensor, series.quantity, UNITS[series.quantity], series.shift),
            )
            if rises and is_one and is_ours and one.threshold is not None and one.level is not None:
                limits[one.level] = one.threshold * scale
        marks = [
            (line.at_ms, reportwords.kind(line.kind, self.language))
            for line in facts.lines
            if line.kind in _MARKS
        ]
        return Chart(
            self.word(
                "chart", sensor=series.sensor, quantity=self._quantity(series.quantity), unit=unit
            ),
            unit,
            tuple((at_ms, value * scale) for at_ms, value in series.points),
            tuple(limits.items()),
            tuple(marks),
            facts.begin_ms,
            facts.end_ms,
            tuple(self._turns()),
            {one: self._words[one] for one in (*_RANK, "outside")},
            series.quantity not in _AFAR,
        )

    def _turns(self) -> Iterator[Turn]:
        """When an alert rose or fell after it had begun, and to which level."""
        begun = set[str]()
        for line in self.facts.lines:
            level = str(line.detail.get("level") or "")
            if line.kind == "rise" and line.alert not in begun:
                begun.add(line.alert)
                # Which level it began with belongs to the first of the calls.
                if level:
                    yield Turn(line.at_ms, level, self.word("began", level=self.word(level)))
            elif line.kind in ("rise", "fall") and level:
                key = "rose" if line.kind == "rise" else "fell"
                yield Turn(line.at_ms, level, self.word(key, level=self.word(level)))
            elif line.kind == "return":
                begun.discard(line.alert)

    def _course(self) -> Iterator[Table | str]:
        rows: list[tuple[int, int, tuple[Cell, ...]]] = []
        for change in self.facts.changes:
            rows.append((change.at_ms, 0, self._found(change)))
        for seen in self.facts.seen:
            rows.append(
                (seen.at_ms, 1, (Cell(self.word("kind lamp")), Cell(seen.text[self.language])))
            )
        for line in self.facts.lines:
            level = line.detail.get("level") or ""
            what = Cell(reportwords.kind(line.kind, self.language), level)
            result = self._result(line) if line.kind == "result" else ""
            told = " ".join(
                filter(
                    None,
                    (
                        *(self._area(line.area), self._who(line.who), result),
                        self._named(line),
                    ),
                )
            )
            rows.append((line.at_ms, 2, (what, Cell(told or self.word(level) if level else told))))
        for one in self.facts.told:
            rows.append((one.made_ms, 3, self._message(one)))
        rows.sort(key=lambda row: row[:2])
        shown = [(Cell(self._clock(at_ms)), *cells) for at_ms, _, cells in rows[:COURSE_LINES]]
        yield self._table(("time", "what", "detail"), shown)
        if left := len(rows) - len(shown):
            yield self.word("left out", count=left, incident=self.facts.incident.id)

    def _found(self, change: Change) -> tuple[Cell, ...]:
        level = change.level or ""
        found = self.word(level) if level else self.word("normal")
        colon = self.word("colon")
        what = Cell(f"{self.word('kind rule')}{colon}{found}", level)
        device = change.sensor or change.gateway
        where = f"{device}{colon}" if device else ""
        return (what, Cell(f"{where}{change.text[self.language]} [{change.rule}]"))

    def _message(self, one: Told) -> tuple[Cell, ...]:
        text = self.word(
            "to", who=self._who(one.contact), channel=one.channel, title=one.message.title
        )
        outcome = {"delivered": "sent", "": "waiting"}.get(one.outcome, one.outcome)
        state = self.word(outcome)
        if one.done_ms is not None:
            state += f" +{self._span(one.made_ms, one.done_ms)}"
        number = f" #{one.provider_id}" if one.provider_id else ""
        return (
            Cell(self.word("kind message"), one.message.level or ""),
            Cell(f"{text} — {state}{number}"),
        )

    # Words

    def word(self, key: str, **values: object) -> str:
        return self._words[key].format_map(values)

    def site(self) -> str:
        plan, name = self.facts.plan, self.facts.incident.site
        found = plan.site.get(name) if plan else None
        return named(found.name, found.name_en, self.language) if found else name

    def _alert(self, name: str) -> str:
        """The hazard that an alert is about: it is in the alert's id."""
        found = next((hazard for hazard in Hazard if f".{hazard}." in name), None)
        return HAZARD[self.language][found] if found else name

    def _area(self, name: str) -> str:
        plan = self.facts.plan
        found = plan.area.get(name) if plan else None
        return named(found.name, found.name_en, self.language) if found else name

    def _who(self, name: str) -> str:
        if name == PUBLIC:
            return self.word("public")
        plan = self.facts.plan
        found = plan.contact.get(name) if plan else None
        return named(found.name, found.name_en, self.language) if found else name

    def _named(self, line: Line) -> str:
        """The text of a line, with the name of a contact that it begins with. What people have said
        stays as they said it."""
        if line.kind in _SAID:
            return line.text
        text = self._phrase(line.text)
        found = re.match(r"[A-Za-z0-9_-]+", text)
        return text if found is None else self._who(found[0]) + text[found.end() :]

    def _phrase(self, text: str) -> str:
        return reportwords.phrase(text, self.language)

    def _quantity(self, quantity: Quantity) -> str:
        found = FIGURES[quantity]
        return found.zh if self.language == "zh" else found.en

    def _worst(self, levels: Sequence[object]) -> str:
        return next((one for one in reversed(_RANK) if one in levels), "")

    def _table(self, head: Sequence[str], rows: Sequence[tuple[Cell, ...]]) -> Table:
        return Table(tuple(map(self.word, head)), tuple(rows))

    def _or_none(self, table: Table) -> Table | str:
        return table if table.rows else self.word("none")

    def _local(self, at_ms: int) -> datetime:
        return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(self.zone)

    def _date(self, at_ms: int) -> str:
        return f"{self._local(at_ms):%Y-%m-%d %H:%M:%S %z}"

    def _clock(self, at_ms: int | None) -> str:
        return "-" if at_ms is None else format(self._local(at_ms), self._form)

    def _span(self, begin_ms: int | None, end_ms: int | None) -> str:
        if begin_ms is None or end_ms is None:
            return "-"
        if end_ms - begin_ms < 1000:
            return f"{end_ms - begin_ms} {self.word('ms')}"
        seconds = (end_ms - begin_ms) / 1000
        if seconds < 60:
            return f"{seconds:.1f} {self.word('s')}"
        minutes, rest = divmod(round(seconds), 60)
        if minutes < 60:
            return f"{minutes} {self.word('min')} {rest} {self.word('s')}"
        return f"{minutes // 60} {self.word('h')} {minutes % 60} {self.word('min')}"


def _scale(quantity: Quantity) -> tuple[float, str]:
    """How many of the unit that people read make one of SI, and that unit."""
    found = FIGURES[quantity]
    return found.per_si, found.unit


def _shown(series: Series, value: float) -> str:
    """A value with one digit more than people are told."""
    found = FIGURES[series.quantity]
    text = f"{value * found.per_si:.{found.digits + 1}f}".rstrip("0").rstrip(".")
    return f"{'0' if text == '-0' else text} {found.unit}"


def _rank(level: str | None) -> int:
    return _RANK.index(level) if level in _RANK else -1


def _value(point: tuple[int, float]) -> float:
    return point[1]
