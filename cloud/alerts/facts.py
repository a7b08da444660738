"""Alerts as they stand, for messages that are composed now: the newest good value of the worst
source, with its trend, and what escalation and contacts know."""

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec
from sqlalchemy import select

from cloud import tables
from cloud.alerts import causes, devices, episodes, publicwords, wording
from cloud.alerts.actions import CALLS, FIRST_CALLS, Kind, Send
from cloud.alerts.alarm import Alarm
from cloud.alerts.compose import Below, Fact, Reported, Told
from cloud.alerts.episodes import Present
from cloud.alerts.escalation import Escalation, Phase
from cloud.alerts.figures import LANGUAGES
from cloud.alerts.hazard import Hazard
from cloud.alerts.knowledge import Known as Knowledge
from cloud.alerts.phrases import Silence
from cloud.alerts.plan import Plan
from cloud.alerts.records import AlarmKey, Known, Records, Sayings, foremost_of
from cloud.alerts.rule import SERVICE
from cloud.alerts.trend import Trend
from cloud.channels import Language, Measurement


class Obsolete(NamedTuple):
    """Why a message says nothing any more."""

    reason: str


OVER = Obsolete("it is over")
ANSWERED = Obsolete("somebody has answered")
RISEN = Obsolete("it has risen since: a newer message says it")
HELD = Obsolete("it is held back")
NOT_HELD = Obsolete("it is not held back any more")
NOT_TOLD = Obsolete("they were never told of it")
LET_GO = Obsolete("their area is not called any more")
BEGAN_ANEW = Obsolete("the site is in danger again, and they are told of that")

LIVING_MS: Final = 60_000
"""Of several gauges, one whose newest reading is so much older than another's does not speak for
the site."""

OF_LATE_MS: Final = 900_000
"""It is named for so long if it has read more."""


def of(records: Records, plan: Plan, send: Send, known: Knowledge | None) -> Fact | Obsolete:
    """What `send` comes to now; `known` is what its contact was told of the alert."""
    if (why := obsolete(records, send)) is not None:
        return why
    told = None if known is None else known.told
    if send.kind is not Kind.CLEAR:
        return stand(records, plan, send, told)
    if known is None:
        return NOT_TOLD
    return Fact(
        send,
        since_ms=send.at_ms,
        figures=_place(records, plan, send),
        told=told,
        public=public(plan, send),
    )


def instead(records: Records, send: Send) -> Send | None:
    """What to tell instead of an end, where the site is in danger again: the alert that stands. Its
    contact is among those who know of it from then on; None if they are already, so that nothing is
    left to say. What is no such end stays as it is."""
    alarm, _ = records.alarm(AlarmKey(send.site, send.hazard, send.exercise))
    if send.kind is not Kind.CLEAR or alarm.level is None:
        return send
    case = records.case(alarm.alert)
    if case is None or send.contact in case.escalation.told:
        return None
    state = case.escalation
    told = (*state.told, send.contact)
    heard = tuple(one for one in state.heard if one != send.contact)
    after = msgspec.structs.replace(state, told=told, heard=heard)
    records.put_case(case._replace(escalation=after))
    return msgspec.structs.replace(
        send,
        alert=alarm.alert,
        level=alarm.level,
        stage=alarm.stage,
        round=state.round,
        kind=Kind.COPY,
    )


def obsolete(records: Records, send: Send) -> Obsolete | None:
    """Why a message says nothing any more, whoever gets it; None if it still does."""
    alarm, _ = records.alarm(AlarmKey(send.site, send.hazard, send.exercise))
    case = records.case(send.alert)
    assert case is not None
    if send.kind is Kind.CLEAR:
        return None
    if alarm.alert != send.alert or alarm.level is None:
        return OVER
    return _obsolete(send, case.escalation)


def stand(records: Records, plan: Plan, send: Send, told: Told | None = None) -> Fact:
    """How the alert of `send`, which is open, stands now, whoever has answered it."""
    alarm, sayings = records.alarm(AlarmKey(send.site, send.hazard, send.exercise))
    case = records.case(send.alert)
    assert case is not None
    assert alarm.level is not None
    state = case.escalation
    kind = _kind(send, alarm, told)
    now = msgspec.structs.replace(send, kind=kind, level=alarm.level, stage=alarm.stage)
    known, trend, other = newest(records, alarm, sayings)
    lasts = known.since_ms is not None
    return Fact(
        now,
        cause=known.cause,
        since_ms=_since_ms(alarm, known),
        lasts=lasts,
        measured=None if lasts else known.measured,
        trend=trend,
        other=other,
        figures=_figures(records, plan, send, known),
        told=told,
        deadline_ms=_deadline_ms(send, state),
        below=below(plan, send, state),
        answered=None if state.answer is None else (state.answer.by, state.answer.at_ms),
        reported=_reported(state),
        public=public(plan, now),
        held=alarm.covers,
    )


def _kind(send: Send, alarm: Alarm, told: Told | None) -> Kind:
    """Why the contact is told, by what they know: it has not fallen for somebody who has heard of
    nothing worse, nor risen for somebody who has."""
    assert alarm.level is not None
    if send.kind in (Kind.FALL, Kind.HAND_BACK):
        was_worse = told is not None and told.level > alarm.level
        return send.kind if was_worse and alarm.level <= send.level else Kind.COPY
    if send.kind is Kind.RISE and told is not None:
        nearer = told.stage is not None and alarm.stage.rank > told.stage.rank
        return Kind.RISE if alarm.level > told.level or nearer else Kind.AGAIN
    return send.kind


class Newest(NamedTuple):
    """What is found now, and how it changes; `other` is what another gauge of the site has
    measured, where that is newer or more."""

    known: Known
    trend: Trend | None = None
    other: Measurement | None = None


def newest(records: Records, alarm: Alarm, sayings: Sayings) -> Newest:
    """What the worst source of `alarm` finds now."""
    present = _present(records, alarm.site)
    name = _speaker(alarm, present)
    known = foremost_of(alarm, {name: sayings[name]} if name in sayings else sayings)
    rule = name.partition(":")[0]
    other = _other(name, {one: present[one] for one in present if one.partition(":")[0] == rule})
    found = present.get(name)
    before = known.measured
    if found is None or (before is not None and found.finding.at_ms < before.at_ms):
        return Newest(known, None, other)
    now = causes.now(name, found.finding)
    # What a rule does not say again still holds: who set an exercise off has named figures.
    now = msgspec.structs.replace(now, figures={**known.figures, **now.figures})
    return Newest(now, found.trend, other)


def _speaker(alarm: Alarm, present: Mapping[str, Present]) -> str:
    """The source that speaks for the site, "" if there is none: of those that find the worst, the
    one that did last; but of gauges those that still send, and of these the one that reads most."""
    active = {name: one for name, one in alarm.sources.items() if one.level is not None}
    if active:
        worst = max((one.level or 0, one.stage.rank) for one in active.values())
        active = {
            name: one for name, one in active.items() if (one.level or 0, one.stage.rank) == worst
        }
        last = max(active, key=lambda one: active[one].at_ms)
        if last not in present:
            return last
        gauges = [one for one in active if one in present]
    else:  # the rules are normal again, and the alarm stands for the off-delay
        gauges = [one for one in present if one in alarm.sources]
    if not gauges:
        return ""
    newest_ms = max(present[one].finding.at_ms for one in gauges)
    living = [one for one in gauges if newest_ms - present[one].finding.at_ms <= LIVING_MS]
    first = max(living, key=lambda one: (present[one].finding.level or 0, one))
    alike = _alike(first, {one: present[one] for one in living})
    return max(alike, key=lambda one: (present[one].finding.value or 0.0, one))


def _other(name: str, present: Mapping[str, Present]) -> Measurement | None:
    """What another gauge reads that must be known too: it is newer, or it has read more of late."""
    if name not in present:
        return None
    spoken = present[name].finding
    newer, more = None, None
    for one in _alike(name, present) - {name}:
        found = causes.now(one, present[one].finding).measured
        if found is None:
            continue
        if found.at_ms > spoken.at_ms + LIVING_MS and (newer is None or found.at_ms > newer.at_ms):
            newer = found
        is_late = spoken.at_ms - found.at_ms <= OF_LATE_MS
        if is_late and found.value > max(spoken.value or 0.0, more.value if more else 0.0):
            more = found
    return newer or more


def _alike(name: str, present: Mapping[str, Present]) -> set[str]:
    """Those that measure the same quantity, among them `name`."""
    quantity = present[name].finding.quantity
    return {one for one in present if present[one].finding.quantity == quantity}


def _present(records: Records, site: str) -> Mapping[str, Present]:
    try:
        return episodes.present(records.connection, site)
    except (msgspec.MsgspecError, ValueError):
        return {}  # it cannot be read: what is known is told, with its time


def _obsolete(send: Send, state: Escalation) -> Obsolete | None:
    if send.kind is Kind.FOLLOW_UP:
        return None if state.follow_ms is not None else ANSWERED
    if send.kind in CALLS:
        if state.phase is Phase.HELD:
            return HELD
        if state.phase is not Phase.RINGING:
            hands_over = state.phase is Phase.ANSWERED and send.contact in state.added
            return None if hands_over else ANSWERED
        if send.round < state.round:
            return RISEN
        is_called = send.contact in state.added or any(one.area == send.area for one in state.rungs)
        return None if is_called else LET_GO
    if send.kind is Kind.ANSWERED and state.phase is not Phase.ANSWERED:
        return RISEN
    if send.kind is Kind.RESULT and state.report is None:
        return RISEN
    if send.kind is Kind.HELD and state.phase is not Phase.HELD:
        return NOT_HELD
    return None


def _figures(records: Records, plan: Plan, send: Send, known: Known) -> dict[str, str]:
    tongue = wording.language(plan, send.contact)
    figures = {
        **causes.lamp(records.connection, send.site, send.hazard, tongue),
        **known.figures,
        **_place(records, plan, send),
    }
    if send.hazard is Hazard.EQUIPMENT:
        figures["device"] = devices.name(figures.get("device", ""), tongue)
    return figures


def _place(records: Records, plan: Plan, send: Send) -> dict[str, str]:
    """Of a gateway, which no plan knows, the sites that it measures: people know those."""
    if send.site in plan.site or send.site == SERVICE:
        return {}
    tongue = wording.language(plan, send.contact)
    of_rules = tables.rule_state
    sites = records.connection.execute(
        select(of_rules.c.site).where(of_rules.c.gateway == send.site, of_rules.c.site != "")
    ).scalars()
    known = [wording.site_name(plan, one, tongue) for one in sorted({*sites}) if one in plan.site]
    if not known:
        return {}
    if tongue == "zh":
        return {"site": "、".join(known[:2]) + (f"等{len(known)}处" if len(known) > 2 else "")}
    more = f" and {len(known) - 2} more" if len(known) > 2 else ""
    return {"site": (", " if more else " and ").join(known[:2]) + more}


def _since_ms(alarm: Alarm, known: Known) -> int:
    if known.since_ms is not None:
        return known.since_ms
    if known.measured is not None:
        return known.measured.at_ms
    if alarm.exercise:
        return 0
    found = [one.at_ms for one in alarm.sources.values() if one.level is not None]
    return min(found, default=0)


def _deadline_ms(send: Send, state: Escalation) -> int | None:
    if send.kind is Kind.FOLLOW_UP:
        return state.follow_ms
    return next((one.deadline_ms for one in state.rungs if one.area == send.area), None)


def below(plan: Plan, send: Send, state: Escalation) -> Below | None:
    """The tier below that has been called, and why nobody of it acts."""
    areas = [one.area for one in state.rungs]
    if send.kind not in FIRST_CALLS | {Kind.AGAIN} or send.area not in areas:
        return None
    place = areas.index(send.area)
    if not place:
        return None
    rung = state.rungs[place - 1]
    tier = plan.area[rung.area].kind
    if not rung.contacts:
        return Below(tier, Silence.NOBODY)
    if any(one not in state.declined for one in rung.contacts):
        return Below(tier, Silence.NO_ANSWER)
    reached = [one for one in rung.contacts if one not in state.unreached]
    return Below(tier, Silence.DECLINED if reached else Silence.UNREACHED)


def _reported(state: Escalation) -> Reported | None:
    one = state.report
    return None if one is None else Reported(one.by, one.outcome, one.people, one.at_ms)


def public(plan: Plan, send: Send) -> dict[Language, str]:
    """What a loudspeaker says."""
    if not plan.contact[send.contact].public or send.hazard is Hazard.EQUIPMENT:
        return {}
    if send.kind is Kind.CLEAR:
        advice = publicwords.at_the_end(send.hazard)
    else:
        written = plan.public_instruction
        advice = publicwords.advice(send.hazard, send.level, send.stage, written)
    site = plan.site.get(send.site)
    values = {} if site is None else site.values
    said: dict[Language, str] = {}
    for tongue in LANGUAGES:
        filled = {
            **{name: one[tongue] for name, one in publicwords.UNNAMED.items()},
            **{name: one.of(tongue) for name, one in values.items()},
            "site": wording.site_name(plan, send.site, tongue),
        }
        said[tongue] = wording.fill(advice.of(tongue), filled)
    return said
