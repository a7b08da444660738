"""The account and the quarantine for people, at 80 columns."""

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Console
from rich.text import Text

from cloud.account import Account, AlertAccount, GatewayAccount, StreamAccount
from cloud.quarantine import Kept
from configs.text import for_terminal
from wire.ranges import Range

_MOST_RANGES = 12

_MOST_LINES = 50
"""Problems that are told one by one."""

_MOST_STREAMS, _MOST_IN_FULL = 30, 1000
"""Of one gateway that are told one by one, of all and if it alone is asked for."""

_MOST_GAPS = 20
"""Of one stream."""


def show(console: Console, found: Account, *, in_full: bool = False) -> None:
    """Print it all: gateway by gateway, the streams of each, the alerts that last, and the verdict.
    Streams that are over and complete share a line, unless they are asked for `in_full`."""
    said = {one.gateway: one for one in found.gateways}
    by_gateway: dict[str, list[StreamAccount]] = {name: [] for name in said}
    for one in found.streams:
        by_gateway.setdefault(one.gateway, []).append(one)
    for gateway, streams in sorted(by_gateway.items()):
        word = said.get(gateway)
        _line(console, _gateway(gateway, word, found.at_ms), 0)
        done: list[StreamAccount] = []
        left: list[StreamAccount] = []
        for one in streams:
            (done if not in_full and _is_done(one, word) else left).append(one)
        if done:
            _line(console, Text(_done(done)), 2)
        most = _MOST_IN_FULL if in_full else _MOST_STREAMS
        shown = left if len(left) <= most else _worst(left, most)
        for one in shown:
            name = Text.assemble("stream ", (one.stream, "bold"), _lateness(one, found))
            _line(console, name, 2)
            _facts(console, _stream(one, found.at_ms), 4)
        if (more := len(left) - len(shown)) > 0:
            _line(console, Text(f"and {many(more, 'stream')} more; --json has them all"), 2)
    if not by_gateway:
        _line(console, Text("nothing has come that can be counted"), 0)
    for alert in found.alerts:
        if alert.cleared_at_ms is None:
            _line(console, Text(_alert(alert)), 0)
    show_problems(console, found)


def _worst(streams: Sequence[StreamAccount], most: int) -> list[StreamAccount]:
    """Those of very many that there is most to say of, in their order."""

    def weight(one: StreamAccount) -> tuple[bool, bool, int]:
        left = one.readings_unaccounted or 0
        return bool(one.missing) or left > 0, bool(one.on_the_way), one.last_at_ms or 0

    chosen = sorted(range(len(streams)), key=lambda n: weight(streams[n]))[-most:]
    return [streams[n] for n in sorted(chosen)]


def show_problems(console: Console, found: Account) -> None:
    """What is wrong, what somebody should know beside that, and the verdict."""
    for words in found.problems[:_MOST_LINES]:
        _line(console, Text.assemble((words, "bold red")), 0)
    if (more := len(found.problems) - _MOST_LINES) > 0:
        _line(console, Text(f"and {more} more problems; --json has them all"), 0)
    for words in found.notes[:_MOST_LINES]:
        _line(console, Text(words), 0)
    if (more := len(found.notes) - _MOST_LINES) > 0:
        _line(console, Text(f"and {more} more of that kind; --json has them all"), 0)
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
    rows = [*facts]
    beside = indent + 2 + max(len(name) for name, _ in rows)
    for name, value in rows:
        _line(console, value, beside, Text(" " * indent + name, "dim"))


def _line(console: Console, words: Text, indent: int, before: Text | None = None) -> None:
    """Wrapped, without blanks at the end, for it may go into a file; what is `before` it stands in
    the indent of the first line. What a gateway may have written does nothing to the terminal."""
    if (plain := for_terminal(words.plain)) != words.plain:
        words = Text(plain, words.style)
    for line in words.wrap(console, console.width - indent, overflow="fold"):
        line.rstrip()
        head = before or Text()
        head.pad_right(indent - head.cell_len)
        console.print(head.append_text(line), highlight=False, soft_wrap=True)
        before = None


def many(number: int, thing: str) -> str:
    """A number of things: "1 case", "2 batches"."""
    if number == 1:
        return f"1 {thing}"
    return f"{number} {thing}{'es' if thing.endswith('ch') else 's'}"


def _gateway(name: str, said: GatewayAccount | None, now_ms: int) -> Text:
    head = Text(name, "bold")
    if said is None:
        return head.append(": has never said how it is", "not bold")
    heard = f": {said.state}, heard {_span(now_ms - said.received_at_ms)} ago"
    waits = "" if said.pending is None else f"; {many(said.pending, 'batch')} waiting there"
    return head.append(heard + waits, "not bold")


def _is_done(one: StreamAccount, word: GatewayAccount | None) -> bool:
    """Whether it is over, and there is nothing to say of it but how much it was."""
    is_whole = not (
        one.missing or one.on_the_way or one.gaps or (one.readings_unaccounted or 0) > 0
    )
    put_aside = one.readings_quarantined + one.quarantined_unknown
    dropped = one.readings_dropped + one.dropped_unknown
    is_over = word is not None and word.stream not in (None, one.stream)
    return is_over and is_whole and not put_aside and not dropped


def _done(some: Sequence[StreamAccount]) -> str:
    batches = sum(one.received_batches for one in some)
    readings = sum(one.readings_ledgered for one in some)
    return (
        f"{many(len(some), 'earlier stream')}, complete: {many(batches, 'batch')} received, "
        f"{many(readings, 'reading')} stored"
    )


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
    for gap in one.gaps[:_MOST_GAPS]:
        many = "an unknown number" if gap.readings is None else str(gap.readings)
        batches = f", batches {_ranges(gap.batches)}" if gap.batches else ""
        span = f"{_time(gap.from_ms)} to {_time(gap.to_ms)}"
        yield "lost", Text(f"{gap.reason}: {many} from {span}{batches}")
    if (more := len(one.gaps) - _MOST_GAPS) > 0:
        yield "", Text(f"and {more} more gaps; --json has them all")


def _readings(one: StreamAccount) -> Iterator[str]:
    if one.sealed_batches:  # by its last word, which may be older than what has come since
        until = f" up to batch {one.sealed_batches}"
        yield f"{one.readings_sealed} sealed" + until * (one.sealed_batches < one.expected_batches)
    yield f"{one.readings_ledgered} stored"
    counts = {
        "in quarantine": (one.readings_quarantined, one.quarantined_unknown),
        "dropped": (one.readings_dropped, one.dropped_unknown),
        "declared lost": (one.readings_lost, 0),
    }
    for name, (known, unknown) in counts.items():
        told = [str(known)] if known else []
        told += [many(unknown, "whole batch")] if unknown else []
        if told:
            yield f"{' and '.join(told)} {name}"
    if (left := one.readings_unaccounted or 0) > 0:
        yield f"{left} NOT ACCOUNTED FOR"


def _verdict(found: Account) -> Text:
    counts = [
        f"{many(found.missing_batches, 'batch')} missing",
        f"{found.batches_on_the_way} pending",
        f"{found.readings_in_store} readings in the store, {found.readings_ledgered} in the ledger"
        if found.readings_in_store is not None
        else f"{found.readings_ledgered} readings in the ledger, those in the store not counted",
    ]
    retired = found.readings_retired
    counts += [f"{retired} taken by retention"] if retired else []
    counts += [f"{found.readings_lost} declared lost"] if found.readings_lost else []
    counts += [f"{found.readings_dropped} dropped"] if found.readings_dropped else []
    counts.append(f"{many(found.quarantined, 'case')} in quarantine")
    gone = found.cases_let_go
    counts += [f"{many(gone, 'case')} let go, for the quarantine was full"] if gone else []
    word = ("ok", "green") if found.ok else ("NOT OK", "bold red")
    return Text.assemble(word, ": " + "; ".join(counts))


def _alert(one: AlertAccount) -> str:
    unit = "" if one.unit == "/" else f" {one.unit}"  # SenML: a number of things (RFC 8428, 12.1)
    value = "" if one.raised_value is None else f" {one.raised_value:.4g}{unit}"
    return (
        f"{one.level} alert {one.rule} at {one.site or one.gateway}: "
        f"{one.quantity.replace('_', ' ')}{value}, raised {_time(one.raised_at_ms)}"
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
    """In the local zone; a gateway may have sent anything."""
    if not 0 <= at_ms < 2**47:
        return f"no time ({at_ms} ms)"
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
