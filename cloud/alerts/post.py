"""Messages: from what a contact is to be told to the rows that the channels hand over. In the
transaction of the dispatch."""

import logging
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy.exc import DBAPIError

from cloud import tables
from cloud.alerts import causes, digest, wording
from cloud.alerts.actions import CALLS, Send, foremost
from cloud.alerts.digest import Parcel
from cloud.alerts.mailboxes import Box
from cloud.alerts.plan import Plan
from cloud.alerts.records import AlarmKey, Known, Records, foremost_of, parts_of
from cloud.alerts.tokens import Tokens
from cloud.channels import Message

log: Final = logging.getLogger("shuichi.dispatch")

_CODES: Final = 10_000


class Post:
    """`plan_of(records, version)` gives the plan by which something began; `channels` are those
    that the config has, `of_documents` those of them that take no messages but what `press` makes;
    links begin with `answer_url`, "" for none."""

    def __init__(
        self,
        plan: Plan,
        plan_of: Callable[[Records, str], Plan],
        channels: Iterable[str],
        of_documents: Iterable[str],
        tokens: Tokens,
        answer_url: str,
    ) -> None:
        self._window_ms = round(plan.digest_window_s * 1000)
        self._plan_of = plan_of
        self._channels = frozenset(channels)
        self._of_documents = frozenset(of_documents)
        self._tokens = tokens
        self._url = answer_url

    def deliver(self, records: Records, name: Box, sends: Sequence[Send], now_ms: int) -> None:
        """What a contact is to be told goes through the mailbox; what comes out of it, to the
        channels."""
        if not digest.opens(records.boxes.box(name), sends, now_ms):
            records.boxes.keep(name, sends)
            return
        sends, parcels = records.boxes.empty(name, sends, now_ms, self._window_ms)
        some = [parcel for parcel in parcels if parcel.channel not in self._of_documents]
        if not some:
            return
        try:
            self._hand_over(records, name, sends, some, now_ms)
        except DBAPIError:
            raise
        except Exception as error:  # a seam: one contact's message costs no other's
            log.exception("no message to %s can be made", name.contact)
            words = f"no message can be made: {type(error).__name__}: {error}"
            alert = foremost(sends).alert
            case = records.case(alert)
            incident = case.incident if case is not None else ""
            records.note(incident, alert, now_ms, "set aside", who=name.contact, text=words[:500])

    def _hand_over(
        self,
        records: Records,
        name: Box,
        sends: Sequence[Send],
        parcels: Sequence[Parcel],
        now_ms: int,
    ) -> None:
        """One message that tells of all these, by each of its channels."""
        case = records.case(foremost(sends).alert)
        assert case is not None
        plan = self._plan_of(records, case.escalation.plan)
        told, parts = sends, _parts(sends)
        call = self._call(records, name, sends, parts, now_ms)
        written = self._message(records, plan, name, sends, call, now_ms)
        for parcel in parcels:
            if parcel.sends != told:  # rare: what asks for nothing goes by the first channel only
                told, parts = parcel.sends, _parts(parcel.sends)
                written = self._message(records, plan, name, told, call, now_ms)
            message = msgspec.structs.replace(
                written, key=parcel.key, to=_address(plan, name.contact, parcel.channel)
            )
            is_known = parcel.channel in self._channels
            row = {
                "key": message.key,
                "incident": message.incident,
                "contact": name.contact,
                "channel": parcel.channel,
                "parts": parts,
                "message": msgspec.json.encode(message).decode(),
                "made_ms": now_ms,
                "not_before_ms": parcel.not_before_ms,
                "done_ms": None if is_known else now_ms,
                "outcome": "" if is_known else "refused",
                "provider_id": None,
                "detail": "" if is_known else f"there is no channel {parcel.channel}",
                "call": call[0] if call else None,
            }
            records.add(tables.outgoing, row)

    def _call(
        self, records: Records, name: Box, sends: Sequence[Send], parts: str, now_ms: int
    ) -> tuple[str, str] | None:
        """Id and code by which the message can be answered, None if it asks for nothing."""
        if not any(send.kind in CALLS for send in sends):
            return None
        taken = records.open_codes(name.contact, now_ms)
        while (code := f"{secrets.randbelow(_CODES):04}") in taken and len(taken) < _CODES // 2:
            pass
        taken.add(code)
        call = secrets.token_hex(8)
        records.add(
            tables.call,
            {
                "id": call,
                "contact": name.contact,
                "code": code,
                "parts": parts,
                "exercise": name.exercise,
                "made_ms": now_ms,
                "answered_ms": None,
                "answered_by": None,
            },
        )
        return call, code

    def _message(
        self,
        records: Records,
        plan: Plan,
        name: Box,
        sends: Sequence[Send],
        call: tuple[str, str] | None,
        now_ms: int,
    ) -> Message:
        """What the contact reads, but for the channel's own key and address."""
        contact = plan.contact[name.contact]
        tongue = wording.language(plan, name.contact)
        token = self._tokens.sign(call[0]) if call else None
        link = f"{self._url}/a/{token}" if token and self._url else None
        newest = wording.newest(sends)
        is_one = len(newest) == 1
        worst = newest[0] if is_one else foremost(sends)
        case = records.case(worst.alert)
        assert case is not None
        known = Known()
        if is_one:
            alarm, sayings = records.alarm(AlarmKey(worst.site, worst.hazard, worst.exercise))
            known = foremost_of(alarm, sayings)
            said = {
                **causes.lamp(records.connection, worst.site, worst.hazard, tongue),
                **known.figures,
                "cause": wording.dated(plan, known, now_ms, tongue),
                "link": link or "",
            }
            if (answer := case.escalation.answer) is not None:
                said["who"] = wording.contact_name(plan, answer.by, tongue)
            words = _words(plan, worst, now_ms, said)
        else:
            words = wording.digest(plan, name.contact, sends, link or "")
        return Message(
            key="",
            title=words.title,
            text=words.text,
            kind=str(worst.kind),
            at_ms=now_ms,
            name=wording.named(contact.name, contact.name_en, tongue),
            language=tongue,
            level=worst.level.name.lower(),
            incident=case.incident,
            site=worst.site,
            link=link,
            token=token,
            answer_code=call[1] if call else None,
            exercise=name.exercise,
            readings=() if known.measured is None else (known.measured,),
        )


def _words(plan: Plan, send: Send, now_ms: int, said: dict[str, str]) -> wording.Wording:
    """What the plan's instruction comes to; where it cannot be filled in, what happens and where:
    a message in plain words is better than none."""
    try:
        return wording.write(plan, send, now_ms, said)
    except Exception:  # a seam: an instruction must not silence the call that carries it
        log.exception("the instruction for %s at %s cannot be used", send.hazard, send.site)
        site = plan.site[send.site].name if send.site in plan.site else send.site
        title = f"{send.level.name} {send.kind}: {send.hazard}, {site}"
        return wording.Wording(
            title, " ".join((title, said.get("cause", ""), said["link"])).strip()
        )


def _parts(sends: Iterable[Send]) -> str:
    return parts_of(send.part for send in sends)


def _address(plan: Plan, contact: str, channel: str) -> str:
    kind = plan.channel[channel].address if channel in plan.channel else None
    return plan.contact[contact].address.get(kind or "", "")
