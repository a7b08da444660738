"""From what a contact is to be told to the rows that the channels hand over: which messages, by
which channels, from when on. What they say is composed when they are handed over
(`cloud.alerts.handover`). In the transaction of the dispatch."""

import logging
import secrets
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec
from sqlalchemy.exc import DBAPIError

from cloud import tables
from cloud.alerts import digest
from cloud.alerts.actions import CALLS, Send, foremost
from cloud.alerts.digest import Parcel
from cloud.alerts.mailboxes import Box
from cloud.alerts.plan import Plan
from cloud.alerts.records import Records, parts_of

log: Final = logging.getLogger("shuichi.dispatch")

_CODES: Final = 10_000


class Post:
    """`channels` are those that the config has, `of_documents` those of them that take no messages
    but what `press` makes."""

    def __init__(self, plan: Plan, channels: Iterable[str], of_documents: Iterable[str]) -> None:
        self._window_ms = round(plan.digest_window_s * 1000)
        self._channels = frozenset(channels)
        self._ways = plan.ways
        self._of_documents = frozenset(of_documents)

    def deliver(
        self, records: Records, name: Box, sends: Sequence[Send], now_ms: int
    ) -> list[Send]:
        """What a contact is to be told goes through the mailbox; what comes out of it, to the
        channels. The calls that no channel can take."""
        sends = [send if send.kind in CALLS else self._by_known(send) for send in sends]
        if sends and not digest.opens(records.boxes.box(name), sends, now_ms):
            records.boxes.keep(name, sends, now_ms)
            return []
        lost: list[Send] = []
        for message, parcels in records.boxes.empty(name, sends, now_ms, self._window_ms):
            some = [parcel for parcel in parcels if parcel.channel not in self._of_documents]
            if some:
                self._write(records, name, message, some, now_ms)
            if not any(parcel.channel in self._channels for parcel in some):
                lost += [send for send in message if send.kind in CALLS]
        return lost

    def _by_known(self, send: Send) -> Send:
        """What asks for no answer goes by one channel: by the first one that the config has."""
        if any(way.channel in self._channels for way in send.ways):
            return send
        ways = [one for one in self._ways.get(send.contact, ()) if one.channel in self._channels]
        return msgspec.structs.replace(send, ways=tuple(ways[:1])) if ways else send

    def _write(
        self,
        records: Records,
        name: Box,
        sends: Sequence[Send],
        parcels: Sequence[Parcel],
        now_ms: int,
    ) -> None:
        try:
            self._hand_over(records, name, sends, parcels, now_ms)
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
        call = self._call(records, name, sends, now_ms)
        usable = [one.not_before_ms for one in parcels if one.channel in self._channels]
        first_ms = min(usable, default=now_ms)
        written: Sequence[Send] = ()
        parts = content = ""
        for parcel in parcels:
            if parcel.sends != written:  # by nearly all channels the same goes
                written = parcel.sends
                parts = parts_of(send.part for send in written)
                content = msgspec.json.encode(written).decode()
            is_known = parcel.channel in self._channels
            # What waits for a channel that there is not would wait for nothing.
            begins_ms = now_ms if parcel.not_before_ms == first_ms else parcel.not_before_ms
            row = {
                "key": parcel.key,
                "incident": case.incident,
                "contact": name.contact,
                "channel": parcel.channel,
                "parts": parts,
                "message": "",
                "sends": content,
                "made_ms": now_ms,
                "not_before_ms": begins_ms,
                "done_ms": None if is_known else now_ms,
                "outcome": "" if is_known else "refused",
                "provider_id": None,
                "detail": "" if is_known else f"there is no channel {parcel.channel}",
                "call": call,
            }
            records.add(tables.outgoing, row)

    def _call(self, records: Records, name: Box, sends: Sequence[Send], now_ms: int) -> str | None:
        """The id by which the message can be answered, None if it asks for nothing."""
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
                "parts": parts_of(send.part for send in sends),
                "exercise": name.exercise,
                "made_ms": now_ms,
                "answered_ms": None,
                "answered_by": None,
            },
        )
        return call
