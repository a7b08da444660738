"""An imported calendar becomes duty: it takes the place of what it brought last time. In the
dispatch's transactions. Raises UserError for what cannot be."""

from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from cloud.alerts import dutystore
from cloud.alerts.byhand import Who
from cloud.alerts.dispatch import Dispatch
from cloud.alerts.dutychanges import Change, Duty, Kind
from cloud.alerts.dutyorders import Asked, Drawn
from cloud.alerts.roster import LONGEST_DUTY_MS, MOST_DUTIES, Roster
from configs.loader import UserError
from configs.text import clean


class Import(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Keep a roster; with `dry_run` only say what would come of it."""

    roster: Roster
    by: Who
    dry_run: bool = False


def bring(dispatch: Dispatch, connection: Connection, given: Import, asked: Asked) -> Drawn:
    """Each contact of the calendar has its duties in place of the windows, from its first moment to
    its last. What the same calendar brought before goes, and of each contact what has an event with
    the same UID."""
    plan, roster = dispatch.plan, given.roster
    _check(dispatch, roster)
    dispatch.begin(connection)
    before = dutystore.read(connection, asked.now_ms)
    old = [
        one for one in before if one.kind is Kind.ROSTER and _replaces(roster, one, asked.now_ms)
    ]
    made = [
        Change(
            number=number,
            kind=Kind.ROSTER,
            contact=one.contact,
            area=one.area,
            from_ms=roster.from_ms,
            until_ms=roster.until_ms,
            calendar=roster.calendar,
            uids=one.uids,
            spans=one.spans,
            by=clean(given.by, 80),
            how=asked.how,
            made_ms=asked.now_ms,
        )
        for number, one in enumerate(roster.duties, dutystore.next_number(connection))
    ]
    if _same(old, made, asked.now_ms):
        return Drawn(plan, Duty(before), (), (), asked.now_ms)
    standing = dutystore.count(connection, asked.now_ms) + len(made) - len(old)
    if standing > dutystore.MOST_AT_ONCE:
        raise UserError(f"{dutystore.MOST_AT_ONCE} changes are in force: remove some first")
    if not given.dry_run:
        by = f"{clean(given.by, 80)} ({asked.how}), imported again"
        for one in old:
            dutystore.remove(connection, one, by, asked.now_ms)
        dutystore.add(connection, made)
    return Drawn(plan, Duty(before), tuple(made), tuple(old), asked.now_ms)


def _check(dispatch: Dispatch, roster: Roster) -> None:
    """It was read by the asker, perhaps with another plan."""
    plan = dispatch.plan
    if sum(len(one.spans) for one in roster.duties) > MOST_DUTIES:
        raise UserError(f"more than {MOST_DUTIES} duties")
    if not roster.from_ms < roster.until_ms:
        raise UserError("the calendar ends before it begins")
    for one in roster.duties:
        if one.contact not in plan.contact or plan.contact[one.contact].public:
            raise UserError(f"{clean(one.contact, 80)!r} is no contact of the plan in force")
        if one.area not in plan.area:
            raise UserError(f"{clean(one.area, 80)!r} is no area of the plan in force")
        if not _in_order(one.spans):
            raise UserError(f"the duties of {one.contact!r} are not in order, or too long")
    keys = [(one.contact, one.area) for one in roster.duties]
    if len(set(keys)) < len(keys):
        raise UserError("a contact stands twice in an area")


def _in_order(spans: Sequence[tuple[int, int]]) -> bool:
    return list(spans) == sorted(spans) and all(0 < b - a <= LONGEST_DUTY_MS for a, b in spans)


def _replaces(roster: Roster, old: Change, now_ms: int) -> bool:
    """Whether it brings anew what an import has brought. One of the same name that begins later
    and has none of its events is the next month's: this month's stays until then."""
    uids = {uid for one in roster.duties for uid in one.uids}
    if old.calendar == roster.calendar:
        is_next = roster.from_ms > now_ms and bool(old.uids) and uids.isdisjoint(old.uids)
        return not (is_next and old.until_ms > now_ms)
    return any(
        one.contact == old.contact and not set(one.uids).isdisjoint(old.uids)
        for one in roster.duties
    )


def _same(old: Sequence[Change], made: Sequence[Change], now_ms: int) -> bool:
    """Whether a calendar brings what it brought before, but for what is over by now."""

    def content(changes: Sequence[Change]) -> list[tuple[object, ...]]:
        rows = (
            (
                *(one.contact, one.area, one.calendar, one.until_ms, one.uids),
                tuple(span for span in one.spans if span[1] > now_ms),
            )
            for one in changes
        )
        return sorted(rows)

    return content(old) == content(made)
