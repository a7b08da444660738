"""How an exercise by script is shown: who would be called, how it goes, and its score."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from cloud.alerts.actions import Kind
from cloud.alerts.drillcheck import Disturbed, Entry
from cloud.alerts.drillfacts import Event
from cloud.alerts.drillscore import Check, Person, Score, Site, TierScore
from cloud.alerts.plan import Plan
from cloud.channels import EXERCISE
from configs.text import for_terminal

SHOWN_EVENTS = 12
"""While it runs: the last ones."""

_MET = {True: "yes", False: "NO", None: "not judged"}


def title(text: str) -> Text:
    """The name of an exercise, marked as one."""
    mark = EXERCISE["en"].strip() + EXERCISE["zh"]
    return Text.assemble((f"{mark} ", "bold magenta"), (for_terminal(text), "bold"))


def people(found: Sequence[Disturbed]) -> RenderableType:
    """Everybody who would be told something if nobody answers."""
    table = _table("from min", "who", "area", "by", "for")
    for one in found:
        remarks = [
            *(["tells the public"] if one.public else []),
            *(["off duty"] if one.off_duty else []),
        ]
        who = f"{one.name} ({', '.join(remarks)})" if remarks else one.name
        table.add_row(
            f"{one.after_ms / 60_000:g}",
            for_terminal(who),
            for_terminal(f"{one.area} ({one.tier})"),
            ", ".join(one.channels),
            for_terminal(", ".join(one.sites)),
        )
    at_once = sum(one.after_ms == 0 and not one.public for one in found)
    public = sum(one.public for one in found)
    persons = len(found) - public
    who = "1 person" if persons == 1 else f"{persons} people"
    count = f"{who} would be called or told, {at_once} of them at once"
    if public:
        count += f"; {public} of the loudspeakers and boards would tell everybody"
    return Group(table, Text(f"{count}."))


def timetable(entries: Sequence[Entry], plan: Plan, at_ms: int) -> RenderableType:
    """Step by step, with what comes of it if nobody answers."""
    table = _table("min", "time", "where", "what", "who", "by")
    minute = ""
    shown = [one for one in entries if one.line is None or one.line.kind != Kind.AGAIN]
    for entry, channels in _together(shown):
        before, minute = minute, f"{entry.after_ms / 60_000:g}"
        moment = datetime.fromtimestamp((at_ms + entry.after_ms) / 1000, UTC)
        when = (
            ("", "") if minute == before else (minute, f"{moment.astimezone(plan.zone):%H:%M:%S}")
        )
        site = for_terminal(entry.site)
        if entry.step is not None:
            step = entry.step
            what = "end" if step.level is None else step.level.name.lower()
            table.add_row(*when, site, f"{step.hazard}: {what}", "", "", style="bold")
            continue
        assert entry.line is not None
        contact = plan.contact.get(entry.line.contact)
        who = entry.line.area if contact is None else contact.name
        words = entry.line.kind if contact else f"{entry.line.kind} {entry.line.title}".strip()
        table.add_row(*when, site, words, for_terminal(who), ", ".join(channels))
    return Group(table, Text("Each call is repeated until somebody answers."))


def _together(entries: Sequence[Entry]) -> Iterator[tuple[Entry, list[str]]]:
    """One line for what goes by several channels at once."""
    before: Entry | None = None
    channels: list[str] = []
    for entry in entries:
        line = entry.line
        bare = entry if line is None else entry._replace(line=line._replace(channel=""))
        if bare == before and line is not None:
            channels.append(line.channel)
            continue
        if before is not None:
            yield before, [one for one in channels if one]
        before, channels = bare, [line.channel] if line is not None else []
    if before is not None:
        yield before, [one for one in channels if one]


def progress(score: Score, now_ms: int) -> RenderableType:
    """How it stands: each site, and what happened last."""
    table = _table("where", "level", "called up to", "since", "answered by", "result")
    for one in score.sites:
        span = one.spans[-1] if one.spans else None
        waits = span is not None and span.answered_ms is None and not one.left
        since = _span((now_ms - span.begin_ms) / 1000) if span is not None and waits else ""
        table.add_row(
            for_terminal(one.name),
            one.level,
            one.highest_tier,
            since,
            for_terminal(span.by if span is not None else ""),
            for_terminal(one.result or one.left),
        )
    state = f"step {score.steps_done} of {score.steps}"
    if score.ended_ms is None:
        state += f"; it ends within {_span(max(0, score.ends_by_ms - now_ms) / 1000)}"
    else:
        state += f"; over: {score.end}"
    events = [event(one) for one in score.events[-SHOWN_EVENTS:]]
    return Group(title(score.title), Text(state), table, *events)


def event(one: Event) -> Text:
    """One line of what happened."""
    moment = datetime.fromtimestamp(one.at_ms / 1000, UTC).astimezone()
    return Text.assemble(
        f"{moment:%H:%M:%S}  ",
        (one.what, "bold"),
        for_terminal(f"  {one.site}  {one.who}  {one.text}".rstrip()),
    )


def show(console: Console, score: Score) -> None:
    """The whole score."""
    console.print(title(score.title))
    over = "it runs" if score.ended_ms is None else f"over: {score.end}"
    by = f" by {score.stopped_by}" if score.stopped_by else ""
    console.print(Text(f"{score.id}; {over}{for_terminal(by)}"))
    for site, why in score.left.items():
        console.print(Text(for_terminal(f"{site} took no further part: {why}")))
    for table in _tables(score):
        console.print(table)
    points = f"{score.points} of {score.most} points"
    console.print(Text(f"{points}: {'passed' if score.passed else 'not passed'}", "bold"))


def _tables(score: Score) -> Iterator[Table]:
    sites = _table("where", "level", "highest tier", "calls answered after", "result after")
    for one in score.sites:
        sites.add_row(*map(for_terminal, _of_site(one)))
    yield sites
    persons = _table("who", "tier", "where", "outcome", "called after", "answered after", "result")
    for person in score.people:
        persons.add_row(*map(for_terminal, _of_person(person)))
    yield persons
    tiers = _table("tier", "called", "answered", "declined", "unreached", "silent", "answer after")
    for tier in score.tiers:
        tiers.add_row(*_of_tier(tier))
    yield tiers
    checks = _table("expected", "where", "limit", "measured", "met", "points")
    for check in score.checks:
        checks.add_row(*map(for_terminal, _of_check(check)))
    yield checks


def _of_site(one: Site) -> tuple[str, ...]:
    waits = [
        "nobody" if span.answered_ms is None else _span((span.answered_ms - span.begin_ms) / 1000)
        for span in one.spans
    ]
    return (one.name, one.level, one.highest_tier, ", ".join(waits), _span(one.to_result_s))


def _of_person(one: Person) -> tuple[str, ...]:
    times = _span(one.to_call_s), _span(one.to_answer_s), _span(one.to_result_s)
    return (one.name, one.tier, one.site, one.outcome, *times)


def _of_tier(one: TierScore) -> tuple[str, ...]:
    counts = one.called, one.answered, one.declined, one.unreached, one.not_answered
    return (one.tier, *map(str, counts), _span(one.to_answer_s))


def _of_check(one: Check) -> tuple[str, ...]:
    points = str(one.points if one.met else 0) if one.met is not None else "-"
    measured = one.measured or _span(one.measured_s)
    return (one.what, one.site, one.limit, measured, _MET[one.met], points)


def rows(score: Score) -> Iterator[tuple[object, ...]]:
    """For a spreadsheet: people, sites and what was expected, one line each. Times in s."""
    yield (
        *("kind", "site", "hazard", "name", "tier", "outcome", "to call", "to answer"),
        *("to result", "limit", "measured", "met", "points", "of"),
    )
    for one in score.people:
        times = one.to_call_s, one.to_answer_s, one.to_result_s
        yield (
            *("person", one.site, one.hazard, one.name, one.tier, one.outcome),
            *map(_seconds, times),
            *("", "", "", "", ""),
        )
    for site in score.sites:
        waits = [
            _seconds((span.answered_ms - span.begin_ms) / 1000)
            for span in site.spans
            if span.answered_ms is not None
        ]
        yield (
            *("site", site.site, site.hazard, site.name, site.highest_tier, site.result),
            *("", " ".join(waits), _seconds(site.to_result_s), "", "", "", "", ""),
        )
    for check in score.checks:
        yield (
            *("expected", check.site, check.hazard, check.what, "", "", "", "", ""),
            *(check.limit, check.measured or _seconds(check.measured_s), _MET[check.met]),
            *((check.points if check.met else 0) if check.met is not None else "", check.points),
        )
    yield (
        *("all", "", "", title(score.title).plain, "", score.end),
        *[""] * 6,
        score.points,
        score.most,
    )


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.0f}"


def _span(seconds: float | None) -> str:
    if seconds is None:
        return ""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
