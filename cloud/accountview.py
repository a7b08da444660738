"""The account and the quarantine for people, at 80 columns."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import groupby

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cloud.account import Account, AlertAccount, GatewayAccount, StreamAccount
from cloud.ledger import Range
from cloud.quarantine import Kept

_MOST_RANGES = 12


def show(console: Console, found: Account) -> None:
    """Print it all: gateway by gateway, the streams of each, and the verdict."""
    said = {one.gateway: one for one in found.gateways}
    for gateway, streams in groupby(found.streams, key=lambda one: one.gateway):
        _line(console, _gateway(gateway, said.get(gateway), found.at_ms), 0)
        for one in streams:
            _line(console, Text.assemble("stream ", (one.stream, "bold"), _lateness(one, found)), 2)
            _facts(console, _stream(one, found.at_ms), 4)
    for alert in found.alerts:
        _line(console, Text(_alert(alert)), 0)
    _line(console, _verdict(found), 0)


def show_cases(console: Console, kept: Sequence[Kept]) -> None:
    """A line for each, and one with the reason."""
    for one in kept:
        times = f", {one.times} times" if one.times > 1 else ""
        head = Text.assemble(
            (one.id, "bold"),
            f"  {_time(one.last_at_ms)}  {one.case.reason}: {_what(one)}{times}",
        )
        _line(console, head, 0)
        _line(console, Text(one.case.words), 4)
    if not kept:
        console.print("no cases")


def show_case(console: Console, kept: Kept, content: str) -> None:
    """All that is known of one."""
    case = kept.case
    where = [f"stream {case.stream}", f"batch {case.batch}"] if case.stream else []
    where += [f"place {case.position}"] if case.position is not None else []
    held = "unknown" if case.readings is None else str(case.readings)
    times = "once" if kept.times == 1 else f"{kept.times} times, first {_time(kept.first_at_ms)}"
    facts = {
        "id": case.digest.hex(),
        "what": case.kind.value,
        "reason": case.reason.value,
        "words": case.words,
        "gateway": case.gateway or "-",
        "batch": ", ".join(where) or "-",
        "readings": held + (" of the ledger's batch" if case.ledgered else ""),
        "topic": case.topic,
        "seen": f"{_time(kept.last_at_ms)}, {times}",
        "payload": f"{len(case.payload)} bytes" + ("" if content else ": --raw writes them"),
    }
    _facts(console, ((name, Text(value)) for name, value in facts.items()), 0)
    if content:
        console.print(Text(content), soft_wrap=True)


def _facts(console: Console, facts: Iterable[tuple[str, Text]], indent: int) -> None:
    """What is called so, and what it is; a long one goes on beside its name."""
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    _line(console, table, indent)


def _line(console: Console, line: Text | Table, indent: int) -> None:
    console.print(Padding(line, (0, 0, 0, indent), expand=False), highlight=False)


def _gateway(name: str, said: GatewayAccount | None, now_ms: int) -> Text:
    head = Text(name, "bold")
    if said is None:
        return head.append(": has never said how it is", "not bold")
    heard = f": {said.state}, heard {_span(now_ms - said.received_at_ms)} ago"
    waits = "" if said.pending is None else f"; {said.pending} batches wait there"
    return head.append(heard + waits, "not bold")


def _lateness(one: StreamAccount, found: Account) -> str:
    if one.newest_ms is None:
        return ": no reading stored yet"
    ahead = one.newest_ms - found.at_ms
    return f": newest reading {_span(abs(ahead))} {'ahead' if ahead > 0 else 'old'}"


def _stream(one: StreamAccount, now_ms: int) -> Iterator[tuple[str, Text]]:
    again = f", {one.redelivered_batches} again" if one.redelivered_batches else ""
    yield "batches", Text(f"{one.received_batches} received of {one.expected_batches}{again}")
    if one.missing:
        yield "MISSING", Text(_ranges(one.missing), "bold red")
    if one.on_the_way:
        yield "pending", Text(f"{_ranges(one.on_the_way)}, with the gateway")
    if one.hole is not None and one.hole_since_ms is not None:
        waited = _span(now_ms - one.hole_since_ms)
        yield "waits", Text(f"for batch {one.hole}, as the oldest for {waited}")
    yield "readings", Text(", ".join(_readings(one)))
    for gap in one.gaps:
        many = "an unknown number" if gap.readings is None else str(gap.readings)
        batches = f", batches {_ranges(gap.batches)}" if gap.batches else ""
        span = f"{_time(gap.from_ms)} to {_time(gap.to_ms)}"
        yield "lost", Text(f"{gap.reason}: {many} from {span}{batches}")


def _readings(one: StreamAccount) -> Iterator[str]:
    yield f"{one.readings_sealed} sealed"
    yield f"{one.readings_ledgered} stored"
    counts = {
        "in quarantine": (one.readings_quarantined, one.quarantined_unknown),
        "dropped": (one.readings_dropped, one.dropped_unknown),
        "declared lost": (one.readings_lost, 0),
    }
    for name, (known, unknown) in counts.items():
        told = [str(known)] if known else []
        told += [f"{unknown} whole batches"] if unknown else []
        if told:
            yield f"{' and '.join(told)} {name}"
    if (left := one.readings_unaccounted or 0) > 0:
        yield f"{left} NOT ACCOUNTED FOR"


def _verdict(found: Account) -> Text:
    counts = [
        f"{found.missing_batches} batches missing",
        f"{found.batches_on_the_way} pending",
        f"{found.readings_in_store} readings in the store, {found.readings_ledgered} in the ledger",
    ]
    retired = found.readings_retired
    counts += [f"{retired} taken by retention"] if retired else []
    counts += [f"{found.readings_lost} declared lost"] if found.readings_lost else []
    counts += [f"{found.readings_dropped} dropped"] if found.readings_dropped else []
    counts.append(f"{found.quarantined} cases in quarantine")
    word = ("ok", "green") if found.ok else ("NOT OK", "bold red")
    return Text.assemble(word, ": " + "; ".join(counts))


def _alert(one: AlertAccount) -> str:
    value = "" if one.raised_value is None else f" {one.raised_value:.4g} {one.unit}"
    cleared = "" if one.cleared_at_ms is None else f", cleared {_time(one.cleared_at_ms)}"
    return (
        f"{one.level} alert {one.rule} at {one.site or one.gateway}: {one.quantity}{value}, "
        f"raised {_time(one.raised_at_ms)}{cleared}"
    )


def _what(kept: Kept) -> str:
    case = kept.case
    named = f" {case.batch}" if case.batch is not None else ""
    place = f" place {case.position}" if case.position is not None else ""
    of = f"{case.kind} of batch{named}{place}" if named else f"a {case.kind}"
    return f"{case.gateway or case.topic}, {of}"


def _ranges(ranges: Iterable[Range]) -> str:
    many = [*ranges]
    shown = ", ".join(f"{a}" if a == b else f"{a}-{b}" for a, b in many[:_MOST_RANGES])
    if rest := many[_MOST_RANGES:]:
        return f"{shown} and {sum(b - a + 1 for a, b in rest)} more in {len(rest)} ranges"
    return shown


def _time(at_ms: int) -> str:
    """In the local zone."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC).astimezone():%Y-%m-%d %H:%M:%S}"


def _span(ms: int) -> str:
    """A time span in its two largest units."""
    seconds = max(0, ms) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes < 60:
        return f"{minutes} min {int(seconds % 60)} s"
    return f"{hours} h {minutes % 60} min" if hours < 24 else f"{days} d {hours % 24} h"
