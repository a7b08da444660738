"""The review of an incident: from the facts to a document. Pure.

A document has sections of tables and charts; `reportpage` writes it as Markdown or HTML. All delays
are worked out here, from times on record: the reading's own, those of the decisions, and those at
which a channel's provider had taken a message.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Final
from zoneinfo import ZoneInfo

from cloud.alerts import reportwords
from cloud.alerts.delays import answerer, calls, delivered
from cloud.alerts.document import Cell, Chart, Document, Section, Table
from cloud.alerts.figures import FIGURES
from cloud.alerts.hazard import Hazard
from cloud.alerts.press import PUBLIC
from cloud.alerts.review import Change, Facts, Series, Told
from cloud.alerts.wording import HAZARD, named
from cloud.channels import Language, marked
from wire.reading import UNITS, Quantity

COURSE_LINES: Final = 400
"""Of the course of events: more than that nobody reads on paper."""

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
        yield Section(word("course"), tuple(self._course()))

    # Sections

    def _overview(self) -> Table:
        incident, told = self.facts.incident, self.facts.told
        closed_ms = incident.closed_ms
        outcomes = Counter(one.outcome for one in told)
        worst = self._worst([line.detail.get("level") for line in self.facts.lines])
        rows = {
            "incident": Cell(incident.id),
            "site": Cell(f"{self.site()} ({incident.site})"),
            "opened": Cell(self._date(incident.opened_ms)),
            "closed": Cell(self.word("still open") if closed_ms is None else self._date(closed_ms)),
            "worst": Cell(self.word(worst) if worst else "-", worst),
            "alerts": Cell(
                self.word("comma").join(f"{self._alert(one)} ({one})" for one in incident.alerts)
            ),
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
        return Table(("", ""), tuple((Cell(self.word(key)), cell) for key, cell in rows.items()))

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
        return int(last) if last.isdigit() else None

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
            if line.kind not in ("answer", "declined"):
                continue
            counted = (
                self.word("declined")
                if line.kind == "declined"
                else line.detail.get("refused") or self.word("yes")
            )
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
            scale, unit = _scale(one.quantity)
            low, high = min(one.points, key=_value), max(one.points, key=_value)
            picked = (one.points[0], low, high, one.points[-1])
            rows.append(
                (
                    Cell(f"{one.sensor}, {self._quantity(one.quantity)}"),
                    Cell(str(one.total)),
                    *(Cell(f"{v * scale:.4g} {unit} ({self._clock(at)})") for at, v in picked),
                )
            )
        head = ("sensor", "readings counted", "first", "lowest", "highest", "last")
        return self._table(head, rows)

    def _chart(self, series: Series) -> Chart:
        facts = self.facts
        scale, unit = _scale(series.quantity)
        limits: dict[str, float] = {}
        before: dict[str, str] = {}
        place = (series.sensor, series.quantity, UNITS[series.quantity])
        for one in facts.changes:
            # On its way down a level has another threshold, at which it is let go.
            rises = _rank(one.level) > _rank(before.get(one.rule))
            before[one.rule] = one.level or ""
            is_ours = (one.sensor, one.quantity, one.unit) == place
            if rises and is_ours and one.threshold is not None and one.level is not None:
                limits[one.level] = one.threshold * scale
        marks = [
            (line.at_ms, reportwords.kind(line.kind, self.language))
            for line in facts.lines
            if line.kind in ("opened", "climbed", "answered", "cleared")
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
        )

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
            told = " ".join(
                filter(None, (self._area(line.area), self._who(line.who), self._named(line.text)))
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

    def _named(self, text: str) -> str:
        """`text` of the timeline, with the name of a contact that it begins with."""
        first, space, rest = self._phrase(text).partition(" ")
        return f"{self._who(first)}{space}{rest}"

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


def _rank(level: str | None) -> int:
    return _RANK.index(level) if level in _RANK else -1


def _value(point: tuple[int, float]) -> float:
    return point[1]
