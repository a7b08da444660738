"""What people do with holds: make one, end it early, look at them. In the dispatch's
transactions."""

import logging
import math
import re
from collections.abc import Iterable, Sequence
from datetime import datetime, tzinfo
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, func, insert, select, update
from sqlalchemy.exc import DBAPIError

from cloud import tables
from cloud.alerts import alarm as alarms
from cloud.alerts import holdrecords, views
from cloud.alerts.alarm import Alarm, Status
from cloud.alerts.byhand import Who, Words
from cloud.alerts.dispatch import Dispatch, Outcome
from cloud.alerts.hazard import Hazard
from cloud.alerts.holds import UP_TO, Hold, Scope, fits, shown
from cloud.alerts.records import AlarmKey
from cloud.alerts.rule import SERVICE
from configs import text
from configs.loader import UserError, suggest
from wire.messages import Level

log: Final = logging.getLogger("shuichi.dispatch")

_MINUTE_MS: Final = 60_000
_DAY_MS: Final = 86_400_000

LONGEST_MS: Final = {
    Status.SHELVED: _DAY_MS,
    Status.SUPPRESSED: 31 * _DAY_MS,
    Status.OUT_OF_SERVICE: 31 * _DAY_MS,
}
"""How long a hold may last, by what its alarms show."""

FARTHEST_MS: Final = 366 * _DAY_MS
"""How far ahead one may begin."""

MOST: Final = 500
"""Holds that are in force or ahead, at a time."""

_AT_ONCE: Final = 100
"""Alarms that are looked at within the demand; the next round looks at all."""

UNSAID_MIN: Final = 1440.0
"""How long `suppress` and `out-of-service` last, unless it is said."""

_SPACED_ZONE: Final = re.compile(r"\s+([+-]\d\d:\d\d)$")
"""As we print moments."""

NO_REASON: Final = "no reason given"
"""Of the commands for one alert, which may leave it out."""


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hold back what the scope names: for `minutes`, from `begin` (now) on, or until `end`: moments
    as `2026-12-01 22:00`, in the plan's time zone unless one is said. `kind` is what its alarms
    show. `alone`: in place of the holds of that kind and scope, of one site and hazard."""

    by: Who
    reason: Words
    site: str = ""
    area: str = ""
    gateway: str = ""
    hazard: Hazard | None = None
    minutes: float | None = None
    begin: str | None = None
    end: str | None = None
    up_to: Level = UP_TO
    kind: Status = Status.OUT_OF_SERVICE
    exercise: bool = False
    alone: bool = False

    @property
    def scope(self) -> Scope:
        return Scope(self.site, self.area, self.gateway, self.hazard, self.exercise)


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End a hold before its time, by its number; or those of one site and hazard, of a kind."""

    by: Who
    hold: int | None = None
    reason: Words = ""
    site: str = ""
    hazard: Hazard | None = None
    kind: Status | None = None
    exercise: bool = False


class HoldView(msgspec.Struct, frozen=True):
    """A hold. `state` is "in force", "ahead" or "past", `alerts` what it holds back now. Times in
    UTC, ms."""

    id: int
    state: str
    kind: str
    site: str
    area: str
    gateway: str
    hazard: str
    exercise: bool
    begin_ms: int
    end_ms: int
    up_to: str
    by: str
    how: str
    reason: str
    made_ms: int
    ended_ms: int | None
    ended_by: str
    ended_why: str
    alerts: tuple[str, ...]


def make(
    dispatch: Dispatch, connection: Connection, given: Order, how: str, now_ms: int
) -> Outcome:
    """A new hold, from now on or ahead. Raises UserError for one that says what cannot be."""
    _check(dispatch, connection, given)
    begin_ms, end_ms, planned = _times(given, dispatch.plan.zone, now_ms)
    if end_ms - begin_ms > (longest_ms := LONGEST_MS[given.kind]):
        word = "shelved" if given.kind is Status.SHELVED else "held back"
        return Outcome(False, f"it may be {word} for {longest_ms / 3_600_000:g} h at most")
    dispatch.begin(connection)  # it is our turn from here on
    if given.alone:
        if refusal := _above(connection, given):
            return Outcome(False, refusal)
        for hold in _alike(connection, given.site, given.hazard, given.kind, given.exercise):
            _end(connection, hold.id, given.by, "another takes its place", now_ms)
    count = select(func.count()).where(tables.hold.c.ended_ms.is_(None))
    if connection.execute(count.select_from(tables.hold)).scalar_one() >= MOST:
        return Outcome(False, f"there are {MOST} holds already: end some")
    row = {
        **{name: getattr(given, name) for name in ("site", "area", "gateway", "exercise")},
        "hazard": given.hazard or "",
        "kind": given.kind,
        "begin_ms": begin_ms,
        "end_ms": end_ms,
        "planned": planned,
        "up_to": given.up_to.name.lower(),
        "who": text.clean(given.by, 80),
        "how": how,
        "reason": text.clean(given.reason, 500),
        "made_ms": now_ms,
        "seen_ms": now_ms if begin_ms <= now_ms else None,
    }
    made = connection.execute(insert(tables.hold).values(row).returning(tables.hold))
    hold = holdrecords.read(made.one())
    _look(dispatch, connection, [hold.scope], now_ms)
    if given.alone:
        return Outcome(True, str(given.kind))
    return Outcome(True, _said(connection, hold, dispatch.plan.zone))


def end(dispatch: Dispatch, connection: Connection, given: End, now_ms: int) -> Outcome:
    """What still stands rings at once."""
    dispatch.begin(connection)
    if given.hold is not None:
        row = _row(connection, given.hold)
        if row is None:
            return Outcome(False, f"there is no hold {given.hold}; `shuichi alert holds`")
        if row.ended_ms is not None or row.end_ms <= now_ms:
            return Outcome(False, f"hold {given.hold} is over already")
        ended = [holdrecords.read(row)]
    else:
        ended = _alike(connection, given.site, given.hazard, given.kind, given.exercise)
        ended = [one for one in ended if now_ms < one.end_ms]
    if not ended:
        return Outcome(False, _not_held(connection, given))
    for hold in ended:
        _end(connection, hold.id, given.by, given.reason, now_ms)
        _note(dispatch, connection, hold, given, now_ms)
    _look(dispatch, connection, [one.scope for one in ended], now_ms)
    if given.hold is not None:
        return Outcome(True, f"hold {given.hold} is over: what still stands rings")
    found = _alarm(connection, given.site, given.hazard, given.exercise)
    return Outcome(True, str(Status.NORMAL if found is None else found.status))


def listed(connection: Connection, now_ms: int, *, past: bool = False) -> list[HoldView]:
    """Those that are in force, then those ahead; or those that are over, the newest first."""
    table = tables.hold
    ended = table.c.ended_ms.is_not(None) | (table.c.end_ms <= now_ms)
    wanted = select(table).where(ended if past else ~ended)
    if past:
        wanted = wanted.order_by(table.c.end_ms.desc(), table.c.id.desc()).limit(1000)
    held = [] if past else [one for one in _standing(connection) if one.covers]
    found = [_view(row, held, now_ms) for row in connection.execute(wanted).all()]
    if past:
        return found
    return sorted(found, key=lambda one: (one.state != "in force", one.begin_ms, one.id))


def moment(option: str, words: str, zone: tzinfo) -> int:
    """Milliseconds since 1970 of `2026-12-01 22:00`, in `zone` unless it names one, as
    `shown` does. Raises UserError."""
    try:
        at = datetime.fromisoformat(_SPACED_ZONE.sub(r"\1", words.strip()))
    except ValueError:
        raise UserError(f"{option} {words}: is not a time such as '2026-12-01 22:00'") from None
    if not 1970 < at.year < 2200:
        raise UserError(f"{option} {words}: is not a time between 1971 and 2199")
    return round((at if at.tzinfo else at.replace(tzinfo=zone)).timestamp() * 1000)


# What is asked for


def _check(dispatch: Dispatch, connection: Connection, given: Order) -> None:
    plan = dispatch.plan
    if given.kind not in LONGEST_MS:
        raise UserError(f"{given.kind}: is no way to hold back")
    if not given.reason.strip():
        raise UserError("a hold needs a reason, for those who wonder why nobody is called")
    if given.scope == Scope(exercise=given.exercise):
        raise UserError("name a site, an area, a gateway or a hazard: else all would be held back")
    if given.area and given.area not in plan.area:
        guess = suggest(given.area, plan.area)
        raise UserError(f"{given.area!r} is no area of the plan{guess}")
    if (
        given.site
        and given.site not in plan.site
        and given.site != SERVICE
        and not views.knows(connection, given.site)
    ):
        # Who misspells it would believe that it is held back.
        guess = suggest(given.site, plan.site)
        raise UserError(f"{given.site!r} is no site of the plan, and nothing is known of it{guess}")
    if given.site and given.area and given.area not in plan.inside(given.site):
        raise UserError(f"{given.site} does not lie in {given.area}: nothing would be held back")
    if given.gateway and given.gateway != SERVICE:
        table = tables.gateway
        known = [*connection.execute(select(table.c.gateway)).scalars()]
        if given.gateway not in known:
            raise UserError(
                f"nothing was ever heard of a gateway {given.gateway!r}"
                f"{suggest(given.gateway, known)}"
            )
    if SERVICE in (given.gateway, given.site) and given.hazard is not Hazard.EQUIPMENT:
        raise UserError(f"alerts about alerting itself need hazard equipment beside {SERVICE}")


def _times(given: Order, zone: tzinfo, now_ms: int) -> tuple[int, int, bool]:
    """Begin and end (UTC, ms), and whether they are by the clock on the wall."""
    begin_ms = now_ms if given.begin is None else moment("--from", given.begin, zone)
    if (given.minutes is None) is (given.end is None):
        raise UserError("a hold has an end: give either --minutes or --to")
    if given.minutes is not None:
        if not math.isfinite(given.minutes) or given.minutes <= 0:
            raise UserError(f"--minutes {given.minutes:g}: is not above 0")
        span_ms = min(given.minutes, 1e9) * _MINUTE_MS
        end_ms = begin_ms + max(1, round(span_ms))
    else:
        end_ms = moment("--to", given.end or "", zone)
    if end_ms <= begin_ms:
        raise UserError("it would end before it begins")
    if end_ms <= now_ms:
        raise UserError("its end is past already")
    if begin_ms > now_ms + FARTHEST_MS:
        raise UserError(f"it may begin {FARTHEST_MS // _DAY_MS} days ahead at most")
    return begin_ms, end_ms, given.end is not None or given.begin is not None


def _above(connection: Connection, given: Order) -> str:
    """Why a hold of one alarm would come to nothing, or ""."""
    found = _alarm(connection, given.site, given.hazard, given.exercise)
    if found is None or found.level is None or found.level <= given.up_to:
        return ""
    level = found.level.name.lower()
    return f"it is at {level}, which rings: hold back up to {level} if that is meant"


def _said(connection: Connection, hold: Hold, zone: tzinfo) -> str:
    when = f"from {shown(hold.begin_ms, zone)} to {shown(hold.end_ms, zone)}"
    held = sum(
        any(cover.name == hold.name for cover in one.covers) for one in _standing(connection)
    )
    plural = "s are" if held != 1 else " is"
    level = hold.up_to.name.lower()
    return (
        f"{hold.name}: {hold.scope}, up to {level}, {when}: {hold.reason}; "
        f"{held} alert{plural} held back now"
    )


def _not_held(connection: Connection, given: End) -> str:
    found = _alarm(connection, given.site, given.hazard, given.exercise)
    if found is None or not found.covers:
        return "it is not held back"
    return f"it is held back by {', '.join(one.name for one in found.covers)}"


# Storage


def _row(connection: Connection, number: int) -> Any:
    if not 0 < number < 2**31:
        return None
    return connection.execute(select(tables.hold).filter_by(id=number)).one_or_none()


def _alike(
    connection: Connection,
    site: str,
    hazard: Hazard | None,
    kind: Status | None,
    exercise: bool,
) -> list[Hold]:
    """The holds of just this site and hazard, and of this kind."""
    return [
        one
        for one in holdrecords.HoldRecords(connection).not_ended()
        if one.scope == Scope(site=site, hazard=hazard, exercise=exercise) and one.kind is kind
    ]


def _end(connection: Connection, number: int, by: str, why: str, now_ms: int) -> None:
    table = tables.hold
    connection.execute(
        update(table)
        .where(table.c.id == number)
        .values(ended_ms=now_ms, ended_by=text.clean(by, 80), ended_why=text.clean(why, 500))
    )


def _standing(connection: Connection) -> list[Alarm]:
    """The alarms that stand."""
    found = holdrecords.HoldRecords(connection).standing(Hazard)
    return [one for one in found if one.level is not None]


def _alarm(
    connection: Connection, site: str, hazard: Hazard | None, exercise: bool
) -> Alarm | None:
    table = tables.alarm
    wanted = select(table.c.state).filter_by(site=site, hazard=hazard, exercise=exercise)
    state = connection.execute(wanted).scalar_one_or_none()
    try:
        return None if state is None else msgspec.json.decode(state, type=Alarm)
    except (msgspec.MsgspecError, ValueError):
        return None  # a round sets it aside and says so


def _look(dispatch: Dispatch, connection: Connection, scopes: Sequence[Scope], now_ms: int) -> None:
    """Have the alarms that these may concern held back, or ring. One that fails costs no other
    anything: it is looked at in the next round, as those beyond `_AT_ONCE` are, which sets it aside
    and says so."""
    concerned = [
        one
        for one in _standing(connection)
        if any(fits(scope, one, dispatch.plan.inside(one.site)) for scope in scopes)
    ]
    for alarm in concerned[:_AT_ONCE]:
        key = AlarmKey(alarm.site, alarm.hazard, alarm.exercise)
        try:
            with connection.begin_nested():
                records = dispatch.begin(connection)
                dispatch.step(records, key, alarms.Tick(), now_ms)
                records.save()
        except DBAPIError:
            raise
        except Exception:  # a seam: what is kept of one alarm may be unreadable
            log.exception("the alarm %s of %s cannot be looked at", alarm.hazard, alarm.site)
    holdrecords.stir(connection)


def _note(dispatch: Dispatch, connection: Connection, hold: Hold, given: End, now_ms: int) -> None:
    """A line in the timelines of the alerts that it held back."""
    records = dispatch.begin(connection)
    for alarm in _standing(connection):
        if any(one.name == hold.name for one in alarm.covers):
            case = records.case(alarm.alert)
            if case is not None:
                records.note(
                    *(case.incident, alarm.alert, now_ms, "hold ended"),
                    who=given.by,
                    text=given.reason,
                    detail={"hold": hold.id},
                )
    records.save()


def _view(row: Any, held: Iterable[Alarm], now_ms: int) -> HoldView:
    name = f"hold {row.id}"
    over = row.ended_ms is not None or row.end_ms <= now_ms
    begun = row.seen_ms is not None or row.begin_ms <= now_ms
    return HoldView(
        id=row.id,
        state="past" if over else ("in force" if begun else "ahead"),
        kind=row.kind,
        site=row.site,
        area=row.area,
        gateway=row.gateway,
        hazard=row.hazard,
        exercise=bool(row.exercise),
        begin_ms=row.begin_ms,
        end_ms=row.end_ms,
        up_to=row.up_to,
        by=row.who,
        how=row.how,
        reason=row.reason,
        made_ms=row.made_ms,
        ended_ms=row.ended_ms,
        ended_by=row.ended_by or "",
        ended_why=row.ended_why or "",
        alerts=tuple(one.alert for one in held if any(cover.name == name for cover in one.covers)),
    )
