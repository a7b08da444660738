"""What the demo promises, and whether it was kept: from the gateway's own events, checked against
what the simulated relay saw, and from what the cloud's commands and messages say."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firmware_sim import truth
from firmware_sim.demo import calls
from firmware_sim.demo.calls import Step
from firmware_sim.demo.screen import Clock, is_call
from firmware_sim.demo.stage import Stage
from firmware_sim.demo.watch import Answer, Picture
from wire.messages import Event
from wire.reading import Quantity

LAMP_ALLOWANCE_MS: Final = 250
"""Beyond one poll interval: the lamp must be confirmed within this of the first reading over."""


class Crossing(msgspec.Struct, frozen=True):
    """The water rose over a threshold and the lamp followed.

    `first_reading_ms` (UTC) is the first reading at or over the threshold of those that led to
    the aspect; `confirmed_ms` is the time from it to the read-back, on the gateway's stopwatch;
    `relay_ms` the same as the simulated devices saw it: from the answer that carried the depth to
    the change of the relay (None: not seen).
    """

    aspect: str
    threshold_m: float
    first_reading_ms: int
    scenario_time: str
    confirmed_ms: float
    relay_ms: int | None


class Promise(msgspec.Struct, frozen=True):
    """One promise and how it went."""

    name: str
    kept: bool
    figure: str


class Report(msgspec.Struct, frozen=True):
    """Everything that the demo has to say at its end. `alerts` are the messages that came to
    phones, `answers` what people did, `timeline` what the cloud made of both."""

    title: str
    speed: float
    store: str
    highest_depth_m: float
    crossings: tuple[Crossing, ...]
    account: dict[str, Any]
    alerts: tuple[dict[str, Any], ...]
    answers: tuple[Answer, ...]
    timeline: tuple[Step, ...]
    promises: tuple[Promise, ...]
    folder: str

    @property
    def kept(self) -> bool:
        """Whether every promise was kept."""
        return all(promise.kept for promise in self.promises)


def build(
    picture: Picture,
    stage: Stage,
    clock: Clock,
    account: dict[str, Any],
    timeline: Sequence[dict[str, Any]],
    store: str,
) -> Report:
    """The report of a run that has ended; `account` and `timeline` as the cloud's commands print
    them."""
    crossings = tuple(_crossings(picture, stage, clock))
    return Report(
        title=clock.title,
        speed=clock.speed,
        store=store,
        highest_depth_m=max((depth for _, depth in picture.depths), default=0.0),
        crossings=crossings,
        account=account,
        alerts=tuple(picture.alerts),
        answers=tuple(picture.answers),
        timeline=tuple(calls.steps(timeline, stage.areas, clock)),
        promises=tuple(
            itertools.chain(
                _promises(picture, stage, crossings, account), _answers(picture, timeline)
            )
        ),
        folder=str(stage.folder),
    )


def is_settled(account: dict[str, Any], gateway: str) -> bool:
    """Whether the cloud has stored all that it knows the gateway to have sealed, and knows of all
    that it has stored."""
    own = [one for one in account["streams"] if one["gateway"] == gateway]
    sealed = sum(one["readings_sealed"] for one in own)
    return bool(sealed == sum(one["readings_ledgered"] for one in own) > 0)


def _crossings(picture: Picture, stage: Stage, clock: Clock) -> Iterator[Crossing]:
    events = sorted(picture.events, key=lambda event: event.at_ms)
    first: dict[str, int] = {}
    for event in events:
        if event.site != stage.site:
            continue
        threshold = str(event.detail.get("threshold"))
        if event.kind == "over_threshold":
            first[threshold] = event.at_ms
        elif event.kind == "aspect_confirmed" and event.detail.get("cause") == "water rises":
            aspect = str(event.detail["aspect"])
            confirmed_ms = float(str(event.detail["latency_ms"]))
            at_ms = first.get(aspect, round(event.at_ms - confirmed_ms))
            yield Crossing(
                aspect=aspect,
                threshold_m=stage.thresholds_m[aspect],
                first_reading_ms=at_ms,
                scenario_time=clock.label(at_ms),
                confirmed_ms=confirmed_ms,
                relay_ms=_seen_by_relay(picture.facts, stage, aspect, event, at_ms),
            )


def _seen_by_relay(
    facts: Sequence[truth.Fact], stage: Stage, aspect: str, confirmed: Event, first_ms: int
) -> int | None:
    """Between the answer that first carried such a depth and the relay's change, ms."""
    threshold = stage.thresholds_m[aspect]
    answers = [
        fact.at_ms
        for fact in facts
        if isinstance(fact, truth.Answered)
        and (fact.device, fact.quantity) == (stage.ruler, Quantity.DEPTH)
        and fact.value is not None
        and fact.value >= threshold
        and abs(fact.at_ms - first_ms) <= 1000 * stage.poll_s
    ]
    changes = [
        fact.at_ms
        for fact in facts
        if isinstance(fact, truth.Outputs)
        and fact.device == stage.relay
        and frozenset(fact.on) == stage.channels[aspect]
        and first_ms <= fact.at_ms <= confirmed.at_ms
    ]
    return changes[-1] - answers[0] if answers and changes else None


def _promises(
    picture: Picture, stage: Stage, crossings: Sequence[Crossing], account: dict[str, Any]
) -> Iterator[Promise]:
    limit_ms = 1000 * stage.poll_s + LAMP_ALLOWANCE_MS
    if crossings:
        slowest = max(crossing.confirmed_ms for crossing in crossings)
        yield Promise(
            f"lamp confirmed within {limit_ms:g} ms of the first reading over",
            slowest <= limit_ms,
            f"slowest {slowest:.0f} ms of {len(crossings)}",
        )
    reached = [
        name for name, metres in stage.thresholds_m.items() if _confirmed_over(picture, metres)
    ]
    shown = {crossing.aspect for crossing in crossings}
    yield Promise(
        "the lamp followed the water",
        # A rise that jumps both thresholds at once goes straight to red.
        set(reached) <= shown or "red" in shown,
        f"reached: {', '.join(reached) or 'none'}; shown: {', '.join(sorted(shown)) or 'none'}",
    )
    streams = account["streams"]
    missing = sum(last - first + 1 for s in streams for first, last in s["missing"])
    yield Promise("nothing sealed is missing", missing == 0, f"{missing} batches missing")
    sealed = sum(one["readings_sealed"] for one in streams)
    stored = account["readings_in_store"]
    yield Promise(
        "every reading is in the store once",
        sealed == stored > 0,
        f"{sealed} sealed, {stored} stored",
    )
    called = [one for one in picture.alerts if is_call(one) and one["site"] == stage.site]
    levels = {one["level"] for one in called}
    yield Promise(
        "an alert for each threshold reached",
        # As with the lamp: a rise that jumps both goes straight to red.
        len(levels) >= len(reached) or "red" in levels,
        f"called {len(called)} times: {', '.join(sorted(levels)) or 'never'}",
    )


def _answers(picture: Picture, timeline: Sequence[dict[str, Any]]) -> Iterator[Promise]:
    if not timeline:
        return
    found = list(calls.climbs(timeline, picture.alerts))
    later = sum(one.later for one in found)
    by_link = any(one.counts for one in picture.answers)
    figure = "no answer ended a climb"
    if found:
        figure = (
            f"up a tier after {found[0].climbed_s:.1f} s, answered by link "
            f"{found[0].answered_s:.1f} s later; calls after that: {later}"
        )
    yield Promise(
        "an unanswered alert climbed, and an answer stopped it",
        bool(found) and by_link and not later,
        figure,
    )


def _confirmed_over(picture: Picture, threshold_m: float) -> bool:
    """Whether two readings in a row were at or over a threshold."""
    over = [depth >= threshold_m for _, depth in sorted(picture.depths)]
    return any(a and b for a, b in itertools.pairwise(over))


def save(report: Report, file: Path) -> None:
    """The report as JSON."""
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report)))


def show(report: Report, console: Console) -> None:
    """The report as a person reads it."""
    console.print(
        f"[bold]{report.title}[/], {report.speed:g} times as fast, store: {report.store}; "
        f"highest depth {report.highest_depth_m * 100:.0f} cm",
        soft_wrap=True,
    )
    _show_crossings(report, console)
    streams = report.account["streams"]
    console.print(
        f"readings sealed {sum(s['readings_sealed'] for s in streams)}, "
        f"stored {report.account['readings_in_store']}, "
        f"batches missing {sum(b - a + 1 for s in streams for a, b in s['missing'])}, "
        f"received twice and dropped {sum(s['redelivered_batches'] for s in streams)}, "
        f"quarantined {report.account['quarantined']}",
        highlight=False,
        soft_wrap=True,
    )
    _show_calls(report, console)
    for promise in report.promises:
        word = "[green]kept[/]  " if promise.kept else "[bold red]BROKEN[/]"
        console.print(f"{word} {promise.name}: {promise.figure}", highlight=False, soft_wrap=True)
    console.print(f"data, logs and report.json: {report.folder}", highlight=False, soft_wrap=True)


def _show_crossings(report: Report, console: Console) -> None:
    if not report.crossings:
        console.print("the water reached no threshold")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("threshold")
    table.add_column("first reading over", justify="right")
    table.add_column("lamp confirmed after ms", justify="right")
    table.add_column("relay saw ms", justify="right")
    for crossing in report.crossings:
        table.add_row(
            f"{crossing.threshold_m * 100:.0f} cm {crossing.aspect}",
            crossing.scenario_time,
            f"{crossing.confirmed_ms:.0f}",
            "-" if crossing.relay_ms is None else str(crossing.relay_ms),
        )
    console.print(table)


def _show_calls(report: Report, console: Console) -> None:
    if not report.timeline:
        console.print("nobody was called")
        return
    table = Table(box=None, pad_edge=False)
    table.add_column("alert of the underpass")
    table.add_column("after s", justify="right")
    table.add_column(no_wrap=True)
    for step in report.timeline:
        table.add_row(step.scenario_time, f"{step.after_s:.1f}", escape(step.text))
    console.print(table)
