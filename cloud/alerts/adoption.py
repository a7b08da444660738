"""An escalation whose plan cannot be read any more goes on by the plan that is in force. Pure."""

from typing import Final

import msgspec

from cloud.alerts import escalation
from cloud.alerts.actions import Action, Send
from cloud.alerts.alarm import Alarm
from cloud.alerts.dutychanges import AS_PLANNED, Duty
from cloud.alerts.escalation import Escalation, Phase
from cloud.alerts.plan import Plan

_FROM: Final = 1_000_000
"""Where the numbers of its calls begin: what the old plan has sent must keep its keys."""


def adopt(
    state: Escalation, alarm: Alarm, now_ms: int, plan: Plan, duty: Duty = AS_PLANNED
) -> tuple[Escalation, tuple[Action, ...]]:
    """The escalation under `plan`, and what is to be done. Who was being called under the old plan
    may not be in the new one: an alert that nobody has answered is called from the nearest area
    again."""
    begun = msgspec.structs.replace(
        state,
        plan=plan.version,
        rungs=(),
        at_top=False,
        told=tuple(one for one in state.told if one in plan.contact),
        declined=tuple(one for one in state.declined if one in plan.contact),
        area=state.area if state.area in plan.area else "",
        phase=Phase.IDLE if state.phase is Phase.RINGING else state.phase,
        infos=state.infos + _FROM,
        round=state.round - 1 if state.phase is Phase.RINGING else state.round,
    )
    after, actions = escalation.step(begun, escalation.situation(alarm), now_ms, plan, duty)
    rungs = tuple(msgspec.structs.replace(one, tries=one.tries + _FROM) for one in after.rungs)
    return msgspec.structs.replace(after, rungs=rungs), tuple(
        msgspec.structs.replace(one, number=one.number + _FROM) if isinstance(one, Send) else one
        for one in actions
    )
