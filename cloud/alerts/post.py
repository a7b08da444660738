"""Messages: from what a contact is to be told to the rows that the channels hand over. In the
transaction of the dispatch."""

import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from cloud import tables
from cloud.alerts import digest, wording
from cloud.alerts.actions import CALLS, Send, foremost
from cloud.alerts.digest import Parcel
from cloud.alerts.plan import Plan
from cloud.alerts.records import AlarmKey, Box, Known, Part, Records, parts_of
from cloud.alerts.tokens import Tokens
from cloud.channels import Message

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
        box = records.box(name)
        box, parcels = digest.post(box, sends, now_ms, self._window_ms)
        records.put_box(name, box)
        by_message: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            if parcel.channel not in self._of_documents:
                key = parcel.key.removesuffix(f"/{parcel.channel}")
                by_message.setdefault(key, []).append(parcel)
        for key, some in by_message.items():
            self._hand_over(records, name, key, some, now_ms)

    def _hand_over(
        self, records: Records, name: Box, key: str, parcels: Sequence[Parcel], now_ms: int
    ) -> None:
        """One message, by each of its channels."""
        sends = parcels[0].sends
        case = records.case(foremost(sends).alert)
        assert case is not None
        plan = self._plan_of(records, case.escalation.plan)
        call = self._call(records, name, sends, now_ms)
        written: dict[frozenset[str], Message] = {}
        for parcel in parcels:
            told = frozenset(send.message for send in parcel.sends)
            if told not in written:
                written[told] = self._message(records, plan, name, parcel, call, now_ms)
            message = msgspec.structs.replace(
                written[told],
                key=f"{key}/{parcel.channel}",
                to=_address(plan, name.contact, parcel.channel),
            )
            is_known = parcel.channel in self._channels
            row = {
                "key": message.key,
                "incident": message.incident,
                "contact": name.contact,
                "channel": parcel.channel,
                "parts": parts_of(map(Part.of, parcel.sends)),
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
        self, records: Records, name: Box, sends: Sequence[Send], now_ms: int
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
                "parts": parts_of(map(Part.of, sends)),
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
        parcel: Parcel,
        call: tuple[str, str] | None,
        now_ms: int,
    ) -> Message:
        """What the contact reads, but for the channel's own key and address."""
        contact = plan.contact[name.contact]
        tongue = wording.language(plan, name.contact)
        token = self._tokens.sign(call[0]) if call else None
        link = f"{self._url}/a/{token}" if token and self._url else None
        sends = parcel.sends
        worst = foremost(sends)
        case = records.case(worst.alert)
        assert case is not None
        known = Known()
        if len({send.message for send in sends}) == 1:
            _, known = records.alarm(AlarmKey(worst.site, worst.hazard, worst.exercise))
            said = {**known.figures, "cause": known.cause.get(tongue, ""), "link": link or ""}
            words = wording.write(plan, worst, now_ms, said)
        else:
            words = wording.digest(plan, name.contact, sends)
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


def _address(plan: Plan, contact: str, channel: str) -> str:
    kind = plan.channel[channel].address if channel in plan.channel else None
    return plan.contact[contact].address.get(kind or "", "")
